"""Whether the channels of a config can be used; nothing is sent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from asynchy.config import Settings
from asynchy.delivery.apprise_process import INSTALL, NOT_INSTALLED
from asynchy.delivery.apprise_sender import address_problem, is_installed


@dataclass(frozen=True)
class ChannelProblem:
    """Why a channel cannot be used."""

    what: str
    found: str
    to_do: str
    place: tuple[str | int, ...]
    """Of the channel in the config: its key, and its number below it."""


def channel_problems(settings: Settings) -> list[ChannelProblem]:
    """What is wrong with the channels of a config, as far as can be seen here."""
    return [*_notify(settings), *_commands(settings)]


def _notify(settings: Settings) -> Iterator[ChannelProblem]:
    if settings.notify and not is_installed():
        yield ChannelProblem("notify", NOT_INSTALLED, INSTALL, ("notify",))
        return
    for at, entry in enumerate(settings.notify):
        problem = address_problem(entry.url.get_secret_value())
        if problem is not None:
            yield ChannelProblem(
                f"notify {entry.name}",
                problem,
                "write the address of the service as Apprise's documentation shows it",
                ("notify", at, "url"),
            )


def _commands(settings: Settings) -> Iterator[ChannelProblem]:
    for at, entry in enumerate(settings.on_complete):
        program = entry.command[0]
        if shutil.which(program) is None:
            yield ChannelProblem(
                f"on-complete {entry.name}",
                f"{program} is not a program that can be run",
                "correct `command`, or make the file executable (chmod +x)",
                ("on-complete", at, "command"),
            )
