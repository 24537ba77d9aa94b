"""What the catalogue knows, as tables for people: services, copies, attempts and checks.

It stands apart from the tables of what a run did: `asynchy status` need not load all that can run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from asynchy.cli.output.tables import bullets, columns, line, table
from asynchy.model.attempt import Attempt, ServiceState, Verdict
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.event import Event
from asynchy.model.experiment import Experiment, LeftOutCounts
from asynchy.model.formatting import count, day, duration, escaped, moment, size
from asynchy.model.safety import damage_words, edited_words, name_of
from asynchy.model.transfer_progress import RunningTransfer
from asynchy.model.verification import Check
from asynchy.runtime.progress import ProgressSnapshot

_WIDE_ENOUGH = 130
"""Columns from which on a table of copies has their destinations, too."""
_NAMED = 10
"""Copies of which more is said below a narrow table."""
_MISSING = "files are missing, or differ from the facility's"
_NEVER = "not fetched yet"
_NARROW = ("EPN", "Project", "State", "Proven", ">Files", ">Size")
_WIDE = ("EPN", "Beamline", "Project", "State", "Proven", ">Files", ">Size", "Destination")


def show_services(services: Sequence[ServiceState]) -> None:
    """What the services are doing."""
    for service in services:
        where = f"process {service.pid} on {service.host}"
        if service.alive:
            line(f"{service.name} runs since {moment(service.since)} ({where}): {service.doing}")
        else:
            line(
                f"{service.name} does not run; last heartbeat {moment(service.heartbeat)} ({where})"
            )
        if service.trouble:
            line(f"  latest cycle: {escaped(service.trouble)}")
        line("")


def show_status(
    copies: Sequence[CopyRecord],
    running: Iterable[RunningTransfer] = (),
    not_due: Collection[Experiment] = (),
    *,
    wide: bool = False,
) -> None:
    """Every copy and what is known of it; `not_due`: experiments that nobody has to fetch.

    On a narrow terminal each is one line, and what is said of some comes below, unless `wide`.
    """
    if not copies:
        line("The catalogue knows no copies yet.")
        return
    told = {one.destination: one for one in running}
    looked = [
        _Looked(one, told.get(str(one.copy.destination)), one.copy.experiment not in not_due)
        for one in copies
    ]
    if wide or columns() >= _WIDE_ENOUGH:
        table(_WIDE, map(_wide_row, looked))
        return
    table(_NARROW, map(_narrow_row, looked))
    bullets("Running:", [f"{one.name}: {_state(one)}" for one in looked if one.is_worked_on])
    found = [f"{one.name}: {_state(one)}" for one in looked if _says_more(one)]
    more = [f"{len(found) - _NAMED:,} more (--wide)"] if len(found) > _NAMED else []
    bullets("About copies:", [*found[:_NAMED], *more])


@dataclass(frozen=True)
class _Looked:
    """A copy, as it is shown."""

    record: CopyRecord
    running: RunningTransfer | None
    """How far the process is that works on it; None: not known."""
    is_due: bool
    """Whether its experiment has to be fetched."""

    @property
    def is_worked_on(self) -> bool:
        """Whether a process fetches, verifies or audits it; an audit holds no claim."""
        return self.record.claim is not None or self.running is not None

    @property
    def name(self) -> str:
        return name_of(self.record.copy.experiment)


def _state(one: _Looked) -> str:
    """The state in full, and how far it is."""
    said = state(one.record, is_due=one.is_due)
    if one.running is None:
        return said
    told = one.running
    far = ProgressSnapshot(
        told.bytes, told.done, told.rate, told.files, told.files_done, told.doing,
        settled=told.left is not None,
    )  # fmt: skip
    return f"{said}: {far}"


def _says_more(one: _Looked) -> bool:
    """Whether the full state says what people should know beside `short_state`."""
    record = one.record
    if one.is_worked_on:
        return False
    short = short_state(record, is_due=one.is_due)
    return short not in (_complete(record), _NEVER) or bool(record.edited)


def show_places(copies: Sequence[CopyRecord]) -> None:
    """Every copy, and whether it is at its place."""
    if not copies:
        line("The catalogue knows no copies yet.")
        return
    table(("EPN", "State", "Destination"), map(_place_row, copies))


def show_attempts(attempts: Sequence[tuple[str, Attempt]]) -> None:
    """Every attempt for an EPN, and the last words of the latest one."""
    headings = (
        "Started", ">Took", "Verdict", "Engine", "Check", ">Exit code", ">Files", ">Bytes",
        "Reason",
    )  # fmt: skip
    for destination in dict.fromkeys(destination for destination, _ in attempts):
        line(f"\nAttempts to {escaped(destination)}:\n")
        table(headings, (_attempt_row(tried) for to, tried in attempts if to == destination))
    if attempts and attempts[-1][1].stderr:
        bullets("Last words of the latest attempt:", attempts[-1][1].stderr.splitlines())


def state(copy: CopyRecord, *, is_due: bool = True) -> str:
    """The state of a copy in a few words; `is_due`: its experiment has to be fetched."""
    claim, last = copy.claim, copy.last
    if claim is not None:
        return f"process {claim.pid} on {claim.host} at work since {moment(claim.since)}"
    if (wrong := _wrong(copy)) is not None:
        return f"due: {wrong}"
    # A verification that found it complete after a failed attempt is no attempt of its own.
    if copy.completed is not None and not (copy.unfinished and is_due):
        edited = f"; {edited_words(copy)}" if copy.edited else ""
        return f"complete {moment(copy.completed)}{edited}{left_out_words(copy.left_out)}"
    if last is None:
        return _NEVER
    if last.verdict is Verdict.COMPLETE:  # a person wants it fetched again
        return "due: to be fetched again"
    begin = "due" if is_due else "not complete"
    return f"{begin}: {last.reason or last.verdict.value} ({moment(last.ended)})"


def short_state(
    copy: CopyRecord, running: RunningTransfer | None = None, *, is_due: bool = True
) -> str:
    """The state of a copy in at most 20 columns; `state` says more."""
    if copy.claim is not None or running is not None:
        return _short_progress(running)
    if (wrong := _wrong(copy)) is not None:
        short = "files missing" if wrong == _MISSING else "damaged"
        return f"due: {short if copy.presence is Presence.THERE else 'not there'}"
    if copy.completed is not None and not (copy.unfinished and is_due):
        return _complete(copy)
    if copy.last is None:
        return _NEVER
    if not is_due:
        return "not complete"
    again = copy.last.verdict is Verdict.COMPLETE
    return f"due: {'again' if again else copy.last.verdict.value}"


def _short_progress(told: RunningTransfer | None) -> str:
    if told is None:
        return "running"
    if told.doing:
        return f"{told.doing} {told.percent} %"
    return f"{told.percent} % at {size(int(told.rate))}/s"


def _complete(copy: CopyRecord) -> str:
    return f"complete {day(copy.completed)}" if copy.completed is not None else ""


def left_out_words(counts: LeftOutCounts | None) -> str:
    """What is said beside "complete" of what is left out; empty: nothing is."""
    found = "not counted" if counts is None else str(counts)
    return f"; left out: {found}" if found else ""


def _wrong(copy: CopyRecord) -> str | None:
    """What is wrong with a copy that was complete; None: nothing is known."""
    if copy.was_complete and copy.presence is not Presence.THERE:
        return f"its folder {copy.presence.value}; see `asynchy copies`"
    if copy.is_damaged and not copy.unfinished:
        return f"{damage_words(copy)}; `asynchy verify` repairs that, or says what is in the way"
    if copy.suspect and (copy.last is None or copy.last.verdict is Verdict.COMPLETE):
        return _MISSING
    return None


def proven(copy: CopyRecord) -> str:
    """How well it is proven that the copy holds what the facility does, in a few words."""
    if copy.is_damaged:
        return damage_words(copy).removesuffix(" at home")
    if copy.completed is None:
        return "-"
    if copy.edited:
        return f"{count(copy.edited, 'file')} edited"
    return copy.level.word if copy.level else "not known"


def show_checks(checks: Sequence[tuple[str, Check]]) -> None:
    """Every verification and audit of an EPN's copies."""
    headings = ("Started", ">Took", "Check", "Way", ">Files", ">Size", "Found", "Reason")
    for destination in dict.fromkeys(destination for destination, _ in checks):
        line(f"\nChecks of {escaped(destination)}:\n")
        table(headings, (_check_row(check) for of, check in checks if of == destination))


