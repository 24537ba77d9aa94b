"""What reports say, as tables for people and as rows for programs."""

from __future__ import annotations

from collections.abc import Sequence

from asynchy.catalogue.overview import DataAge
from asynchy.cli.output.copies import left_out_words
from asynchy.cli.output.records import iso
from asynchy.cli.output.tables import bullets, line, table
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.formatting import count, day, moment, size
from asynchy.model.safety import damage_words
from asynchy.model.verification import Level
from asynchy.reporting.at_risk import AtRisk, Risks
from asynchy.reporting.reconcile import Reconciled

AT_RISK_COLUMNS = (
    "epn", "beamline", "project", "principal", "email", "files", "bytes", "why", "visit_end",
    "counted_from", "retention_days", "kept_until", "days_left", "source",
)  # fmt: skip
RECONCILE_COLUMNS = (
    "epn", "beamline", "project", "source", "listed_there", "changed", "vanished", "files", "bytes",
    "visit_end", "destination", "completed", "level", "damaged", "missing", "edited",
    "lost_links", "proven_files", "proven_bytes", "proven_first", "proven_last", "proven_by",
    "left_out_dot_files", "left_out_symlinks", "left_out_special_files",
    "held_against_listing", "may_be_deleted", "why",
)  # fmt: skip
_NAMED = 10


def show_at_risk(found: Risks, looked: DataAge, within: int | None) -> None:
    """What is at risk, what was left out, and how old all that is."""
    if found.items:
        headings = (">Days left", "Until", "EPN", "Beamline", "Owner", ">Size", "Why")
        table(headings, map(_at_risk_cells, found.items))
    else:
        left = "" if within is None else f" with {count(within, 'day')} left or less"
        line(f"No known experiment is at risk{left}.")
    if found.items:
        line(f"\n{_summary(found)}")
    if any(item.about for item in found.items):
        line("~ counted from the latest file, for no visit of it is known.")
    bullets("Not known how many days are left:", _unknown(found))
    _names("Gone from the facility; local copy incomplete", map(_lost, found.lost))
    waved = "Left out: marked as fetched in ignore.yml or an original's database (--all)"
    _names(waved, map(_named, found.exempt))
    _names("Left out, for a person has released it (--all)", map(_named, found.released))
    _show_looked(looked)


def _summary(found: Risks) -> str:
    total = sum(item.bytes or 0 for item in found.items)
    unknown = sum(item.bytes is None for item in found.items)
    sizes = [] if 0 < unknown == len(found.items) else [size(total)]
    sizes += [f"unknown size for {unknown:,}"] if unknown else []
    past = f"; {len(found.past)} past the time for which it is kept" if found.past else ""
    return f"{count(len(found.items), 'experiment')}, {', '.join(sizes)}{past}."


def _unknown(found: Risks) -> list[str]:
    reasons = dict.fromkeys(item.unknown for item in found.unknown if item.unknown)
    return [f"{why}: {sum(item.unknown == why for item in found.unknown):,}" for why in reasons]


def _names(heading: str, names: map[str]) -> None:
    listed = list(names)
    more = [f"and {len(listed) - _NAMED:,} more"] if len(listed) > _NAMED else []
    bullets(f"{heading}: {len(listed):,}", [*listed[:_NAMED], *more] if listed else [])


def _named(experiment: Experiment) -> str:
    where = f" ({experiment.beamline})" if experiment.beamline else ""
    return f"{experiment.epn}{where}"


def _lost(one: ExperimentRecord) -> str:
    assert one.vanished is not None
    return f"{_named(one.experiment)}, {_was(one)}, gone since {moment(one.vanished)}"


def _was(one: ExperimentRecord) -> str:
    return "never listed" if one.bytes is None else f"was {_amount(one.files, one.bytes)}"


def _show_looked(looked: DataAge) -> None:
    portal = f"last asked {moment(looked.portal)}" if looked.portal else "never asked"
    walk = f"last walked {moment(looked.walk)}" if looked.walk else "never walked (as-walker)"
    line(f"\nData as of: the portal was {portal}, the facility {walk}.")


def _amount(files: int | None, total: int | None) -> str:
    if total is None:
        return "size not known"
    return size(total) if files is None else f"{count(files, 'file')}, {size(total)}"


def days(item: AtRisk) -> str:
    """The days that are left, as text for people."""
    left = item.days_left
    if left is None:
        return "?"
    about = "~" if item.about else ""
    return f"{about}{left}" if left >= 0 else f"{about}{-left} past"


def _owner(item: AtRisk) -> str:
    person = item.principal
    return item.project or (person.name or person.email if person else "not known")


def _at_risk_cells(item: AtRisk) -> Sequence[str]:
    return (
        days(item),
        "?" if item.kept_until is None else day(item.kept_until),
        item.experiment.epn.text,
        item.experiment.beamline or "-",
        _owner(item),
        "?" if item.bytes is None else size(item.bytes),
        item.lack,
    )


