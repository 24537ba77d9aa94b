"""What waits to be delivered, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from asynchy.cli.output.tables import bullets, line
from asynchy.model.formatting import count, moment, printable
from asynchy.model.news import WaitingMessage


def show_undelivered(problems: Sequence[str]) -> None:
    """What a run could not deliver."""
    bullets("Not delivered (tried again later; `asynchy notify list`):", problems)


def show_waiting(waiting: Iterable[WaitingMessage]) -> None:
    """For each channel how much waits, since when, and why."""
    by_channel = sorted(waiting, key=lambda one: one.channel)
    bullets(
        "Not delivered yet (`asynchy notify list`):",
        [channel_line(name, list(some)) for name, some in groupby(by_channel, _channel)],
    )


def channel_line(name: str, waiting: Sequence[WaitingMessage]) -> str:
    """How much waits for a channel, since when, and why, in one sentence."""
    oldest = min(one.created for one in waiting)
    said = f"{name}: {count(len(waiting), 'message')} since {moment(oldest)}"
    failing = [one for one in waiting if one.failing_since is not None]
    if not failing:
        return said
    first = min(failing, key=lambda one: one.id)
    assert first.failing_since is not None
    return (
        f"{said}; failed {count(first.tries, 'time')} since {moment(first.failing_since)}: "
        f"{first.error or ''}"
    )


def show_list(waiting: Sequence[WaitingMessage]) -> None:
    """Every message that waits."""
    if not waiting:
        line("Nothing waits to be delivered.")
        return
    for one in waiting:
        about = f", {one.subject}" if one.subject else ""
        line(f"{one.id}  {one.channel}, {one.kind.value}{about}")
        later = f"; next try {moment(one.not_before)}" if one.not_before else ""
        line(f"   since {moment(one.created)}{later}")
        if one.failing_since is not None:
            line(f"   failed {count(one.tries, 'time')} since {moment(one.failing_since)}:")
            line(f"   {printable(one.error or '')}")


def _channel(one: WaitingMessage) -> str:
    return one.channel
