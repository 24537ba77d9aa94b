"""Experiment numbers (EPNs) and the proposals that they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_lowercase

from asynchy.model.formatting import escaped

MOST_DIGITS, MOST_LETTERS = 12, 8
_EPN = re.compile(rf"[0-9]{{1,{MOST_DIGITS}}}[A-Za-z]{{0,{MOST_LETTERS}}}", re.ASCII)
_PROPOSAL = re.compile(rf"[0-9]{{1,{MOST_DIGITS}}}", re.ASCII)
_NUMBERS = range(10**MOST_DIGITS)


def is_proposal(text: str) -> bool:
    """Whether the text is a proposal number: digits, and nothing else."""
    return _PROPOSAL.fullmatch(text) is not None


@dataclass(frozen=True, order=True)
class Epn:
    """An experiment number such as `12282a`: digits (the proposal), then usually letters.

    People and the portal spell one EPN in several ways; blanks around it and case do not matter. A
    parsed EPN is safe as one path segment.
    """

    text: str
    """The one form that is stored and compared: without blanks, letters in lower case.

    A folder at the facility may be spelled in another way: its path is `Located.source`.
    """

    def __post_init__(self) -> None:
        """Bring the text into its one form, and refuse anything that is not an EPN.

        Raises:
            ValueError: the text is not an EPN.
        """
        text = self.text.strip()
        if not _EPN.fullmatch(text):
            raise ValueError(f"not an EPN: {escaped(self.text, limit=40)}")
        object.__setattr__(self, "text", text.lower())  # frozen: nobody else changes it

    def __hash__(self) -> int:  # a cycle asks for it a hundred thousand times
        return hash(self.text)

    @classmethod
    def parse(cls, value: object) -> Epn | None:
        """The EPN that the value is, or None if it is not one.

        An integer is taken as its text: JSON and YAML have a bare EPN such as 1234 as a number.
        """
        if isinstance(value, int) and value in _NUMBERS:  # the text of a bool is not an EPN
            value = str(value)
        if isinstance(value, str) and _EPN.fullmatch(value.strip()):
            return cls(value)
        return None

    @property
    def proposal(self) -> str:
        """The proposal: the EPN's digits, to the letter (leading zeros stay)."""
        return self.text.rstrip(ascii_lowercase)

    def __str__(self) -> str:
        return self.text
