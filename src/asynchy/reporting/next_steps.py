"""Why an experiment is in its state, and what happens next or what a person has to do. Pure."""

from __future__ import annotations

from asynchy.model.experiment_state import ExperimentState, State
from asynchy.model.formatting import moment
from asynchy.model.plan import SkipReason


def why(item: ExperimentState) -> str:
    """Why an experiment is in its state, in one sentence."""
    parts = [item.because]
    if item.why is not None and item.left is None:
        parts.insert(0, item.why.value)
    if item.state is State.DUE and item.left is None:
        parts.append(_latest(item))
    return "; ".join(dict.fromkeys(filter(None, parts)))


def _latest(item: ExperimentState) -> str:
    """What the latest cycle said, or the attempt of one that did not come to its end."""
    note, copy = item.record.note, item.copy
    last = copy.last if copy is not None and copy.unfinished else None
    if last is not None and (note is None or note.latest < last.ended):
        return f"the latest attempt ({moment(last.ended)}): {last.reason or last.verdict.value}"
    return f"the latest cycle ({moment(note.latest)}): {note.reason}" if note is not None else ""


def next_step(item: ExperimentState, config: str) -> str | None:
    """What happens next, or what a person has to do; None: nothing."""
    epn = item.record.epn
    call = f"asynchy --config {config}"
    forget = f"{call} copies forget {epn} --reason …"
    by_reason = {
        SkipReason.UNMOUNTED: "mount it; if the copy was moved or removed: "
        f"{call} copies list {epn}",
        SkipReason.COPY_MISSING: f"{call} copies list {epn}, then move, forget or refetch",
        SkipReason.LOST: f"{forget}, once nothing can be done",
        SkipReason.UNCOMPARED: "look whether it is complete; then list it in ignore.yml, or "
        f"{forget}",
        SkipReason.DAMAGED: f"{call} verify {epn}",
        SkipReason.EMPTY: f"wait for its files; if there will be none: {forget}",
        SkipReason.ALL_LEFT_OUT: "set `dot-files` or `symlinks`; if none of it is wanted: "
        f"{forget}",
        SkipReason.ABSENT: f"wait for its data; if there are none: {forget}",
        SkipReason.NOT_A_FOLDER: "ask the facility where the data are",
        SkipReason.SECOND_FOLDER: "ask the facility to put the files of both into one folder",
        SkipReason.NO_PROJECT_FOLDER: "mount the project folder, make it, or correct epn_cap_map",
        SkipReason.SAME_DESTINATION: "put {beamline} into destination-path",
        SkipReason.NESTED: f"{call} copies move {epn} FOLDER, with the files of the copy, or set "
        "destination-path back",
        SkipReason.DESTINATION: "let the user that runs asynchy read and write the place at home",
        SkipReason.IN_THE_WAY: "move it away; the next cycle fetches the experiment to there",
        SkipReason.NO_SPACE: "make room at home; the next cycle tries again",
        SkipReason.NO_INODES: "make room at home; the next cycle tries again",
    }
    left = item.left or _found(item)
    if item.is_settled and not item.is_mapped:
        return f"nothing; to have later visits fetched, too: {call} map add {epn.proposal} PROJECT"
    if left in by_reason:
        return by_reason[left]
    if item.state is State.DUE and left is None:
        return "the next cycle of mxsync fetches it"
    return {
        State.UNOWNED: f"{call} map add {epn.proposal} PROJECT",
        State.OUTSIDE: "set `fetch-visible: true` to fetch all that is visible"
        if item.record.visible
        else "nothing; it is due once the portal reports a visit",
        State.WAITING: "it is fetched once the visit has ended",
    }.get(item.state)


def _found(item: ExperimentState) -> SkipReason | None:
    """What the latest cycle found to be in the way; None: nothing, or it is not known."""
    note = item.record.note
    return SkipReason.said_in(note.reason) if note is not None else None
