"""Experiment numbers (EPNs) and the proposals that they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asynchy.domain.text import shown

_EPN = re.compile(r"(?P<proposal>[0-9]{1,12})[A-Za-z]{0,8}", re.ASCII)
_PROPOSAL = re.compile(r"[0-9]{1,12}", re.ASCII)


def is_proposal(text: str) -> bool:
    """Whether the text is a proposal number: digits, and nothing else."""
    return _PROPOSAL.fullmatch(text) is not None


@dataclass(frozen=True, order=True)
class Epn:
    """An experiment number such as `12282a`: digits (the proposal), then usually letters.

    Whatever passes here is safe as one path segment.
    """

    text: str

    def __post_init__(self) -> None:
        """Refuse anything that is not an EPN.

        Raises:
            ValueError: the text is not an EPN.
        """
        if not _EPN.fullmatch(self.text):
            raise ValueError(f"not an EPN: {shown(self.text, limit=40)}")

    @classmethod
    def parse(cls, text: object) -> Epn | None:
        """The EPN that the value is, or None where it is none."""
        if isinstance(text, str) and _EPN.fullmatch(text):
            return cls(text)
        return None

    @property
    def proposal(self) -> str:
        """The proposal: the EPN's digits, to the letter (leading zeros stay)."""
        match = _EPN.fullmatch(self.text)
        assert match is not None
        return match["proposal"]

    def __str__(self) -> str:
        return self.text
