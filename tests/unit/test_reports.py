"""What is at risk and what may be deleted, from what is known of both sides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.model.attempt import Claim, Verdict
from asynchy.model.copy_record import CopyRecord, LastAttempt, Presence
from asynchy.model.epn import Epn
from asynchy.model.experiment import NOTHING_LEFT_OUT, Copy, Experiment, LeftOutCounts
from asynchy.model.experiment_record import DueNote, ExperimentRecord, combine
from asynchy.model.experiment_state import experiment_state
from asynchy.model.person import Person
from asynchy.model.plan import SkipReason
from asynchy.model.policy import DestinationRules, IgnoreEntry, Origin, Policy, running_visits
from asynchy.model.safety import DeletionEvidence, SafetyPolicy, safe_since
from asynchy.model.verification import Level
from asynchy.model.visit import Beamtime, Visit
from asynchy.reporting.at_risk import AtRisk, Risks, at_risk
from asynchy.reporting.reconcile import DeletionPolicy, reconcile
from asynchy.reporting.reports import visits_unknown

NOW = datetime(2026, 11, 24, tzinfo=UTC)
MAPPING = {"1": "one"}
RETENTION = {"mx": 30}
COPY = CopyRecord(
    id=1,
    copy=Copy(
        Experiment("mx", Epn("1a")), "one", "/data/mx/1a", Path("/home/one"),
        Path("/home/one/1a/data"),
    ),
    completed=NOW, listed=NOW, suspect=False, level=Level.SIZE, verified=NOW, damaged=0, files=2,
    bytes=10, attempts=1, last=LastAttempt(NOW, Verdict.COMPLETE, None), left_out=NOTHING_LEFT_OUT,
)  # fmt: skip
CLAIM = Claim("vm", 7, NOW, NOW)
PERSON = IgnoreEntry(Origin.PERSON, NOW)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def last(verdict: Verdict, reason: str | None = None) -> LastAttempt:
    return LastAttempt(NOW, verdict, reason)


def beamtime(epn: str, ended: float, beamline: str = "mx", who: Person | None = None) -> Beamtime:
    """A visit that ended so many days ago."""
    start = ago(ended) - timedelta(hours=8)
    return Beamtime(Visit(f"{epn} {ended}", Epn(epn), start, ago(ended), principal=who), beamline)


def seen(
    epn: str, *copies: CopyRecord, beamline: str = "mx", ended: float = 20
) -> ExperimentRecord:
    return ExperimentRecord(
        Experiment(beamline, Epn(epn)), f"/data/{beamline}/{epn}", seen=True, listed=NOW, files=2,
        bytes=10, modified=ago(40), copies=copies, beamtimes=(beamtime(epn, ended, beamline),),
    )  # fmt: skip


def risk(*known: ExperimentRecord, level: Level | None = Level.SIZE, **keys: object) -> Risks:
    policy = SafetyPolicy(level, MAPPING, **keys)  # type: ignore[arg-type]
    return at_risk(known, policy, RETENTION, NOW)


def only(*known: ExperimentRecord, **keys: object) -> AtRisk:
    (item,) = risk(*known, **keys).items
    return item


def test_days_are_counted_from_the_end_of_the_visit() -> None:
    item = only(seen("1a"))
    assert (item.lack, item.project, item.days_left) == ("never fetched", "one", 10)
    assert (item.kept_until, item.about, item.unknown) == (ago(-10), False, None)
    assert only(seen("1a", ended=30.5)).days_left == -1
    assert only(seen("1a", ended=29.5)).days_left == 0


def test_what_is_past_comes_first_and_what_is_not_known_last() -> None:
    known = [seen("1a", ended=1), seen("1b", ended=99), seen("1c", beamline="saxs"), seen("1d")]
    found = risk(*known)
    assert [item.experiment.epn.text for item in found.items] == ["1b", "1d", "1a", "1c"]
    assert [item.days_left for item in found.items] == [-69, 10, 29, None]
    assert [item.unknown for item in found.unknown] == ["no retention-days for saxs"]
    assert [item.experiment.epn.text for item in found.past] == ["1b"]
    soon = found.within(10)
    assert [item.experiment.epn.text for item in soon.items] == ["1b", "1d", "1c"]


def test_without_a_visit_the_latest_file_stands_in_for_it_and_that_is_said() -> None:
    item = only(replace(seen("1a"), beamtimes=()))
    assert (item.days_left, item.about, item.visit_end) == (-10, True, None)
    item = only(replace(seen("1a"), beamtimes=(), modified=None))
    assert (item.days_left, item.about, item.unknown) == (None, False, "end of visit not known")


@pytest.mark.parametrize(
    ("copy", "level", "lack"),
    [
        (COPY, Level.SIZE, None),
        (COPY, Level.SOURCE, "complete, proven by size alone"),
        (replace(COPY, level=None), Level.SIZE, "complete, but not known how proven"),
        (replace(COPY, level=None), None, None),
        (replace(COPY, level=Level.SOURCE), Level.SOURCE, None),
        (replace(COPY, damaged=3), None, "3 files damaged at home"),
        (replace(COPY, damaged=3, missing=2), None, "2 files missing and 1 file damaged at home"),
        (
            replace(COPY, suspect=True, completed=None),
            None,
            "files are missing, or differ from the facility's",
        ),
        (
            replace(COPY, last=last(Verdict.STOPPED, "stopped")),
            None,
            "the latest attempt: stopped",
        ),
        (
            replace(COPY, last=last(Verdict.INTERRUPTED)),
            Level.SIZE,
            "the latest attempt: interrupted",
        ),
        (replace(COPY, completed=None, last=last(Verdict.FAILED, "disk full")), None, "disk full"),
        (replace(COPY, completed=None, claim=CLAIM), None, "it is being fetched"),
        (replace(COPY, completed=None, attempts=0, last=None), None, "never fetched"),
        *(
            (replace(COPY, presence=one), None, f"its folder at home {one.value}")
            for one in Presence
            if one is not Presence.THERE
        ),
        (replace(COPY, listed=ago(20.1)), None, "a visit has ended since it was fetched"),
    ],
)
def test_what_a_copy_lacks(copy: CopyRecord, level: Level | None, lack: str | None) -> None:
    found = [item.lack for item in risk(seen("1a", copy), level=level).items]
    assert found == ([lack] if lack else [])


def test_one_good_copy_is_enough() -> None:
    assert not risk(seen("1a", replace(COPY, damaged=1), COPY)).items


def test_something_new_is_counted_from_the_last_visit_a_part_from_its_own() -> None:
    late = replace(seen("1a", replace(COPY, listed=ago(1))), changed=NOW)
    assert only(late).lack == "changes were seen at the facility since it was fetched"
    visits = (beamtime("1a", 28), beamtime("1a", 25), beamtime("1a", 3))
    late = replace(late, beamtimes=visits)
    assert only(late).days_left == 27
    assert only(replace(late, copies=(replace(COPY, listed=ago(26)),))).days_left == 5
    assert only(replace(late, copies=())).days_left == 2  # nothing of it is at home
    assert only(replace(late, copies=(COPY,), changed=None), level=Level.SOURCE).days_left == 2


def test_what_only_the_portal_knows_and_whose_it_is() -> None:
    ada = Person("Ada", "Lovelace", "ada@uni.example")
    known = combine([], [beamtime("7a", 5, who=ada), beamtime("7a", 90)])
    item = only(*known)
    assert (item.lack, item.project, item.principal) == ("belongs to no project", None, ada)
    assert (item.bytes, item.days_left) == (None, -60)
    assert not risk(*combine([], [beamtime("7a", -9)])).items  # it has not begun
    assert only(*combine([], [beamtime("1a", -0.1)])).lack == "a visit is running"
    (told,) = combine([], [beamtime("1a", 1)])
    noted = replace(told, note=DueNote("one", NOW, NOW, "no room"))
    assert only(noted).lack == "no room"


def test_what_a_person_or_an_original_waved_through_is_counted_apart() -> None:
    known = [seen("1a"), replace(seen("1b"), completed_elsewhere=True)]
    found = risk(*known, ignored={"1a": PERSON})
    assert not found.items and len(found.exempt) == 2
    policy = SafetyPolicy(None, MAPPING, {"1a": PERSON})
    everything = at_risk(known, policy, RETENTION, NOW, everything=True)
    assert [item.lack.partition(" calls")[0] for item in everything.items] == [
        "ignore.yml",
        "an original's database",
    ]
    suspect = replace(COPY, completed=None, suspect=True)
    assert only(seen("1a", suspect), ignored={"1a": PERSON}).lack.startswith("files are missing")


@pytest.mark.parametrize(
    ("entry", "exempt"),
    [
        (IgnoreEntry(Origin.PERSON, ago(99)), True),
        (IgnoreEntry(Origin.ORIGINAL, ago(19)), True),
        (IgnoreEntry(Origin.ORIGINAL, ago(21)), False),  # a visit has ended since
        (IgnoreEntry(Origin.OURS, ago(1)), False),
        (IgnoreEntry(Origin.REMOVED, ago(1)), False),
    ],
)
def test_an_entry_exempts_what_a_person_or_the_original_wrote(
    entry: IgnoreEntry, exempt: bool
) -> None:
    found = risk(seen("1a"), ignored={"1a": entry})
    assert (len(found.exempt), len(found.items)) == ((1, 0) if exempt else (0, 1))


@pytest.mark.parametrize(("since", "exempt"), [(None, True), (19, True), (21, False)])
def test_what_an_originals_database_says_holds_until_the_facility_was_touched(
    since: float | None, exempt: bool
) -> None:
    when = None if since is None else ago(since)
    record = replace(seen("1a"), completed_elsewhere=True, elsewhere_since=when)
    assert SafetyPolicy(None, MAPPING).is_exempt(record, NOW) == exempt


@pytest.mark.parametrize(("released", "exempt"), [(19, True), (21, False)])
def test_what_a_person_released_is_exempt_with_the_reason_until_the_facility_was_touched(
    released: float, exempt: bool
) -> None:
    record = replace(seen("1a"), released=ago(released), release_reason="measured again")
    found = risk(record)
    assert (len(found.released), len(found.items)) == ((1, 0) if exempt else (0, 1))
    assert found.exempt == ()
    assert found.within(9).released == found.released
    policy = SafetyPolicy(None, MAPPING)
    (item,) = at_risk([record], policy, RETENTION, NOW, everything=True).items
    said = "released by a person: measured again"
    assert item.lack == (said if exempt else "never fetched")


def test_only_a_sound_copy_that_is_there_says_since_when_its_files_are_safe() -> None:
    assert safe_since(COPY, Level.SIZE) == NOW
    for copy in (
        replace(COPY, presence=Presence.EMPTY), replace(COPY, damaged=1),
        replace(COPY, completed=None, suspect=True), replace(COPY, completed=None),
        replace(COPY, level=None),
    ):  # fmt: skip
        assert safe_since(copy, Level.SIZE) is None


def test_what_is_gone_is_not_at_risk_but_told_where_it_was_never_whole_at_home() -> None:
    gone = replace(seen("1a"), vanished=NOW)
    found = risk(gone, replace(seen("1b", COPY), vanished=NOW), level=Level.SOURCE)
    assert not found.items and [one.epn.text for one in found.lost] == ["1a"]
    killed = seen("1b", replace(COPY, last=last(Verdict.INTERRUPTED)))
    assert risk(killed).items and not risk(replace(killed, vanished=NOW)).lost


def test_one_place_under_two_names_is_one_experiment() -> None:
    loose = replace(seen("1a"), experiment=Experiment("", Epn("1a")), source="/data/1a", bytes=12)
    ours = replace(seen("1a", COPY), source="/data/1a", listed=ago(1))
    (one,) = combine([loose, ours], [beamtime("1a", 3)])
    assert (one.experiment.beamline, one.copies, one.bytes) == ("mx", (COPY,), 12)
    (one,) = combine([loose], [beamtime("1a", 3, "mx2")])
    assert one.experiment.beamline == "" and len(one.beamtimes) == 1
    assert len(combine([seen("1a"), seen("1a", beamline="saxs")], [])) == 2


PROVEN = replace(COPY, level=Level.SOURCE)
PROOF = DeletionEvidence(0, 2, 10, ("sha256sum at the facility",), ago(1), NOW)


def why(
    one: ExperimentRecord,
    proof: DeletionEvidence = PROOF,
    *,
    recheck: int = 7,
    cycle: Policy | None = None,
    unknown_visits: str | None = None,
) -> str:
    policy = SafetyPolicy(Level.SOURCE, MAPPING)
    terms = DeletionPolicy(
        policy,
        Level.SOURCE,
        timedelta(days=recheck),
        prove=lambda _: proof,
        cycle=cycle,
        unknown_visits=unknown_visits,
    )
    (found,) = reconcile([one], terms, NOW)
    assert found.deletable == (one.copies != () and found.why.startswith("2 files"))
    return found.why if found.deletable else f"no: {found.why}"


def test_what_may_be_deleted_and_by_which_proof() -> None:
    told = why(seen("1a", PROVEN))
    assert told.startswith("2 files, source (sha256sum at the facility) 2026-11-2")
    assert "; listed there 2026-11-24" in told and told.endswith(":00 UTC")
    told = why(replace(seen("1a", PROVEN), beamtimes=()))
    assert told.endswith("; no visit is known")


@pytest.mark.parametrize(
    ("one", "no"),
    [
        (seen("1a"), "never fetched"),
        (seen("1a", COPY), "complete, proven by size alone"),
        (seen("1a", replace(PROVEN, claim=CLAIM)), "process 7 on vm works on it"),
        (
            seen("1a", replace(PROVEN, last=last(Verdict.FAILED, "cut off"))),
            "the latest attempt: cut off",
        ),
        (seen("1a", PROVEN, ended=3), "may be written late; to be listed again after 2026-11-28"),
        (seen("1a", PROVEN, ended=-0.1), "a visit is running"),
        (
            replace(seen("1a", PROVEN), source="/data/2026/mx/1a", listed=None),
            "/data/2026/mx/1a was never listed",
        ),
        (replace(seen("1a", PROVEN), vanished=NOW), "no longer there since 2026-11-24"),
        (
            replace(seen("1a", replace(PROVEN, listed=ago(1))), changed=NOW),
            "changes were seen at the facility",
        ),
        (
            seen("1a", replace(PROVEN, left_out=LeftOutCounts(2, 1, 0))),
            "left out, so not at home: 2 dot files or folders, 1 link;",
        ),
        (seen("1a", replace(PROVEN, left_out=None)), "it is not known what was left out"),
    ],
)
def test_what_stands_against_it(one: ExperimentRecord, no: str) -> None:
    assert why(one).startswith(f"no: {no}")


def test_every_file_must_be_proven_and_the_copy_be_there() -> None:
    assert why(seen("1a", PROVEN), replace(PROOF, unproven=1)) == (
        "no: 1 file there not at home, or not so proven"
    )
    for presence in (Presence.MISSING, Presence.EMPTY, Presence.UNMOUNTED):
        gone = seen("1a", replace(PROVEN, presence=presence))
        assert why(gone) == f"no: its folder at home {presence.value}"
    assert not why(seen("1a", PROVEN, ended=3), recheck=0).startswith("no")


RULES = DestinationRules(MAPPING, "/data/mx/{epn}", Path("/home"), "{project}/{epn}/data")


def cycle(*beamtimes: Beamtime, entry: Origin = Origin.OURS, **changes: object) -> Policy:
    ignored = {"1a": IgnoreEntry(entry, NOW)}
    policy = Policy(NOW, RULES, running_visits(beamtimes, NOW), ignored)
    return replace(policy, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "no"),
    [
        (cycle(beamtime("1a", -0.1, "saxs")), "waiting: a visit is running: since 2026-11-2"),
        (cycle(beamtime("1a", -0.36)), "waiting: a visit is running: since 2026-11-2"),
        (cycle(entry=Origin.REMOVED), "due"),
        (cycle(entry=Origin.PERSON), "skipped: listed in ignore.yml"),
        (cycle(rules=replace(RULES, epn_cap_map={})), "no project: no project for its proposal"),
    ],
)
def test_nothing_may_be_deleted_that_is_not_at_home_for_mxsync(policy: Policy, no: str) -> None:
    one = seen("1a", replace(PROVEN, listed=ago(0.1)))
    assert not why(one, cycle=None).startswith("no")
    assert not why(one, cycle=cycle()).startswith("no")
    assert why(one, cycle=policy).startswith(f"no: {no}")


def test_nothing_may_be_deleted_before_its_next_visit_or_after_its_release() -> None:
    coming = replace(seen("1a", PROVEN), beamtimes=(beamtime("1a", -9),))
    assert why(coming, cycle=cycle()) == "no: waiting: its visit has not begun"
    released = replace(seen("1a", PROVEN), released=NOW, release_reason="measured again")
    assert why(released, cycle=cycle()).endswith("measured again")


def test_nothing_may_be_deleted_while_the_visits_up_to_now_are_not_known() -> None:
    assert why(seen("1a", PROVEN), unknown_visits="visits are not known") == (
        "no: visits are not known"
    )
    recent, old = ago(0.1), ago(0.2)
    daily = timedelta(hours=24)
    assert visits_unknown({23: NOW - daily - timedelta(hours=2)}, [23], NOW, daily) is None
    assert visits_unknown({23: recent, 24: NOW}, [23, 24], NOW, timedelta(hours=1)) is None
    assert "equipment 24" in str(
        visits_unknown({23: recent, 24: old}, [23, 24], NOW, timedelta(hours=1))
    )
    assert "never answered for equipment 25" in str(
        visits_unknown({23: recent}, [23, 25], NOW, timedelta(hours=1))
    )
    assert visits_unknown({}, [], NOW, timedelta(hours=1)) is None


@pytest.mark.parametrize(
    "problem", ["/data/mx/1a: it leads to nothing", f"{SkipReason.SECOND_FOLDER.text}: /data/mx/1A"]
)
def test_what_cannot_be_listed_at_the_facility_is_at_risk_and_not_deletable(problem: str) -> None:
    record = replace(seen("1a", PROVEN), problem=problem)
    assert why(record) == f"no: {problem}"
    (item,) = risk(record).items
    assert item.lack == problem


def test_an_empty_folder_at_the_facility_holds_nothing_that_is_at_risk() -> None:
    copy = replace(PROVEN, listed=ago(3))
    record = replace(seen("1a", copy, ended=2), files=0, bytes=0, listed=ago(1))
    assert risk(record).items == ()
    assert risk(replace(record, files=1)).items != ()
    assert risk(replace(record, listed=ago(2.5))).items != ()  # before the visit had ended


def test_an_experiment_that_cannot_be_judged_is_named_and_costs_no_other() -> None:
    broken = seen("1b", replace(COPY, listed=NOW.replace(tzinfo=None)))
    records = [broken, seen("1c")]
    policy = Policy(NOW, RULES, running_visits((), NOW), {})
    states = [experiment_state(one, policy) for one in records]
    assert [one.left for one in states] == [SkipReason.UNJUDGED, None]
    assert "TypeError" in states[0].reason
    items = at_risk(records, SafetyPolicy(Level.SIZE), RETENTION, NOW).items
    lacks = {item.experiment.epn.text: item.lack for item in items}
    assert lacks.keys() == {"1b", "1c"}
    assert lacks["1b"].startswith("an error that asynchy did not expect: TypeError(")

    terms = DeletionPolicy(
        SafetyPolicy(Level.SIZE), Level.SIZE, timedelta(0), prove=lambda _copy: PROOF
    )
    found = {one.record.experiment.epn.text: one for one in reconcile(records, terms, NOW)}
    assert not found["1b"].deletable
    assert found["1b"].why.startswith("an error that asynchy did not expect: TypeError(")
    assert found["1c"].why == "never fetched"


def test_a_folder_that_could_not_be_listed_since_keeps_all_from_being_deleted() -> None:
    told = why(seen("1a", PROVEN), replace(PROOF, unlisted=1))
    assert told == "no: 1 folder there could not be listed: what is in it now is not known"
