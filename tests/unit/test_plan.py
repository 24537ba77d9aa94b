"""What is listed, whether it fits, what came of it; and what `asynchy sync` chooses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.domain.attempt import EngineResult, Verdict
from asynchy.domain.copy_record import CopyRecord, Presence
from asynchy.domain.experiment import Amount, Copy, Experiment, Survey
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.level import Check
from asynchy.errors import ExitCode
from asynchy.plan.backlog import Wish, backlog, is_plain
from asynchy.plan.decide import Places, Room, after_listing, planned, when_absent
from asynchy.plan.experiment_state import experiment_state
from asynchy.plan.outcome import Due, Left, LeftOut, Plan, Transfer, Why
from asynchy.plan.verdict import Judgement, Proof, check_made, judge, verdict_on
from asynchy.service.bring import Outcome
from asynchy.service.work import exit_code_for
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


def survey(fingerprint: str = "f", *, files: int = 0, size: int = 0, folders: int = 0) -> Survey:
    return Survey(NOW, 10, 1000, 2, 0, files, size, folders, fingerprint)


@pytest.mark.parametrize(
    ("room", "result"),
    [
        (Room(500, 8), None),
        (Room(500, None), None),
        (Room(499, 8), Left.NO_SPACE),
        (Room(None, 8), None),
        (Room(-1, 8), Left.NO_SPACE),
        (Room(500, 7), Left.NO_INODES),
    ],
)
def test_it_must_fit(room: Room, result: Left | None) -> None:
    found = after_listing(Due(COPY, Why.NEW), survey(files=5, size=500, folders=3), room)
    assert (found.reason if isinstance(found, LeftOut) else None) is result


def test_what_is_planned_is_no_longer_free() -> None:
    assert Room(500, 8).less(survey(files=5, size=500, folders=3)) == Room(0, 0)
    assert Room(500, None).less(survey(files=5, size=500)) == Room(0, None)
    assert Room(None, 8).less(survey(files=5, size=500)) == Room(None, 3)


def check(different: int = 0, reason: str | None = None) -> Check:
    return Check("verify", "way", NOW, NOW, "here", 1, 9, 99, different, 0, 0, 0, 0, reason, True)


COMPLETE = Judgement(Verdict.COMPLETE)


@pytest.mark.parametrize(
    ("proof", "again", "verdict", "words"),
    [
        (Proof(check(), 0), False, Verdict.COMPLETE, None),
        (Proof(check(1), 0), False, Verdict.DIFFERENT, "1 file differs from the facility's"),
        (
            Proof(check(2, "x"), 3), True, Verdict.DIFFERENT,
            "2 files differ from the facility's, also when fetched again",
        ),
        (Proof(check(0, "1 file could not be read"), 1), False, Verdict.FAILED, "1 file could not be read"),
    ],
)  # fmt: skip
def test_the_verdict_once_bytes_were_compared(
    proof: Proof, again: bool, verdict: Verdict, words: str | None
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
    (result(), survey(), None, Verdict.COMPLETE),
    (result(), survey(), "unsure", Verdict.TRANSFERRED),
    (result(), survey("g"), None, Verdict.CHANGED),
    (result(), survey(files=1), None, Verdict.FAILED),
    (result(), survey(folders=1), None, Verdict.FAILED),
    (result(), None, None, Verdict.FAILED),
    (result(ok=False), survey(), None, Verdict.FAILED),
    (result(ok=False), None, None, Verdict.FAILED),
    (result(ok=False, vanished=True), survey(), None, Verdict.CHANGED),
    (result(ok=False, stopped=True), None, None, Verdict.STOPPED),
    (result(stopped=True), survey(), None, Verdict.STOPPED),
]


@pytest.mark.parametrize(("done", "after", "unsure", "verdict"), VERDICTS)
def test_verdicts(
    done: EngineResult, after: Survey | None, unsure: str | None, verdict: Verdict
) -> None:
    found = judge(done, survey(), after, unsure=unsure)
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
        survey(),
        survey(mark, files=missing),
        unsure=unsure,
    )
    all_well = (
        ok and not stopped and not vanished and mark == "f" and not missing and unsure is None
    )
    assert (found.verdict is Verdict.COMPLETE) == all_well


def test_what_is_at_home_already_needs_no_room() -> None:
    assert isinstance(after_listing(Due(COPY, Why.AGAIN), survey(), Room(0, 0)), Transfer)


def test_a_refusal_says_how_much_and_never_a_negative_number() -> None:
    found = after_listing(Due(COPY, Why.NEW), survey(files=1, size=2000), Room(-5, -5))
    assert isinstance(found, LeftOut)
    assert str(found) == "not enough free space: 2.00 kB to write, 0 B free for it"
    found = after_listing(Due(COPY, Why.NEW), survey(files=2), Room(0, -5))
    assert isinstance(found, LeftOut)
    assert found.detail == "2 files and folders to write, 0 free for them"


def test_a_failure_tells_the_engines_reason() -> None:
    assert judge(result(ok=False), survey(), None, unsure=None).reason == "broken"


def test_the_reason_of_a_transfer_that_may_not_count_is_told() -> None:
    found = judge(result(), survey(), survey(), unsure="the portal is down")
    assert found.reason == "all of it is at home, but the portal is down"


def test_a_folder_without_files_is_never_called_complete() -> None:
    empty = replace(survey(), files=0, bytes=0, folders=3)
    for why in (Why.NEW, Why.AGAIN, Why.RETURNED):
        found = after_listing(Due(COPY, why), empty, Room(10**9, None))
        assert isinstance(found, LeftOut) and found.reason is Left.EMPTY
        assert not found.reason.ends_well and not found.reason.needs_person
        assert str(found) == f"nothing there yet: it has no files at the facility: {COPY.source}"


def test_a_plan_is_unsure_while_not_all_was_asked() -> None:
    assert Plan((), (), ("equipment 24: gone",)).unsure is not None
    assert Plan((), (), ()).unsure is None


@pytest.mark.parametrize("why", list(Why))
def test_an_absent_folder_stays_due_unless_its_copy_is_complete(why: Why) -> None:
    found = when_absent(Due(COPY, why))
    assert found.reason is (Left.COMPLETE if why is Why.LATE else Left.ABSENT)
    assert found.reason.stays_due == (why is not Why.LATE)


def test_of_two_experiments_with_one_destination_the_first_that_has_files_is_fetched() -> None:
    other = replace(COPY, experiment=experiment_of("1a", "saxs"))
    elsewhere = replace(other, destination=Path("/elsewhere"))
    places = Places()
    transfers = [Transfer(copy, Why.NEW, survey()) for copy in (COPY, other, elsewhere)]
    first, second, third = map(places.fill, transfers)
    assert (first, third) == (transfers[0], transfers[2])
    assert isinstance(second, LeftOut) and second.reason is Left.SAME_DESTINATION
    assert second.experiment == other.experiment and "--layout" in second.detail


# What a run leaves out, and what it ends with

STAYS_DUE = {
    Left.LOST, Left.ODD_SOURCE, Left.INCOMPLETE, Left.COPY_MISSING, Left.UNMOUNTED, Left.DAMAGED,
    Left.NO_PROJECT_FOLDER, Left.SAME_DESTINATION, Left.CLAIMED, Left.ABSENT, Left.EMPTY,
    Left.BROKEN_LINK, Left.UNJUDGED, Left.UNLISTED, Left.UNREACHABLE, Left.DESTINATION, Left.NO_SPACE, Left.NO_INODES,
}  # fmt: skip
UNASKED = {Left.UNLISTED, Left.UNREACHABLE}
SETTLE_BY_THEMSELVES = {Left.INCOMPLETE, Left.CLAIMED, Left.EMPTY, *UNASKED}


@pytest.mark.parametrize("reason", list(Left))
def test_which_reasons_keep_an_experiment_due_and_which_need_a_person(reason: Left) -> None:
    assert reason.stays_due == (reason in STAYS_DUE)
    assert reason.needs_person == (
        reason is Left.UNMAPPED or reason in STAYS_DUE - SETTLE_BY_THEMSELVES
    )
    assert reason.ends_well == (reason not in STAYS_DUE | {Left.UNMAPPED})
    assert str(LeftOut(EXPERIMENT, reason, "why")) == f"{reason.text}: why"


def ended(*left: Left, outcomes: tuple[Outcome, ...] = (), **changes: Any) -> ExitCode:
    plan = Plan((), tuple(LeftOut(EXPERIMENT, one) for one in left), (), **changes)
    return exit_code_for(plan, outcomes)


def test_a_run_ends_well_if_nothing_is_due_and_nothing_needs_a_person() -> None:
    assert ended() is ExitCode.OK
    fine = Left.RUNNING, Left.LATER, Left.NOT_BEGUN, Left.IGNORED, Left.COMPLETE, Left.RELEASED
    assert ended(*fine, outcomes=(Outcome(COPY, Verdict.COMPLETE, None),)) is ExitCode.OK


@pytest.mark.parametrize(
    "reason", [one for one in Left if not one.ends_well and one not in UNASKED]
)
def test_a_run_that_leaves_something_undone_says_so(reason: Left) -> None:
    assert ended(Left.RUNNING, reason) is ExitCode.DUE


def test_a_run_with_a_transfer_that_is_not_complete_says_so() -> None:
    assert ended(outcomes=(Outcome(COPY, Verdict.CHANGED, "x"),)) is ExitCode.DUE


def test_a_run_that_could_not_ask_or_list_says_so_before_all() -> None:
    assert ended(Left.UNLISTED, Left.NO_SPACE) is ExitCode.UNASKED
    assert ended(Left.UNREACHABLE, Left.NO_SPACE) is ExitCode.UNASKED
    assert ended(unlisted=("SFTP service, /data/mx: no",)) is ExitCode.UNASKED
    assert exit_code_for(Plan((), (), ("equipment 23: gone",)), ()) is ExitCode.UNASKED


def test_a_plan_lists_what_is_due_and_names_what_is_left_out_and_no_more() -> None:
    def item(record: ExperimentRecord) -> Due | LeftOut | None:
        return planned(experiment_state(record, policy_of(record)))

    ended_visit = visit("1a", -17, -9)
    due = item(record_of(ended_visit))
    assert due == Due(wanted(experiment_of()), Why.NEW)
    left = item(record_of(ended_visit, visit("1a", -1, 1)))
    assert isinstance(left, LeftOut)
    assert (left.reason, left.project) == (Left.RUNNING, "ny79")
    assert item(record_of(ended_visit, copies=(copy_of(COPY),))) is None
    assert item(record_of()) is None  # visible alone: the overview names it


# What `asynchy sync` chooses

WISH = Wish(Path("/vault"))


def vault(epn: str = "1a", beamline: str = "mx") -> Copy:
    return WISH.copy_of(record_of(experiment=experiment_of(epn, beamline)))


def synced(record: ExperimentRecord, wish: Wish = WISH) -> Due | LeftOut | None:
    """What becomes of one experiment; None: its copy is complete."""
    decided, complete = backlog([record], wish, NOW)
    assert len(decided) + complete == 1
    return next(iter(decided), None)


def why_of(record: ExperimentRecord, wish: Wish = WISH) -> Why | Left | None:
    found = synced(record, wish)
    if found is None:
        return None
    return found.why if isinstance(found, Due) else found.reason


def in_vault(record: ExperimentRecord, **changes: Any) -> ExperimentRecord:
    completed = changes.pop("completed", -5)
    return replace(record, copies=(copy_of(vault(), completed, **changes),))


ENDED = visit("1a", -17, -9)


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (record_of(), Why.NEW),
        (in_vault(record_of()), None),
        (in_vault(record_of(ENDED)), None),
        (in_vault(record_of(ENDED), completed=-10), Why.RETURNED),
        (in_vault(record_of(ENDED, visit("1a", -1, 1))), None),  # nothing to show yet
        (in_vault(record_of(changed=hours(-4))), Why.CHANGED),
        (in_vault(record_of(changed=hours(-6))), None),
        (in_vault(record_of(), last=failed(-4)), Why.AGAIN),
        (in_vault(record_of(), completed=None), Why.AGAIN),
        (in_vault(record_of(), completed=None, suspect=True), Why.DIFFERENT),
        (in_vault(record_of(), claim=CLAIM), None),
        (in_vault(record_of(), completed=None, claim=CLAIM), Left.CLAIMED),
        (in_vault(record_of(), presence=Presence.EMPTY), Left.COPY_MISSING),
        (in_vault(record_of(), completed=None, presence=Presence.MISSING), Why.AGAIN),
        (record_of(problem="a broken link"), Left.BROKEN_LINK),
        (record_of(source="/data/$(x)/1a"), Left.ODD_SOURCE),
    ],
)
def test_what_sync_fetches_and_why(record: ExperimentRecord, result: Why | Left | None) -> None:
    assert why_of(record) is result


@pytest.mark.parametrize(
    ("record", "reason", "named"),
    [
        (record_of(vanished=NOW), Left.GONE, Why.NEW),
        (record_of(released=hours(-1)), Left.RELEASED, Why.NEW),
        (record_of(completed_elsewhere=True), Left.ELSEWHERE, Why.NEW),
        (record_of(ENDED, released=hours(-10)), Why.NEW, Why.NEW),
        (
            record_of(ENDED, completed_elsewhere=True, elsewhere_since=hours(-10)),
            Why.NEW,
            Why.NEW,
        ),
    ],
)
def test_what_sync_fetches_only_if_it_is_named(
    record: ExperimentRecord, reason: Left | Why, named: Why
) -> None:
    assert why_of(record) is reason
    assert why_of(record, replace(WISH, epns=frozenset({"1a"}))) is named


def test_sync_counts_a_copy_that_is_gone_from_the_facility_as_complete() -> None:
    assert synced(in_vault(record_of(vanished=NOW), last=failed(-4))) is None


def test_sync_leaves_a_place_alone_that_holds_another_experiment() -> None:
    mine = record_of()
    saxs = experiment_of("1a", "saxs")
    other = record_of(experiment=saxs, copies=(copy_of(replace(vault(), experiment=saxs)),))
    decided, complete = backlog([mine, other], WISH, NOW)
    (left,) = decided
    assert complete == 1
    assert isinstance(left, LeftOut) and left.reason is Left.SAME_DESTINATION
    assert left.detail == "/vault/1a holds saxs 1a; use --layout {beamline}/{epn}"
    apart = replace(WISH, layout="{beamline}/{epn}")
    assert all(isinstance(item, Due) for item in backlog([mine, other], apart, NOW)[0])


@pytest.mark.parametrize("newest_first", [False, True])
def test_sync_goes_by_date_and_knows_how_much_is_new(newest_first: bool) -> None:
    records = [
        record_of(epn=epn, modified=hours(at), files=3, bytes=99)
        for epn, at in (("1b", -2), ("1a", -3), ("1c", -1))
    ]
    decided, _ = backlog(records, replace(WISH, newest_first=newest_first), NOW)
    order = [item.experiment.epn.text for item in decided]
    assert order == (["1c", "1b", "1a"] if newest_first else ["1a", "1b", "1c"])
    assert all(isinstance(item, Due) and item.expected == Amount(99, 3) for item in decided)
    again = synced(in_vault(record_of(files=3, bytes=99), completed=None))
    assert isinstance(again, Due) and again.expected is None


def test_sync_takes_all_and_leaves_the_limit_to_the_listing() -> None:
    """What cannot be listed must not use the limit up, so the decision does not apply it."""
    records = [record_of(epn=f"{number}a") for number in range(1, 6)]
    decided, _ = backlog(records, replace(WISH, limit=2), NOW)
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
    decided, _ = backlog([record_of(modified=hours(-3))], wish, NOW)
    assert bool(decided) == taken
    never = backlog([record_of()], wish, NOW)[0]
    assert bool(never) == (since is until is None)


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
    record: ExperimentRecord, wish: Wish, source: str
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
    assert why_of(record_of(copies=(elsewhere,))) is Why.NEW


def test_time_passes_without_an_obligation_ending() -> None:
    record = record_of(visit("1a", -17, -9))
    for days in (1, 100, 10_000):
        later = policy_of(record, now=NOW + timedelta(days=days))
        assert isinstance(planned(experiment_state(record, later)), Due)
