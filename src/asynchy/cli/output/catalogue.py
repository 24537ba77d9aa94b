"""What the catalogue and the config know, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asynchy.catalogue.scan_results import NotFound
from asynchy.catalogue.statistics import ExperimentTotals, Statistics
from asynchy.cli.output.tables import bullets, line, table
from asynchy.model.catalogue_address import CatalogueAddress
from asynchy.model.experiment import EntryKind, LeftOutCounts
from asynchy.model.formatting import count, duration, escaped, moment, size
from asynchy.scanning.scan import ScannedExperiment, ScanResult

_NAMED = 10


def show_mapping(mapping: Mapping[str, str]) -> None:
    """Every proposal and its project."""
    if not mapping:
        line("No proposal belongs to a project yet.")
        return
    table((">Proposal", "Project"), sorted(mapping.items(), key=lambda item: int(item[0])))


def show_figures(catalogue: CatalogueAddress, found: Statistics) -> None:
    """How much the catalogue knows."""
    total = found.total
    line(
        f"{catalogue} ({size(found.database)}) knows {count(total.experiments, 'experiment')}, "
        f"{count(total.files, 'file')}, {size(total.bytes)}; complete: {total.complete:,}, "
        f"no longer at the facility: {found.vanished:,}."
    )
    walk = found.last_walk
    if walk is not None:
        ended = f"ended {moment(walk.ended)}" if walk.ended else "not ended"
        bad = f", {count(walk.problems, 'folder')} not listed" if walk.problems else ""
        line(f"Latest walk: {escaped(walk.origin)}, begun {moment(walk.started)}, {ended}{bad}.")
    for heading, shares in (("Beamline", found.beamlines), ("Year", found.years)):
        if shares:
            line("")
            headings = (heading, ">Experiments", ">Files", ">Size", ">Complete")
            table(headings, map(_share_row, shares))


def show_walk(walked: ScanResult) -> None:
    """What a walk found, what changed since the one before, and what it could not list."""
    new = [item for item in walked.seen if item.new]
    changed = [item for item in walked.seen if item.changes.any and not item.new]
    if changed:
        line("Changed since they were last walked:\n")
        headings = ("EPN", "Beamline", ">Files", ">Size", ">New", ">Changed", ">Vanished")
        table(headings, map(_seen_row, changed))
        line("")
    files = sum(item.changes.files for item in walked.seen)
    in_bytes = sum(item.changes.bytes for item in walked.seen)
    before = f" ({walked.before:,} more before it was stopped)" if walked.before else ""
    line(
        f"{count(len(walked.seen), 'experiment')} listed{before}, {count(files, 'file')}, "
        f"{size(in_bytes)}, in {duration(walked.seconds)}: {len(new):,} new, "
        f"{len(changed):,} changed, {len(walked.gone):,} no longer there."
    )
    if walked.empty:
        line(f"No experiment was found: {walked.empty}.")
        line(
            "What to do: check `walk-root` and `user` in the config; if both are right, ask the "
            "facility whether this user may see the experiments"
        )
    left = LeftOutCounts(
        walked.left[EntryKind.DOT_FILE],
        walked.left[EntryKind.SYMLINK],
        walked.left[EntryKind.SPECIAL],
    )
    if told := str(left):
        line(f"Counted and not listed: {told}.")
    bullets("No longer at the facility:", _first(list(map(_gone, walked.gone))))
    unsure = "" if walked.everywhere else ", as far as its folders could be listed"
    absent = f"Asked for and not at the facility{unsure}:"
    bullets(absent, _first([epn.text for epn in walked.absent]))
    if walked.bad:
        bullets(
            f"{count(walked.bad, 'folder')} could not be listed; what was known of them stays:",
            _first(list(map(str, walked.problems)), of=walked.bad),
        )


def _first(lines: Sequence[str], *, of: int | None = None) -> Sequence[str]:
    """Ten lines, and how many more there are."""
    more = (of or len(lines)) - len(lines[:_NAMED])
    return [*lines[:_NAMED], *([f"and {more:,} more"] if more else [])]


def _gone(item: NotFound) -> str:
    told = "complete at home" if item.complete else "NEVER COMPLETE AT HOME"
    return f"{item.located.source} ({told})"


def _seen_row(item: ScannedExperiment) -> Sequence[str]:
    changes = item.changes
    return (
        item.located.experiment.epn.text,
        item.located.experiment.beamline or "-",
        f"{changes.files:,}",
        size(changes.bytes),
        f"{changes.new:,}",
        f"{changes.changed:,}",
        f"{changes.vanished:,}",
    )


def _share_row(share: ExperimentTotals) -> Sequence[str]:
    return (
        share.name or "not known",
        f"{share.experiments:,}",
        f"{share.files:,}",
        size(share.bytes),
        f"{share.complete:,}",
    )
