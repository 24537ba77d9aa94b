"""What is listed, whether it fits, what came of it; and what `asynchy sync` chooses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.copying.fetch import Outcome
from asynchy.copying.outcome_rules import ComparisonResult, Judgement, check_made, judge, verdict_on
from asynchy.errors import ExitCode
from asynchy.model.attempt import EngineResult, Verdict
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.experiment import (
    Copy,
    DataSize,
    Experiment,
    LeftOutCounts,
    ListingDiff,
    Unlisted,
)
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import experiment_state
from asynchy.model.plan import (
    DueCopy,
    DueReason,
    FreeSpace,
    Plan,
    PlannedTransfer,
    Skipped,
    SkipReason,
)
from asynchy.model.verification import Check
from asynchy.repatriation.catalogue_selection import SyncRequest, is_plain, select_from_catalogue
from asynchy.repatriation.due_rules import Places, after_listing, planned, when_absent
from asynchy.repatriation.executor import exit_code_for
from tests.tools.records import (
    CLAIM,
    NOW,
    copy_of,
    experiment_of,
    failed,
    hours,
    policy_of,
    record_of,
    visit,
    wanted,
)

COPY = wanted(experiment_of())
EXPERIMENT = COPY.experiment


def listing_diff(
    fingerprint: str = "f", *, files: int = 0, size: int = 0, folders: int = 0
) -> ListingDiff:
    return ListingDiff(NOW, 10, 1000, 2, files, size, folders, fingerprint)


@pytest.mark.parametrize(
    ("room", "result"),
    [
        (FreeSpace(500, 8), None),
        (FreeSpace(500, None), None),
        (FreeSpace(499, 8), SkipReason.NO_SPACE),
        (FreeSpace(None, 8), None),
        (FreeSpace(-1, 8), SkipReason.NO_SPACE),
        (FreeSpace(500, 7), SkipReason.NO_INODES),
    ],
)
def test_it_must_fit(room: FreeSpace, result: SkipReason | None) -> None:
    found = after_listing(
        DueCopy(COPY, DueReason.NEW), listing_diff(files=5, size=500, folders=3), room
    )
    assert (found.reason if isinstance(found, Skipped) else None) is result


def test_what_is_planned_is_no_longer_free() -> None:
    assert FreeSpace(500, 8).less(listing_diff(files=5, size=500, folders=3)) == FreeSpace(0, 0)
    assert FreeSpace(500, None).less(listing_diff(files=5, size=500)) == FreeSpace(0, None)
    assert FreeSpace(None, 8).less(listing_diff(files=5, size=500)) == FreeSpace(None, 3)


def check(different: int = 0, reason: str | None = None) -> Check:
    return Check("verify", "way", NOW, NOW, "here", 1, 9, 99, different, 0, 0, 0, 0, reason, True)


COMPLETE = Judgement(Verdict.COMPLETE)


@pytest.mark.parametrize(
    ("proof", "again", "verdict", "words"),
    [
        (ComparisonResult(check(), 0), False, Verdict.COMPLETE, None),
        (ComparisonResult(check(1), 0), False, Verdict.DIFFERENT, "1 file differs from the facility's"),
        (
            ComparisonResult(check(2, "x"), 3), True, Verdict.DIFFERENT,
            "2 files differ from the facility's, also when fetched again",
        ),
        (ComparisonResult(check(0, "1 file could not be read"), 1), False, Verdict.FAILED, "1 file could not be read"),
    ],
)  # fmt: skip
def test_the_verdict_once_bytes_were_compared(
    proof: ComparisonResult, again: bool, verdict: Verdict, words: str | None
) -> None:
    assert verdict_on(proof, COMPLETE, again=again) == Judgement(verdict, words)


@pytest.mark.parametrize(
    ("engine", "verify", "judgement", "said"),
    [
        ("size", "size", COMPLETE, "size"),
        ("transport", "size", COMPLETE, "transport"),
        ("transport", "none", COMPLETE, "transport"),
        ("size", "none", COMPLETE, "none"),
        ("size", "source", COMPLETE, "source"),
        ("transport", "source", Judgement(Verdict.DIFFERENT, "x"), "transport"),
    ],
)
def test_an_attempt_says_no_more_than_was_checked(
    engine: str, verify: str, judgement: Judgement, said: str
) -> None:
    assert check_made(engine, verify, judgement) == said


def result(**changes: bool) -> EngineResult:
    return EngineResult(
        **{"ok": True, "stopped": False, "vanished": False, **changes},
        exit_code=0, files=1, bytes=1, reason="broken", hint=None, stderr="",
    )  # fmt: skip


VERDICTS = [
    (result(), listing_diff(), None, Verdict.COMPLETE),
    (result(), listing_diff(), "unsure", Verdict.TRANSFERRED),
    (result(), listing_diff("g"), None, Verdict.CHANGED),
    (result(), listing_diff(files=1), None, Verdict.FAILED),
    (result(), listing_diff(folders=1), None, Verdict.FAILED),
    (result(), None, None, Verdict.FAILED),
    (result(ok=False), listing_diff(), None, Verdict.FAILED),
    (result(ok=False), None, None, Verdict.FAILED),
    (result(ok=False, vanished=True), listing_diff(), None, Verdict.CHANGED),
    (result(ok=False, stopped=True), None, None, Verdict.STOPPED),
    (result(stopped=True), listing_diff(), None, Verdict.STOPPED),
]


@pytest.mark.parametrize(("done", "after", "unsure", "verdict"), VERDICTS)
def test_verdicts(
    done: EngineResult, after: ListingDiff | None, unsure: str | None, verdict: Verdict
) -> None:
    found = judge(done, listing_diff(), after, unsure=unsure)
    assert found.verdict is verdict
    assert (found.reason is None) == (verdict is Verdict.COMPLETE)


@given(
    st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["f", "g"]),
    st.integers(0, 2), st.none() | st.just("unsure"),
)  # fmt: skip
def test_complete_needs_everything(
    ok: bool, stopped: bool, vanished: bool, mark: str, missing: int, unsure: str | None
) -> None:
    found = judge(
        result(ok=ok, stopped=stopped, vanished=vanished),
        listing_diff(),
        listing_diff(mark, files=missing),
        unsure=unsure,
    )
    all_well = (
        ok and not stopped and not vanished and mark == "f" and not missing and unsure is None
    )
    assert (found.verdict is Verdict.COMPLETE) == all_well


def test_what_is_at_home_already_needs_no_room() -> None:
    assert isinstance(
        after_listing(DueCopy(COPY, DueReason.AGAIN), listing_diff(), FreeSpace(0, 0)),
        PlannedTransfer,
    )


def test_a_refusal_says_how_much_and_never_a_negative_number() -> None:
    found = after_listing(
        DueCopy(COPY, DueReason.NEW), listing_diff(files=1, size=2000), FreeSpace(-5, -5)
    )
    assert isinstance(found, Skipped)
    assert str(found) == "not enough free space: 2.00 kB to write, 0 B free for it"
    found = after_listing(DueCopy(COPY, DueReason.NEW), listing_diff(files=2), FreeSpace(0, -5))
    assert isinstance(found, Skipped)
    assert found.detail == "2 files and folders to write, 0 free for them"


def test_a_transfer_fits_if_its_whole_blocks_do() -> None:
    small = replace(listing_diff(files=3, size=3), missing_in_blocks=3 * 4096)
    assert isinstance(
        after_listing(DueCopy(COPY, DueReason.NEW), small, FreeSpace(12_288, None)), PlannedTransfer
    )
    left = after_listing(DueCopy(COPY, DueReason.NEW), small, FreeSpace(12_287, None))
    assert isinstance(left, Skipped)
    assert str(left) == "not enough free space: 12.3 kB to write, 12.3 kB free for it"
    assert FreeSpace(20_000, None).less(small) == FreeSpace(7712, None)


def test_a_failure_tells_the_engines_reason() -> None:
    assert judge(result(ok=False), listing_diff(), None, unsure=None).reason == "broken"


CLOSED = Unlisted(b"a/closed", "it may not be read (EACCES)")


def test_an_experiment_with_an_unlisted_folder_stays_due_and_names_it() -> None:
    partly = replace(listing_diff(), unlisted=(CLOSED,))
    found = judge(result(), partly, partly, unsure=None)
    assert found.verdict is Verdict.FAILED
    assert found.reason is not None and "a/closed: it may not be read (EACCES)" in found.reason
    broken = judge(result(ok=False), partly, None, unsure=None)
    assert broken.reason is not None and broken.reason.startswith("broken; 1 folder could not")
    nothing = replace(listing_diff(), files=0, unlisted=(CLOSED, CLOSED))
    left = after_listing(DueCopy(COPY, DueReason.NEW), nothing, FreeSpace(10**9, None))
    assert isinstance(left, Skipped) and left.reason is SkipReason.UNLISTED
    assert "2 folders could not be listed" in left.detail


def test_two_names_with_one_place_at_home_are_named() -> None:
    found = judge(
        result(), listing_diff(), replace(listing_diff(), same_place=(b"A", b"a")), unsure=None
    )
    assert found.verdict is Verdict.FAILED
    assert found.reason is not None
    assert found.reason.startswith(
        "a: the file system at home does not distinguish its name from A;"
    )


def test_the_reason_of_a_transfer_that_may_not_count_is_told() -> None:
    found = judge(result(), listing_diff(), listing_diff(), unsure="the portal is down")
    assert found.reason == "transferred, but not marked complete: the portal is down"


def test_a_folder_without_files_is_never_called_complete() -> None:
    empty = replace(listing_diff(), files=0, bytes=0, folders=3)
    for why in (DueReason.NEW, DueReason.AGAIN, DueReason.RETURNED):
        found = after_listing(DueCopy(COPY, why), empty, FreeSpace(10**9, None))
        assert isinstance(found, Skipped) and found.reason is SkipReason.EMPTY
        assert not found.reason.ends_well and not found.reason.needs_person
        assert str(found) == f"nothing there yet: it has no files at the facility: {COPY.source}"


def test_an_experiment_of_which_all_is_left_out_is_not_called_empty() -> None:
    others = LeftOutCounts(dot_files=1, symlinks=2)
    listed = replace(listing_diff(), files=0, others=others)
    found = after_listing(DueCopy(COPY, DueReason.NEW), listed, FreeSpace(10**9, None))
    assert isinstance(found, Skipped) and found.reason is SkipReason.ALL_LEFT_OUT
    assert found.detail == "1 dot file or folder, 2 links; see `dot-files` and `symlinks`"
    assert found.reason.needs_person and found.reason.stays_due


def test_a_plan_is_unsure_while_not_all_was_asked() -> None:
    assert Plan((), (), ("equipment 24: gone",)).unsure is not None
    assert Plan((), (), ()).unsure is None


@pytest.mark.parametrize("why", list(DueReason))
def test_an_absent_folder_stays_due_unless_its_copy_is_complete(why: DueReason) -> None:
    found = when_absent(DueCopy(COPY, why))
    assert found.reason is (SkipReason.COMPLETE if why is DueReason.LATE else SkipReason.ABSENT)
    assert found.reason.stays_due == (why is not DueReason.LATE)


def test_of_two_experiments_with_one_destination_the_first_that_has_files_is_fetched() -> None:
    other = replace(COPY, experiment=experiment_of("1a", "saxs"))
    elsewhere = replace(other, destination=Path("/elsewhere"))
    places = Places()
    transfers = [
        PlannedTransfer(copy, DueReason.NEW, listing_diff()) for copy in (COPY, other, elsewhere)
    ]
    first, second, third = map(places.fill, transfers)
    assert (first, third) == (transfers[0], transfers[2])
    assert isinstance(second, Skipped) and second.reason is SkipReason.SAME_DESTINATION
    assert second.experiment == other.experiment and "--layout" in second.detail


# What a run leaves out, and what it ends with

STAYS_DUE = {
    SkipReason.UNKNOWN, SkipReason.UNDATED,
    SkipReason.LOST, SkipReason.ODD_SOURCE, SkipReason.INCOMPLETE, SkipReason.COPY_MISSING, SkipReason.UNMOUNTED, SkipReason.DAMAGED,
    SkipReason.NO_PROJECT_FOLDER, SkipReason.SAME_DESTINATION, SkipReason.CLAIMED, SkipReason.ABSENT, SkipReason.EMPTY,
    SkipReason.ALL_LEFT_OUT, SkipReason.NOT_A_FOLDER, SkipReason.SECOND_FOLDER, SkipReason.NESTED, SkipReason.UNJUDGED, SkipReason.UNLISTED, SkipReason.UNREACHABLE, SkipReason.DESTINATION, SkipReason.IN_THE_WAY, SkipReason.NO_SPACE, SkipReason.NO_INODES,
}  # fmt: skip
UNASKED = {SkipReason.UNLISTED, SkipReason.UNREACHABLE}
SETTLE_BY_THEMSELVES = {SkipReason.INCOMPLETE, SkipReason.CLAIMED, SkipReason.EMPTY, *UNASKED}


@pytest.mark.parametrize("reason", list(SkipReason))
def test_which_reasons_keep_an_experiment_due_and_which_need_a_person(reason: SkipReason) -> None:
    assert reason.stays_due == (reason in STAYS_DUE)
    assert reason.needs_person == (
        reason in (SkipReason.UNMAPPED, SkipReason.UNCOMPARED)
        or reason in STAYS_DUE - SETTLE_BY_THEMSELVES
    )
    assert reason.ends_well == (
        reason not in STAYS_DUE | {SkipReason.UNMAPPED, SkipReason.UNCOMPARED}
    )
    assert str(Skipped(EXPERIMENT, reason, "why")) == f"{reason.text}: why"


def ended(*left: SkipReason, outcomes: tuple[Outcome, ...] = (), **changes: Any) -> ExitCode:
    plan = Plan((), tuple(Skipped(EXPERIMENT, one) for one in left), (), **changes)
    return exit_code_for(plan, outcomes)


def test_a_run_ends_well_if_nothing_is_due_and_nothing_needs_a_person() -> None:
    assert ended() is ExitCode.OK
    fine = (
        SkipReason.RUNNING,
        SkipReason.LATER,
        SkipReason.NOT_BEGUN,
        SkipReason.IGNORED,
        SkipReason.COMPLETE,
        SkipReason.RELEASED,
    )
    assert ended(*fine, outcomes=(Outcome(COPY, Verdict.COMPLETE, None),)) is ExitCode.OK


@pytest.mark.parametrize(
    "reason", [one for one in SkipReason if not one.ends_well and one not in UNASKED]
)
def test_a_run_that_leaves_something_undone_says_so(reason: SkipReason) -> None:
    assert ended(SkipReason.RUNNING, reason) is ExitCode.INCOMPLETE


def test_a_run_with_a_transfer_that_is_not_complete_says_so() -> None:
    assert ended(outcomes=(Outcome(COPY, Verdict.CHANGED, "x"),)) is ExitCode.INCOMPLETE


def test_a_run_that_could_not_ask_or_list_says_so_before_all() -> None:
    assert ended(SkipReason.UNLISTED, SkipReason.NO_SPACE) is ExitCode.REMOTE_UNAVAILABLE
    assert ended(SkipReason.UNREACHABLE, SkipReason.NO_SPACE) is ExitCode.REMOTE_UNAVAILABLE
    assert ended(unlisted=("SFTP service, /data/mx: no",)) is ExitCode.REMOTE_UNAVAILABLE
    assert exit_code_for(Plan((), (), ("equipment 23: gone",)), ()) is ExitCode.REMOTE_UNAVAILABLE


def test_a_plan_lists_what_is_due_and_names_what_is_left_out_and_no_more() -> None:
    def item(record: ExperimentRecord) -> DueCopy | Skipped | None:
        return planned(experiment_state(record, policy_of(record)))

    ended_visit = visit("1a", -17, -9)
    due = item(record_of(ended_visit))
    assert due == DueCopy(wanted(experiment_of()), DueReason.NEW)
    left = item(record_of(ended_visit, visit("1a", -1, 1)))
    assert isinstance(left, Skipped)
    assert (left.reason, left.project) == (SkipReason.RUNNING, "ny79")
    assert item(record_of(ended_visit, copies=(copy_of(COPY),))) is None
    assert item(record_of()) is None  # visible alone: the overview names it


# What `asynchy sync` chooses

WISH = SyncRequest(Path("/vault"))


def vault(epn: str = "1a", beamline: str = "mx") -> Copy:
    return WISH.copy_of(record_of(experiment=experiment_of(epn, beamline)))


def synced(record: ExperimentRecord, wish: SyncRequest = WISH) -> DueCopy | Skipped | None:
    """What becomes of one experiment; None: its copy is complete."""
    decided, complete = select_from_catalogue([record], wish, NOW)
    assert len(decided) + complete == 1
    return next(iter(decided), None)


def why_of(record: ExperimentRecord, wish: SyncRequest = WISH) -> DueReason | SkipReason | None:
    found = synced(record, wish)
    if found is None:
        return None
    return found.why if isinstance(found, DueCopy) else found.reason


def in_vault(record: ExperimentRecord, **changes: Any) -> ExperimentRecord:
    completed = changes.pop("completed", -5)
    return replace(record, copies=(copy_of(vault(), completed, **changes),))


ENDED = visit("1a", -17, -9)


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (record_of(), DueReason.NEW),
        (in_vault(record_of()), None),
        (in_vault(record_of(ENDED)), None),
        (in_vault(record_of(ENDED), completed=-10), DueReason.RETURNED),
        (in_vault(record_of(ENDED, visit("1a", -1, 1))), None),  # nothing to show yet
        (in_vault(record_of(changed=hours(-4))), DueReason.CHANGED),
        (in_vault(record_of(changed=hours(-6))), None),
        (in_vault(record_of(), last=failed(-4)), DueReason.AGAIN),
        (in_vault(record_of(), completed=None), DueReason.AGAIN),
        (in_vault(record_of(), completed=None, suspect=True), DueReason.DIFFERENT),
        (in_vault(record_of(), claim=CLAIM), None),
        (in_vault(record_of(), completed=None, claim=CLAIM), SkipReason.CLAIMED),
        (in_vault(record_of(), presence=Presence.EMPTY), SkipReason.COPY_MISSING),
        (in_vault(record_of(), completed=None, presence=Presence.MISSING), DueReason.AGAIN),
        (record_of(problem="a broken link"), SkipReason.NOT_A_FOLDER),
        (record_of(source="/data/$(x)/1a"), SkipReason.ODD_SOURCE),
    ],
)
def test_what_sync_fetches_and_why(
    record: ExperimentRecord, result: DueReason | SkipReason | None
) -> None:
    assert why_of(record) is result


@pytest.mark.parametrize(
    ("record", "reason", "named"),
    [
        (record_of(vanished=NOW), SkipReason.LOST, DueReason.NEW),
        (
            record_of(vanished=NOW, completed_elsewhere=True, elsewhere_since=NOW),
            SkipReason.GONE,
            DueReason.NEW,
        ),
        (record_of(released=hours(-1)), SkipReason.RELEASED, DueReason.NEW),
        (record_of(completed_elsewhere=True), SkipReason.ELSEWHERE, DueReason.NEW),
        (record_of(ENDED, released=hours(-10)), DueReason.NEW, DueReason.NEW),
        (
            record_of(ENDED, completed_elsewhere=True, elsewhere_since=hours(-10)),
            DueReason.NEW,
            DueReason.NEW,
        ),
    ],
)
def test_what_sync_fetches_only_if_it_is_named(
    record: ExperimentRecord, reason: SkipReason | DueReason, named: DueReason
) -> None:
    assert why_of(record) is reason
    assert why_of(record, replace(WISH, epns=frozenset({"1a"}))) is named


def test_sync_counts_a_copy_that_is_gone_from_the_facility_as_complete() -> None:
    assert synced(in_vault(record_of(vanished=NOW), last=failed(-4))) is None


def test_sync_leaves_a_place_alone_that_holds_another_experiment() -> None:
    mine = record_of()
    saxs = experiment_of("1a", "saxs")
    other = record_of(experiment=saxs, copies=(copy_of(replace(vault(), experiment=saxs)),))
    decided, complete = select_from_catalogue([mine, other], WISH, NOW)
    (left,) = decided
    assert complete == 1
    assert isinstance(left, Skipped) and left.reason is SkipReason.SAME_DESTINATION
    assert left.detail == "/vault/1a holds saxs 1a; use --layout {beamline}/{epn}"
    apart = replace(WISH, layout="{beamline}/{epn}")
    assert all(
        isinstance(item, DueCopy) for item in select_from_catalogue([mine, other], apart, NOW)[0]
    )


@pytest.mark.parametrize("newest_first", [False, True])
def test_sync_goes_by_date_and_knows_how_much_is_new(newest_first: bool) -> None:
    records = [
        record_of(epn=epn, modified=hours(at), files=3, bytes=99)
        for epn, at in (("1b", -2), ("1a", -3), ("1c", -1))
    ]
    decided, _ = select_from_catalogue(records, replace(WISH, newest_first=newest_first), NOW)
    order = [item.experiment.epn.text for item in decided]
    assert order == (["1c", "1b", "1a"] if newest_first else ["1a", "1b", "1c"])
    assert all(isinstance(item, DueCopy) and item.expected == DataSize(99, 3) for item in decided)
    again = synced(in_vault(record_of(files=3, bytes=99), completed=None))
    assert isinstance(again, DueCopy) and again.expected is None


def test_sync_takes_all_and_leaves_the_limit_to_the_listing() -> None:
    """What cannot be listed must not use the limit up, so the decision does not apply it."""
    records = [record_of(epn=f"{number}a") for number in range(1, 6)]
    decided, _ = select_from_catalogue(records, replace(WISH, limit=2), NOW)
    assert len(decided) == 5


@pytest.mark.parametrize(
    ("since", "until", "taken"),
    [(None, None, True), (-4, -2, True), (-3, None, True), (-2, None, False), (None, -3, False)],
)
def test_sync_takes_what_was_last_written_in_a_time(
    since: float | None, until: float | None, taken: bool
) -> None:
    start, end = (None if at is None else hours(at) for at in (since, until))
    wish = replace(WISH, since=start, until=end)
    decided, _ = select_from_catalogue([record_of(modified=hours(-3))], wish, NOW)
    assert bool(decided) == taken
    (never,) = select_from_catalogue([record_of()], wish, NOW)[0]
    assert isinstance(never, DueCopy) == (since is until is None)
    assert isinstance(never, DueCopy) or never.reason is SkipReason.UNDATED


@pytest.mark.parametrize(
    ("record", "wish", "source"),
    [
        (record_of(), WISH, "/data/mx/1a"),
        (record_of(source="/data/MX/1A"), replace(WISH, source_prefix="/old/"), "/old/1A"),
        (record_of(source=""), replace(WISH, source_prefix="/"), "/1a"),
        (record_of(source=""), WISH, "/1a"),
        (record_of(source="/data/mx/21a"), replace(WISH, source_prefix="/"), "/1a"),
    ],
)
def test_sync_takes_the_path_that_was_seen_or_the_prefix_that_is_given(
    record: ExperimentRecord, wish: SyncRequest, source: str
) -> None:
    assert wish.copy_of(record).source == source


def test_an_experiment_without_a_beamline_has_a_place_in_a_layout_with_one() -> None:
    record = record_of(experiment=Experiment("", experiment_of().epn))
    wish = replace(WISH, layout="{beamline}/{epn}")
    assert wish.copy_of(record).destination == Path("/vault/unknown/1a")


@pytest.mark.parametrize("odd", ["", "data", "/", "/data/", "/data//x", "/a b", "/a;b", "/ü"])
def test_a_path_that_a_shell_could_interpret_is_not_plain(odd: str) -> None:
    assert not is_plain(odd)
    assert is_plain("/data/mx/12282a@b.c,d=e+f-g_h")


def test_sync_looks_at_the_record_of_its_place_alone() -> None:
    elsewhere = CopyRecord(**{**vars(copy_of(COPY)), "id": 7})
    assert why_of(record_of(copies=(elsewhere,))) is DueReason.NEW


def test_time_passes_without_an_obligation_ending() -> None:
    record = record_of(visit("1a", -17, -9))
    for days in (1, 100, 10_000):
        later = policy_of(record, now=NOW + timedelta(days=days))
        assert isinstance(planned(experiment_state(record, later)), DueCopy)
