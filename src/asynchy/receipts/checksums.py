"""The SHA-256 of every file of a copy, computed at home once the copy is complete."""

from __future__ import annotations

import logging
import time

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.errors import AsynchyError, Stopped
from asynchy.localfs.file_hasher import HashResult, Reader, Throttle, threads
from asynchy.model.experiment import Copy
from asynchy.model.formatting import count, duration, escaped, size
from asynchy.model.verification import CopyFile
from asynchy.runtime.context import RunContext
from asynchy.runtime.read_progress import ReadProgress

log = logging.getLogger(__name__)

_STORE_BATCH = 1000
"""Digests that are stored at a time."""


def store_checksums(context: RunContext, copy: Copy, copy_files: CopyFiles) -> None:
    """Compute the digests that are not known yet; what goes wrong is told, and is no failure.

    What memory still holds of a file may be read: these are the bytes that arrived, so that a later
    audit finds what the disks made of them.
    """
    began = time.monotonic()
    selection = copy_files.undigested()
    try:
        amount = selection.amount()
        if not amount[0]:
            return
        progress = ReadProgress(context.board, copy, amount, "reading")
        reader = Reader(
            copy, context.stop, threads(), Throttle(None), cold=False,
            on_bytes=progress.add,
        )  # fmt: skip
        lot: list[tuple[CopyFile, bytes]] = []
        for found in reader.read(selection):
            progress.add(0, 1)
            if (digest := digest_of(found)) is None:
                log.warning(
                    "%s: no digest of %s: %s",
                    copy.epn,
                    escaped(found.file.path),
                    checksum_failure(found),
                )
                continue
            lot.append((found.file, digest))
            if len(lot) >= _STORE_BATCH:
                copy_files.digest(lot)
                lot = []
        copy_files.digest(lot)
    except Stopped:
        log.info(
            "%s: stopped while it was read; the next audit computes the missing checksums", copy.epn
        )
    except (AsynchyError, OSError) as error:
        log.warning("%s: its files could not be read for the manifest: %s", copy.epn, error)
    else:
        log.info(
            "%s: SHA-256 of %s, %s in %s",
            copy.epn, count(amount[0], "file"), size(amount[1]),
            duration(time.monotonic() - began),
        )  # fmt: skip


def digest_of(found: HashResult) -> bytes | None:
    """The digest, where it is of the file that was found complete: that has its size and time.

    Or the time that it has had at home since, where that holds no times.
    """
    same = found.modified is not None and found.file.recorded.has_time(found.modified)
    return found.sha256 if same else None


def checksum_failure(found: HashResult) -> str:
    """Why there is no such digest, as text for people."""
    if found.problem is not None:
        return found.problem
    if found.damage is not None:
        return found.damage.value
    return "another time than it had"
