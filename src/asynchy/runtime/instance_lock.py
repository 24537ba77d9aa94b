"""A lock beside the catalogue for programs that must not run twice on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from asynchy.catalogue.host_locks import What, host_lock
from asynchy.errors import AlreadyRunning
from asynchy.localfs import process_identity
from asynchy.model.catalogue_address import CatalogueAddress, beside
from asynchy.model.folder_hint import folder_hint

_HINTS = {
    "service": "`asynchy status` shows what it does; `mxsync --execute --once` may run too",
    "walk": "wait for it, or stop it; the next walk goes on where it was",
    "epnalert": "wait for it; two at once would send the mail twice",
    "activity": "it delivers the mails of `asynchy report activity`",
    "messages": "it delivers what waits",
    "commands": "it runs the commands of `on-complete`",
}


def lock_file(catalogue: Path, name: What) -> Path:
    """The file that carries the lock."""
    return catalogue.with_name(f"{catalogue.name}.{name}")


@contextlib.contextmanager
def service_stopped(catalogue: CatalogueAddress) -> Iterator[None]:
    """Keep the service from running, for a command that works on what the service works on.

    Raises:
        AlreadyRunning: it runs; or the lock file cannot be made.
    """
    hint = (
        "stop the service first (`systemctl stop mx_sync`), run this command again, then start "
        "the service; nothing was changed"
    )
    with instance_lock(catalogue, "service", hint=hint):
        yield


@contextlib.contextmanager
def instance_lock(
    catalogue: CatalogueAddress, what: What, *, hint: str | None = None
) -> Iterator[None]:
    """Hold the lock of what works on a catalogue; of one in PostgreSQL, among all machines.

    `hint`: what to do if another one holds it.

    Raises:
        AlreadyRunning: another one holds it, or the lock file cannot be made.
    """
    path = lock_file(beside(catalogue), what)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise AlreadyRunning(
            f"{path} cannot be made: {error.strerror}",
            hint=folder_hint(error, path.parent),
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "unknown"
            raise AlreadyRunning(
                f"{'an' if what[0] in 'ae' else 'a'} {what} runs on {catalogue} already: {holder}",
                hint=hint or _HINTS[what],
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {process_identity.host()}".encode(), 0)
        with host_lock(catalogue, what) as is_ours:
            if not is_ours:
                raise AlreadyRunning(
                    f"{'an' if what[0] in 'ae' else 'a'} {what} runs on {catalogue} already, on "
                    "another machine",
                    hint=hint or _HINTS[what],
                )
            yield
    finally:
        os.close(descriptor)
