"""What was done, what it takes and what is to come, as tables for people and rows for programs."""

from __future__ import annotations

from asynchy.cli.output.records import iso
from asynchy.cli.output.tables import bullets, line, table
from asynchy.model.formatting import count, day, moment, size
from asynchy.reporting.activity import Activity, CopyActivity
from asynchy.reporting.activity_text import checks, not_complete, transfers
from asynchy.reporting.forecast import Awaited, DiskForecast, Forecast
from asynchy.reporting.usage import Usage, UsageReport

ACTIVITY_COLUMNS = (
    "epn", "beamline", "project", "destination", "became", "files", "bytes", "seconds",
    "bytes_a_second", "attempts", "failed", "why",
)  # fmt: skip
USAGE_COLUMNS = (
    "name", "experiments", "complete", "files", "bytes", "left", "left_bytes", "left_unknown",
    "other",
)  # fmt: skip
FORECAST_COLUMNS = ("epn", "beamline", "project", "bytes", "listed", "home", "kept_until", "late")
_NAMED = 10


def show_activity(found: Activity) -> None:
    """What was done in a span, what was checked, and what needs a person."""
    line(f"From {moment(found.since)} to {moment(found.until)}:\n")
    if found.copies:
        headings = ("EPN", "Project", "Became", ">Files", ">Size", ">Rate")
        table(headings, map(_activity_cells, found.copies))
        line("")
    for sentence in (transfers(found), *checks(found)):
        line(sentence)
    bullets("Not complete:", not_complete(found))
    bullets("Needs a person:", found.attention)


def _activity_cells(one: CopyActivity) -> tuple[str, ...]:
    return (
        one.experiment.epn.text,
        one.project,
        one.news.value,
        f"{one.files:,}" if one.files else "-",
        size(one.bytes) if one.bytes else "-",
        f"{size(int(one.rate))}/s" if one.rate else "-",
    )


def activity_row(one: CopyActivity) -> dict[str, object]:
    """One of them, for programs."""
    return {
        "epn": one.experiment.epn.text,
        "beamline": one.experiment.beamline,
        "project": one.project,
        "destination": one.destination,
        "became": one.news.value,
        "files": one.files,
        "bytes": one.bytes,
        "seconds": round(one.seconds, 1),
        "bytes_a_second": None if one.rate is None else round(one.rate),
        "attempts": one.attempts,
        "failed": one.failed,
        "why": one.reason,
    }


def show_usage(found: UsageReport) -> None:
    """What is at home and what is left, the largest first, and the sum."""
    if not found.rows:
        line("No experiment is known.")
        return
    headings = (found.key.value.capitalize(), ">Experiments", ">At home", ">Files", ">Size",
                ">Left", ">Size left", ">Other")  # fmt: skip
    table(headings, [*map(_usage_cells, found.rows), _usage_cells(found.total)])
    if found.total.other:
        states = sorted(found.total.others.items(), key=lambda one: one[0].value)
        told = ", ".join(f"{number:,} {state.value}" for state, number in states)
        line(f"\nOther, neither at home nor to be fetched: {told} (see `asynchy status`).")
    if found.total.unknown:
        line(f"\n{count(found.total.unknown, 'experiment')} of those left: size not known yet.")


def _usage_cells(one: Usage) -> tuple[str, ...]:
    return (
        one.name,
        f"{one.experiments:,}",
        f"{one.complete:,}",
        f"{one.files:,}",
        size(one.bytes),
        f"{one.left:,}",
        size(one.left_bytes),
        f"{one.other:,}",
    )


def usage_row(one: Usage) -> dict[str, object]:
    """One of them, for programs."""
    return {
        "name": one.name,
        "experiments": one.experiments,
        "complete": one.complete,
        "files": one.files,
        "bytes": one.bytes,
        "left": one.left,
        "left_bytes": one.left_bytes,
        "left_unknown": one.unknown,
        "other": one.other,
    }


def show_forecast(found: Forecast) -> None:
    """When all that is due will be at home, whether it fits, and what comes too late."""
    line(_backlog(found))
    line(_rate(found))
    if found.pause is not None:
        line(f"{found.pause.sentence}.")
    if found.backlog and found.done is not None:
        since = ", counted from the end of the pause" if found.pause else ""
        line(f"All of it is at home about {moment(found.done)}{since}.")
    elif found.backlog and found.is_paused_for_good:
        line("When all of it is at home is not known: nobody has said when the pause ends.")
    for disk in found.disks:
        line(_disk(disk))
    if found.backlog and all(one.kept_until is None for one in found.backlog):
        line("When the facility deletes is not known: set `retention-days` in the config.")
    late = [_late(one) for one in found.late]
    more = [f"{len(late) - _NAMED:,} more (--format csv)"] if len(late) > _NAMED else []
    bullets("The facility may delete before it is at home:", [*late[:_NAMED], *more])


def _backlog(found: Forecast) -> str:
    if not found.backlog:
        said = "Nothing is due."
    else:
        unknown = f", {found.unknown:,} of them with an assumed size" if found.unknown else ""
        number = count(len(found.backlog), "experiment is", "experiments are")
        said = f"{number} due: {size(found.bytes)}{unknown}."
    if found.waiting:
        waits = count(found.waiting, "experiment waits", "experiments wait")
        said += f" {waits} for the end of a visit."
    if found.held_back:
        held = count(found.held_back, "more is due and held back", "more are due and held back")
        said += f" {held} (see `asynchy status`)."
    return said


def _rate(found: Forecast) -> str:
    days = count(found.days, "day")
    if found.rate is None:
        return f"The rate is not known: nothing came home in the last {days}."
    rate = f"{size(int(found.rate))}/s while transfers ran"
    return f"In the last {days} {size(found.moved)} came home, at {rate}."


def _disk(disk: DiskForecast) -> str:
    where = disk.folders[0]
    if len(disk.folders) > 1:
        where += f" and {len(disk.folders) - 1:,} more on the same file system"
    if disk.free is None:
        return f"{where}: free space not known, {size(disk.wanted)} to come."
    fits = "it fits" if disk.fits else f"{size(disk.wanted - disk.free)} too much"
    return f"{where}: {size(disk.free)} free, {size(disk.wanted)} to come: {fits}."


def _late(one: Awaited) -> str:
    assert one.kept_until is not None
    assert one.earliest is not None
    name = f"{one.experiment.epn} ({one.project}), {size(one.bytes)}"
    when = "about" if one.home else "at the earliest"
    return f"{name}: kept until {day(one.kept_until)}, at home {when} {day(one.earliest)}"


def forecast_row(one: Awaited) -> dict[str, object]:
    """One of them, for programs."""
    return {
        "epn": one.experiment.epn.text,
        "beamline": one.experiment.beamline,
        "project": one.project,
        "bytes": one.bytes,
        "listed": one.known,
        "home": iso(one.home),
        "kept_until": iso(one.kept_until),
        "late": one.late,
    }
