"""Messages to people by Apprise, which knows the services where they are.

Apprise is an optional package, and is loaded where a message is sent. It says whether a message was
taken, and why not in its log alone: that is kept from our logs, since it quotes addresses.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from asynchy.errors import DeliveryError
from asynchy.model.formatting import escaped
from asynchy.model.redaction import masked

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_PART = re.compile(r"[/?&=:@,;#]+")
_LOGGERS = ("apprise", "requests", "urllib3", "requests_oauthlib", "oauthlib")
"""Of Apprise, and of what it calls: at DEBUG they write whole addresses."""
_one_at_a_time = threading.Lock()

NOT_INSTALLED = "the package apprise is not installed, which `notify` needs"
INSTALL = "install it into the environment of asynchy: pip install 'asynchy[notify]'"


def is_installed() -> bool:
    """Whether Apprise is there; it is not loaded."""
    return importlib.util.find_spec("apprise") is not None


def address_problem(url: str) -> str | None:
    """Why Apprise cannot use an address, without the address; None: it can."""
    try:
        with _quiet([]):
            return None if _client().add(url) else "Apprise does not know such an address"
    except DeliveryError as error:
        return str(error)


def send(url: str, title: str, text: str) -> None:
    """Send a message; when this returns, the service has taken it.

    Raises:
        DeliveryError: it was not taken.
    """
    said: list[str] = []
    with _one_at_a_time, _quiet(said):
        client = _client()
        if not client.add(url):
            raise DeliveryError(
                "Apprise does not know such an address",
                hint="`asynchy config check` looks at it; the list of addresses is in Apprise's "
                "documentation",
            )
        try:
            taken = client.notify(title=title, body=text, body_format="text")
        except Exception as error:  # noqa: BLE001 - one of more than a hundred plug-ins
            raise DeliveryError(f"Apprise failed: {without_secrets(repr(error), url)}") from None
    if not taken:
        reason = without_secrets(said[-1], url) if said else "Apprise gave no reason"
        raise DeliveryError(f"not taken: {reason}")


def _client() -> Any:
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


class _AppriseLog(logging.Handler):
    """Keeps what is said."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextmanager
def _quiet(said: list[str]) -> Iterator[None]:
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


def without_secrets(text: str, url: str) -> str:
    """What was said without the address, or any part of it that may be a token."""
    parts = [part for piece in (url, unquote(url)) for part in _PART.split(piece)]
    return escaped(masked(_ADDRESS.sub("…", text), [url, *parts]), limit=200)
