"""`asynchy report activity`, `usage`, `forecast`: what was done, what it takes, what is to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.commands.activity_mail import mail_activity
from asynchy.cli.errors import handle_errors
from asynchy.cli.lost_state import explains_loss, loss_of
from asynchy.cli.options import time_span
from asynchy.cli.output.history import (
    ACTIVITY_COLUMNS,
    FORECAST_COLUMNS,
    USAGE_COLUMNS,
    activity_row,
    forecast_row,
    show_activity,
    show_forecast,
    show_usage,
    usage_row,
)
from asynchy.cli.output.records import format_option, write_rows
from asynchy.config import Settings, load, load_shared
from asynchy.config.ignore_file import IgnoreFile
from asynchy.errors import ExitCode
from asynchy.model.experiment_state import ExperimentState
from asynchy.model.plan_overview import attention, without_project
from asynchy.reporting.activity import activity
from asynchy.reporting.forecast import forecast
from asynchy.reporting.reports import asked_level, free_at, risks, states
from asynchy.reporting.usage import UsageKey, usage

_FUTURE = "{} is in the future: nothing has come home since"


def _is_past(when: datetime) -> bool:
    return when <= datetime.now(UTC)


class _Since(click.ParamType[datetime]):
    """A time before now (`24h`, `7d`, `2w`), or a day (`2026-10-01`)."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        before = time_span(value)
        if before is not None:
            return datetime.now(UTC) - before
        try:
            found = datetime.strptime(value, "%Y-%m-%d").astimezone()
        except ValueError:
            self.fail(f"{value!r} is neither a time such as 24h, 7d or 2w nor a day such as "
                      "2026-10-01", param, ctx)  # fmt: skip
        return found if _is_past(found) else self.fail(_FUTURE.format(value), param, ctx)


class _Month(click.ParamType[datetime]):
    """A month (`2026-10`)."""

    name = "month"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.strptime(value, "%Y-%m").astimezone()
        except ValueError:
            self.fail(f"{value!r} is no month such as 2026-10", param, ctx)
        return found if _is_past(found) else self.fail(_FUTURE.format(value), param, ctx)


@click.command("activity")
@click.option(
    "--since",
    type=_Since(),
    metavar="TIME",
    help="From then on: 24h, 7d, 2w, or a day such as 2026-10-01.  [default: 24h]",
)
@click.option("--month", type=_Month(), metavar="MONTH", help="That month, such as 2026-10.")
@click.option("--mail", is_flag=True, help="Send it as a mail, to `epnalert-email-to`.")
@click.option("--if-needed", is_flag=True, help="With --mail: only if something needs a person.")
@format_option
@click.pass_obj
@handle_errors
@explains_loss
def activity_command(  # noqa: PLR0913 - an option each
    config: Path,
    /,
    form: str,
    *,
    since: datetime | None,
    month: datetime | None,
    mail: bool,
    if_needed: bool,
) -> int:
    """Show what came home, how fast, what failed, what was checked, and what needs a person.

    Exit code 1 if something needs a person; with --mail, 7 if the mail server did not take it.
    """
    if since is not None and month is not None:
        raise click.UsageError("--since and --month exclude each other: name one of them")
    if if_needed and not mail:
        raise click.UsageError("--if-needed is about a mail: add --mail")
    now = datetime.now(UTC)
    begin, end = since or now - timedelta(days=1), now
    if month is not None:
        begin, end = month, min(now, (month + timedelta(days=32)).replace(day=1))
    settings = load_shared(config).settings
    if (lost := loss_of(settings)) is not None:
        raise lost
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    needs: tuple[str, ...] = ()
    if isinstance(settings, Settings):
        all_states = _states(settings, catalogue, now)
        needs = (*attention(all_states, now), *without_project(all_states))
        if (pause := catalogue.pauses.current(now)) is not None:
            needs = (pause.sentence, *needs)
    found = activity(
        begin, end, catalogue.history.attempts(begin, end), catalogue.history.checks(begin, end),
        needs,
    )  # fmt: skip
    if mail:
        return mail_activity(config, settings, found, if_needed=if_needed)
    if form == "table":
        show_activity(found)
    else:
        write_rows(form, ACTIVITY_COLUMNS, map(activity_row, found.copies))
    return ExitCode.INCOMPLETE if found.attention else ExitCode.OK


@click.command("usage")
@click.option(
    "--by",
    type=click.Choice([key.value for key in UsageKey]),
    default=UsageKey.PROJECT.value,
    show_default=True,
    help="What experiments are grouped by; a year is that of the last visit.",
)
@format_option
@click.pass_obj
@handle_errors
@explains_loss
def usage_command(config: Path, /, form: str, by: str) -> None:
    """Show how much is at home and how much is left, by project, beamline, year or person."""
    settings = load(config).settings
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    found = usage(_states(settings, catalogue, datetime.now(UTC)), UsageKey(by))
    if form == "table":
        show_usage(found)
    else:
        write_rows(form, USAGE_COLUMNS, map(usage_row, found.rows))


@click.command("forecast")
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=28,
    show_default=True,
    help="The number of days over which the rate is measured.",
)
@format_option
@click.pass_obj
@handle_errors
@explains_loss
def forecast_command(config: Path, /, form: str, days: int) -> int:
    """Show what is due, when it will be at home, whether it fits, and what comes too late.

    The rate is that of the transfers of the last weeks. Exit code 1 if the facility may delete
    something before it is at home, something does not fit, or something is due while mxsync is
    paused without an end.
    """
    settings = load(config).settings
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    now = datetime.now(UTC)
    found_states = _states(settings, catalogue, now)
    records = [item.record for item in found_states] or None  # None: it says that nothing is known
    at_risk = risks(settings, asked_level(settings), now, records)
    kept = {one.experiment: one.kept_until for one in at_risk.items if one.kept_until is not None}
    found = forecast(
        found_states,
        catalogue.history.attempts(now - timedelta(days=days), now),
        kept,
        now,
        days=days,
        free_at=free_at,
        pause=catalogue.pauses.current(now),
    )
    if form == "table":
        show_forecast(found)
    else:
        write_rows(form, FORECAST_COLUMNS, map(forecast_row, found.backlog))
    full = any(disk.fits is False for disk in found.disks)
    halted = bool(found.backlog) and found.is_paused_for_good
    return ExitCode.INCOMPLETE if found.late or full or halted else ExitCode.OK


def _states(settings: Settings, catalogue: Catalogue, now: datetime) -> list[ExperimentState]:
    found, _ = states(settings, catalogue, IgnoreFile(settings.ignore).read(), now)
    return found