def show_events(events: Sequence[Event]) -> None:
    """What became of the experiments of an EPN, beside attempts and checks."""
    bullets(
        "History:",
        [
            f"{moment(one.at)}: {name_of(one.experiment)} {one.kind.value}"
            + (f": {one.detail}" if one.detail else "")
            for one in events
        ],
    )


def found(check: Check) -> str:
    """What a check found, as text for people."""
    wrong = {
        "different": check.different,
        "changed at home": check.edited,
        "missing": check.missing,
        "extra": check.extra,
    }
    words = [f"{number:,} {what}" for what, number in wrong.items() if number]
    if not words:
        words = ["nothing wrong" if check.reason is None else "nothing wrong in what was read"]
    if check.digested:
        words.append(f"first digest of {count(check.digested, 'file')}")
    return ", ".join(words)


def _wide_row(one: _Looked) -> Sequence[str]:
    copy = one.record
    return (
        copy.copy.epn.text,
        copy.copy.experiment.beamline,
        copy.copy.project,
        _state(one),
        proven(copy),
        "-" if copy.files is None else f"{copy.files:,}",
        "-" if copy.bytes is None else size(copy.bytes),
        str(copy.copy.destination),
    )


def _narrow_row(one: _Looked) -> Sequence[str]:
    copy = one.record
    level = copy.level.word if copy.completed is not None and copy.level else "-"
    return (
        one.name,
        copy.copy.project,
        short_state(copy, one.running, is_due=one.is_due),
        "damaged" if copy.is_damaged else "edited" if copy.edited else level,
        "-" if copy.files is None else f"{copy.files:,}",
        "-" if copy.bytes is None else size(copy.bytes),
    )


def _place_row(copy: CopyRecord) -> Sequence[str]:
    return name_of(copy.copy.experiment), state(copy), str(copy.copy.destination)


def _check_row(check: Check) -> Sequence[str]:
    return (
        moment(check.started),
        duration((check.ended - check.started).total_seconds()),
        check.kind,
        check.way,
        f"{check.files:,}",
        size(check.bytes),
        found(check),
        check.reason or "",
    )


def _attempt_row(attempt: Attempt) -> Sequence[str]:
    return (
        moment(attempt.started),
        duration((attempt.ended - attempt.started).total_seconds()),
        attempt.verdict.value,
        attempt.engine or "-",
        attempt.check or "-",
        "-" if attempt.exit_code is None else str(attempt.exit_code),
        "not known" if attempt.files is None else f"{attempt.files:,}",
        "not known" if attempt.bytes is None else size(attempt.bytes),
        attempt.reason or "-",
    )
