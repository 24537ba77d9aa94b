"""`.info`: a file of the facility beside the data, about an experiment.

A Python literal with `EPN`, `PI {Email, Name, ScientistID}`, `startBooking`, `finishBooking` and
`users`; anything in it can be missing.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import Any

from asynchy.model.person import Person

FILES = (b"frames/.info", b".info")
"""Where it is in an experiment; the first that can be understood counts."""
MAX_INFO_BYTES = 65_536
"""Bytes; those that are known have a few hundred."""


@dataclass(frozen=True)
class Info:
    """The people of the visit, as far as the file has them."""

    principal: Person | None
    users: tuple[Person, ...]
    start: str | None
    """As it stands there: a time without a zone."""
    finish: str | None = None
    """The same."""


def parse_info(data: bytes) -> Info | None:
    """The content of the file; None if it cannot be parsed."""
    if len(data) > MAX_INFO_BYTES:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unusual escapes in a name
            text = ast.literal_eval(data.decode("utf-8", "replace").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    if not isinstance(text, dict):
        return None
    listed = text.get("users")
    users = [_person(item) for item in listed] if isinstance(listed, (list, tuple)) else []
    return Info(
        principal=_person(text.get("PI")),
        users=tuple(person for person in users if person is not None),
        start=_time(text.get("startBooking")),
        finish=_time(text.get("finishBooking")),
    )


def _time(item: Any) -> str | None:
    return item[:40] if isinstance(item, str) else None


def _person(item: Any) -> Person | None:
    if not isinstance(item, dict):
        return None
    name, email = item.get("Name"), item.get("Email")
    person = Person.of(last_name=name, email=email)
    return person if person.known else None
