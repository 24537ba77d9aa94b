"""Options about the files of the original programs."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from asynchy.model.experiment import TIMEZONE
from asynchy.model.formatting import escaped

FORMAT = "sqlite-original"
"""An SQLite file of the original as-walker's layout."""


def zone(_context: click.Context, _option: click.Parameter, value: str) -> ZoneInfo:
    """The time zone of that name, as an option's callback."""
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter(
            f"found {escaped(value)!r}; accepted is a time zone such as {TIMEZONE}"
        ) from None
