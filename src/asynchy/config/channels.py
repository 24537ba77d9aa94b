"""Who is told what, and which commands are run: `notify`, `webhooks` and `on-complete`."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from asynchy.config.field_types import Segment, secret_text
from asynchy.config.section import Section

EventName = Literal["came-home", "needs-person", "unknown-epn", "at-risk", "damaged", "unreachable"]
_APPRISE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_KEY = range(24, 65)
"""Bytes of a webhook's key: standardwebhooks.com, "Signature scheme"."""


def _apprise_url(value: object, info: ValidationInfo) -> str:
    text = secret_text(value, info)
    if not _APPRISE_URL.fullmatch(text):
        raise ValueError("an address as Apprise takes it, such as slack://… or mattermost://…")
    return text


def _webhook_url(value: object, info: ValidationInfo) -> str:
    text = secret_text(value, info)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    plain = text.isascii() and text.isprintable() and " " not in text
    if not good or not plain or "@" in parts.netloc:
        raise ValueError("an address such as https://lims.example/hook, without user and password")
    return text


def _webhook_secret(value: object, info: ValidationInfo) -> str:
    text = secret_text(value, info)
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith("whsec_") or len(key) not in _KEY:
        raise ValueError("whsec_ and 24 to 64 random bytes in Base64")
    return text


def _words(value: object) -> Any:
    """A list; a single text is a list of one."""
    return (value,) if isinstance(value, str) else value


def _command(value: object) -> Any:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise ValueError("a list: the program, then each argument; no shell takes it apart")
    if not value[0] or any("\0" in one for one in value):
        raise ValueError("a list: the program, then each argument; no shell takes it apart")
    return tuple(value)


Events = Annotated[tuple[EventName, ...], BeforeValidator(_words), Field(min_length=1)]
Projects = Annotated[tuple[Segment, ...], BeforeValidator(_words), Field(min_length=1)]
_ALL: tuple[EventName, ...] = get_args(EventName)


class Receiver(Section):
    """What all that is told something has in common."""

    name: Segment
    """By which `asynchy notify` and `asynchy status` name it."""
    projects: Projects | None = None
    """The projects that it is about; default: all, and what belongs to none."""
    people: bool = False
    """Whether it gets names and mail addresses of scientists, and titles of proposals."""


class NotifyEntry(Receiver):
    """People who are told by a service that Apprise knows."""

    url: Annotated[SecretStr, BeforeValidator(_apprise_url)]
    events: Events = _ALL


class WebhookEntry(Receiver):
    """A program that gets signed requests over HTTP."""

    url: Annotated[SecretStr, BeforeValidator(_webhook_url)]
    secret: Annotated[SecretStr, BeforeValidator(_webhook_secret)]
    events: Events = _ALL


class OnCompleteEntry(Receiver):
    """A command that is run for each copy that was completed."""

    command: Annotated[tuple[str, ...], BeforeValidator(_command)]
    time_limit: int = Field(default=3600, ge=1, le=604_800)
    """Seconds after which it is ended, and counts as failed."""


_Entry = TypeVar("_Entry", bound=Receiver)


def _unique(entries: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
    names = [one.name for one in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"a name for each entry that no other has; {', '.join(twice)} is there twice"
        )
    return entries


NotifyEntries = Annotated[tuple[NotifyEntry, ...], AfterValidator(_unique)]
WebhookEntries = Annotated[tuple[WebhookEntry, ...], AfterValidator(_unique)]
OnCompleteEntries = Annotated[tuple[OnCompleteEntry, ...], AfterValidator(_unique)]
