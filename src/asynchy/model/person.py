"""People, as the facility reports of them; anything about them can be missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

_MAX_LENGTH = 200  # characters


@dataclass(frozen=True)
class Person:
    """A scientist. Texts are on one line; empty if they are not known."""

    first_names: str = ""
    last_name: str = ""
    email: str = ""
    organisation: str = ""

    @classmethod
    def of(
        cls,
        *,
        first_names: Any = None,
        last_name: Any = None,
        email: Any = None,
        organisation: Any = None,
    ) -> Self:
        """A person from the facility's values."""
        texts = (first_names, last_name, email, organisation)
        return cls(*map(single_line, texts))

    @property
    def name(self) -> str:
        """The whole name."""
        return f"{self.first_names} {self.last_name}".strip()

    @property
    def known(self) -> bool:
        """Whether anything is known."""
        return bool(self.name or self.email)

    def same_as(self, other: Person) -> bool:
        """Whether both have the same mail address: names alone are shared by many."""
        return bool(self.email) and self.email.casefold() == other.email.casefold()

    def __str__(self) -> str:
        return f"{self.name} {self.email}".strip()


def single_line(value: Any) -> str:
    """A text from outside on one line, unprintable characters as blanks; empty if not text."""
    if not isinstance(value, str):
        return ""
    safe = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(safe.split())[:_MAX_LENGTH]