def at_risk_row(item: AtRisk) -> dict[str, object]:
    """One of them, for programs."""
    person = item.principal
    return {
        "epn": item.experiment.epn.text,
        "beamline": item.experiment.beamline,
        "project": item.project,
        "principal": person.name if person else None,
        "email": person.email if person else None,
        "files": item.files,
        "bytes": item.bytes,
        "why": item.lack,
        "visit_end": iso(item.visit_end),
        "counted_from": "visit" if item.visit_end else "latest file" if item.about else None,
        "retention_days": item.retention,
        "kept_until": iso(item.kept_until),
        "days_left": item.days_left,
        "source": item.source or None,
    }


def lost_row(one: ExperimentRecord) -> dict[str, object]:
    """One that is gone from the facility and not complete at home, for programs."""
    gone = "" if one.vanished is None else f" since {moment(one.vanished)}"
    return dict.fromkeys(AT_RISK_COLUMNS) | {
        "epn": one.experiment.epn.text,
        "beamline": one.experiment.beamline,
        "files": one.files,
        "bytes": one.bytes,
        "why": f"gone from the facility{gone}; not complete at home",
        "source": one.source or None,
    }


def show_reconciled(found: Sequence[Reconciled], level: Level, looked: DataAge) -> None:
    """Both sides of experiments, and what may be deleted at the facility."""
    headings = ("EPN", "Beamline", "Project", "At the facility", "At home", "Delete there?")
    table(headings, map(_reconciled_cells, found))
    may = [item for item in found if item.deletable]
    total = sum(item.record.bytes or 0 for item in may)
    line(
        f"\n{len(may):,} of {count(len(found), 'experiment')} may be deleted at the facility "
        f"({size(total)}): as it was listed there, each file was at home and proven ({level}) "
        "when it was last looked at; `asynchy audit` looks again."
    )
    _show_looked(looked)


def _reconciled_cells(item: Reconciled) -> Sequence[str]:
    one = item.record
    return (
        one.epn.text,
        one.experiment.beamline or "-",
        item.project or "-",
        _there(one),
        _at_home(item.copy),
        f"{'yes' if item.deletable else 'no'}: {item.why}",
    )


def _there(one: ExperimentRecord) -> str:
    if one.vanished is not None:
        return f"gone; {_was(one)}"
    if one.listed is None:
        known = f"{_amount(one.files, one.bytes)}, " if one.bytes is not None else ""
        return f"{known}never listed" if one.seen else "a visit; never looked for"
    return f"{_amount(one.files, one.bytes)}, listed {moment(one.listed)}"


def _at_home(copy: CopyRecord | None) -> str:
    if copy is None:
        return "nothing"
    if copy.was_complete and copy.presence is not Presence.THERE:
        return f"its folder {copy.presence.value}"
    if copy.completed is None:
        return "not complete"
    proven = damage_words(copy) if copy.is_damaged else str(copy.level or "level not known")
    proven = f"{copy.edited:,} changed at home" if copy.edited and not copy.is_damaged else proven
    amount = _amount(copy.files, copy.bytes)
    left_out = left_out_words(copy.left_out)
    return f"{amount}, complete {moment(copy.completed)}, {proven}{left_out}"


def reconcile_row(item: Reconciled) -> dict[str, object]:
    """One of them, for programs."""
    one, copy, proof = item.record, item.copy, item.proof
    left_out = copy.left_out if copy else None
    return {
        "epn": one.epn.text,
        "beamline": one.experiment.beamline,
        "project": item.project,
        "source": one.source or None,
        "listed_there": iso(one.listed),
        "changed": iso(one.changed),
        "vanished": iso(one.vanished),
        "files": one.files,
        "bytes": one.bytes,
        "visit_end": iso(one.beamtimes[-1].visit.end if one.beamtimes else None),
        "destination": str(copy.copy.destination) if copy else None,
        "completed": iso(copy.completed if copy else None),
        "level": copy.level.word if copy and copy.level else None,
        "damaged": copy.damaged if copy else None,
        "missing": copy.missing if copy else None,
        "lost_links": copy.lost_links if copy else None,
        "edited": copy.edited if copy else None,
        "proven_files": proof.files if proof else None,
        "proven_bytes": proof.bytes if proof else None,
        "proven_first": iso(proof.first if proof else None),
        "proven_last": iso(proof.last if proof else None),
        "proven_by": ", ".join(proof.ways) if proof else None,
        "left_out_dot_files": left_out.dot_files if left_out else None,
        "left_out_symlinks": left_out.symlinks if left_out else None,
        "left_out_special_files": left_out.special_files if left_out else None,
        "held_against_listing": iso(copy.listed if copy else None),
        "may_be_deleted": item.deletable,
        "why": item.why,
    }
