"""What every engine does; tests/contract holds each engine to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from asynchy.domain.attempt import EngineResult
from asynchy.domain.experiment import Copy
from asynchy.domain.stop import Stop

OnBytes = Callable[[int], None]


class Engine(Protocol):
    """Moves the files of an experiment to its destination.

    Doing it again moves only what differs. Files that are not at the facility are left alone.
    Stopped or killed at any instant, each file at the destination is the old one or the new one.
    """

    @property
    def name(self) -> str:
        """The engine's name, as attempts record it."""

    @property
    def check(self) -> str:
        """What it checks of the bytes that arrive, as attempts record it."""

    @property
    def compare(self) -> str:
        """What makes a file at home the same as the facility's."""

    def require(self) -> None:
        """Look for the programs that it needs, before anything is begun.

        Raises:
            ToolMissing: one is not installed.
        """

    def transfer(self, copy: Copy, stop: Stop, on_bytes: OnBytes) -> EngineResult:
        """Make the destination hold what the experiment holds; a failure is a result, too.

        `on_bytes` hears now and then how many bytes of this run have arrived.

        Raises:
            ToolMissing: a program that it needs is not installed.
            OSError: the destination's own folder cannot be made.
        """
