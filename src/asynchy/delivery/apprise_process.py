"""Send one message by Apprise; run as a module, within limits of its own.

Standard input: JSON with `url`, `title` and `text`. Standard output: a line of JSON with `taken`
and `reason`, which may quote the address.

It is run in a process of its own because Apprise reads the whole answer of a service, however long
that is and however slowly it comes, and cannot be made to give it up: its threads hold up the end
of the process that they are in.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asynchy.errors import DeliveryError

NOT_INSTALLED = "the package apprise is not installed, which `notify` needs"
INSTALL = "install it into the environment of asynchy: pip install 'asynchy[notify]'"
UNKNOWN = "Apprise does not know such an address"

_MEMORY = 256 << 20
"""Bytes of address space; Python and Apprise take 65 MB of it."""
_LOGGERS = ("apprise", "requests", "urllib3", "requests_oauthlib", "oauthlib")
"""Of Apprise, and of what it calls: at DEBUG they write whole addresses."""


def main() -> int:
    """Send the message, and print what became of it."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    memory = _MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    message = json.load(sys.stdin)
    try:
        reason = _send(**message)
    except Exception as error:  # noqa: BLE001 - one of more than a hundred plug-ins
        reason = f"Apprise failed: {error!r}"
    sys.stdout.write(f"\n{json.dumps({'taken': reason is None, 'reason': reason})}\n")
    sys.stdout.flush()
    os._exit(0)  # a thread of Apprise may still read an answer


def _send(url: str, title: str, text: str) -> str | None:
    """Why the message was not taken; None: it was."""
    said: list[str] = []
    with quiet(said):
        sender = client()
        _follow_no_redirect()
        if not sender.add(url):
            return UNKNOWN
        if sender.notify(title=title, body=text, body_format="text"):
            return None
    return f"not taken: {said[-1] if said else 'Apprise gave no reason'}"


def client() -> Any:
    """Apprise without what it adds by itself: links and pictures of its own, files, plug-ins.

    Raises:
        DeliveryError: it is not installed.
    """
    try:
        from apprise import Apprise, AppriseAsset, PersistentStoreMode  # noqa: PLC0415
    except ImportError:
        raise DeliveryError(NOT_INSTALLED, hint=INSTALL) from None
    asset = AppriseAsset(
        plugin_paths=[],
        storage_mode=PersistentStoreMode.MEMORY,
        app_id="asynchy",
        app_desc="asynchy",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        image_path_mask="",
    )
    return Apprise(asset=asset)


def _follow_no_redirect() -> None:
    """Have every redirect count as a failure.

    A POST that is redirected becomes a GET without the message (RFC 9110, 15.4.3), whose answer
    would count as that to the message.
    """
    import requests  # noqa: PLC0415

    requests.Session.get_redirect_target = lambda *_: None  # type: ignore[method-assign]


class _AppriseLog(logging.Handler):
    """Keeps what is said."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        is_too_large = isinstance(sys.exc_info()[1], MemoryError)
        self._said.append("its answer is too large" if is_too_large else record.getMessage())


@contextmanager
def quiet(said: list[str]) -> Iterator[None]:
    """Have nothing that Apprise says reach our logs or the terminal; its warnings are kept."""
    handler = _AppriseLog(said)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(one.propagate, one.level) for one in loggers]
    for one in loggers:
        one.propagate = False
        one.setLevel(logging.WARNING)
    loggers[0].addHandler(handler)
    try:
        yield
    finally:
        loggers[0].removeHandler(handler)
        for one, (propagate, level) in zip(loggers, before, strict=True):
            one.propagate, one.level = propagate, level


if __name__ == "__main__":
    sys.exit(main())
