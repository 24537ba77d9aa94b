"""A person decides about a copy that is not at its place: move, forget, refetch, release."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.errors import CopyRefused, DestinationTaken, NothingKnown
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.copy_record import CopyRecord, Presence
from asynchy.model.epn import Epn
from asynchy.model.event import EventKind
from asynchy.model.experiment import Copy, Entry, EntryKind, Experiment, ListingDiff, LocalState
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState, State, experiment_state
from asynchy.model.plan import DueReason
from asynchy.model.policy import DestinationRules, Policy, owners_of, running_visits
from asynchy.model.verification import Level
from asynchy.model.visit import EquipmentVisits, Visit
from asynchy.verification.moved_copies import (
    chosen_copy,
    chosen_experiment,
    move,
    refetch,
    require_unreleased,
    take_back,
)
from tests.tools.catalogues import new_catalogue

pytestmark = pytest.mark.both_databases

NOW = datetime.now(UTC)
EPN = Epn("12282a")
FILES = {b"a": b"1", b"deep/b\xff": b"22"}


class Home:
    """A catalogue with a complete copy of one experiment, and its files."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.catalogue = new_catalogue(place / "catalogue.db")
        self.copy = self.copy_at(place / "ny79" / "12282a" / "data")
        self.number = self.complete(self.copy)
        self.write(self.copy.destination)

    def copy_at(self, destination: Path, beamline: str = "mx") -> Copy:
        source = f"/data/{beamline}/12282a"
        return Copy(Experiment(beamline, EPN), "ny79", source, self.place / "ny79", destination)

    def complete(self, copy: Copy) -> int:
        number = self.catalogue.acquire_lease(copy)
        assert isinstance(number, int)
        listing = self.catalogue.listing(copy)
        assert listing is not None
        for path, data in FILES.items():
            listing.add(Entry(EntryKind.FILE, path, len(data), 1000, 0o644), LocalState.AS_LISTED)
        listing.finish(None)
        assert listing.number is not None
        size = sum(map(len, FILES.values()))
        self.catalogue.copy_files(number).take(listing.number, (len(FILES), size), Level.SIZE)
        listing_diff = ListingDiff(NOW, len(FILES), size, 1, 0, 0, 0, "f", listing.number)
        self.catalogue.record(number, attempt(), listing_diff)
        self.catalogue.leases.release(number)
        return number

    def write(self, folder: Path) -> None:
        for name, data in FILES.items():
            path = folder / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (1000, 1000))

    def chosen(self, place: Path | None = None) -> CopyRecord:
        return chosen_copy(self.catalogue, EPN, place)

    @property
    def record(self) -> ExperimentRecord:
        (found,) = self.catalogue.overview.records([EPN.text])
        return found

    def told(self, ended: timedelta) -> None:
        """The portal tells of a visit that ended so long ago."""
        end = NOW - ended
        visit = Visit("1", EPN, end - timedelta(hours=8), end)
        self.catalogue.overview.keep_visits([EquipmentVisits(23, "mx", (visit,))], NOW)

    def state(self) -> ExperimentState:
        rules = DestinationRules(
            {"12282": "ny79"}, "/data/{beamline}/{epn}", self.place, "{project}/{epn}/data"
        )
        now = datetime.now(UTC)
        running = running_visits(self.record.beamtimes, now)
        policy = Policy(now, rules, running, owners=owners_of([self.record]))
        return experiment_state(self.record, policy)


def attempt() -> Attempt:
    return Attempt(
        started=NOW, ended=NOW, host="here", pid=1, engine="rsync", chosen=None, check="size",
        compare="time", verdict=Verdict.COMPLETE, exit_code=0, files=2, bytes=3, listed_at=NOW,
        listed_files=2, listed_bytes=3, reason=None, stderr="",
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


# Which copy


def test_the_only_copy_of_an_epn_is_chosen_with_what_is_at_its_place(home: Home) -> None:
    assert home.chosen().copy == home.copy
    home.copy.destination.rename(home.place / "elsewhere")
    assert home.chosen().presence is Presence.MISSING


def test_of_several_copies_one_must_be_named(home: Home) -> None:
    other = home.copy_at(home.place / "vault")
    home.complete(other)
    with pytest.raises(CopyRefused, match=r"12282a has 2 copies: .*vault") as caught:
        home.chosen()
    assert caught.value.hint == "name one with --copy"
    assert home.chosen(other.destination).copy.destination == other.destination


def test_a_copy_that_nobody_knows_is_named(home: Home) -> None:
    with pytest.raises(NothingKnown, match="knows no copy of 12282a in /nowhere"):
        home.chosen(Path("/nowhere"))
    with pytest.raises(NothingKnown, match="knows no copy of 99999z") as found:
        chosen_copy(home.catalogue, Epn("99999z"), None)
    assert "`asynchy status 99999z`" in str(found.value.hint)


def test_a_copy_that_a_process_works_on_is_refused(home: Home) -> None:
    home.catalogue.acquire_lease(home.copy)
    with pytest.raises(CopyRefused, match=f"process {os.getpid()} on .* works on"):
        home.chosen()


# Move


def test_a_copy_that_was_moved_keeps_what_is_known_of_its_files(home: Home) -> None:
    destination = home.place / "new" / "12282a"
    destination.parent.mkdir()
    home.copy.destination.rename(destination)
    before = home.chosen()
    moved = move(home.catalogue, before, destination, destination.parent)
    assert (moved.files, moved.destination, moved.record) == (2, destination, before)
    after = home.chosen()
    assert after.copy == replace(
        before.copy, destination=destination, project_folder=destination.parent
    )
    assert after.presence is Presence.THERE
    assert (after.id, after.completed, after.level) == (before.id, before.completed, Level.SIZE)
    assert [row.path for row in home.catalogue.copy_files(after.id).everything()] == sorted(FILES)
    assert len(home.catalogue.history.attempts_of("12282a")) == 1


def spoil(folder: Path, how: str) -> None:
    path = folder / "a"
    if how == "missing":
        path.unlink()
    elif how == "size":
        path.write_bytes(b"longer")
        os.utime(path, (1000, 1000))
    elif how == "time":
        os.utime(path, (1001, 1001))
    elif how == "link":
        path.rename(folder.parent / "a")
        path.symlink_to(folder.parent / "a")


@pytest.mark.parametrize("how", ["missing", "size", "time", "link"])
def test_a_place_where_a_file_is_not_as_it_was_is_refused(home: Home, how: str) -> None:
    destination = home.place / "new"
    home.copy.destination.rename(destination)
    spoil(destination, how)
    with pytest.raises(CopyRefused, match=r"1 file of 2 is not there as it was: a$") as caught:
        move(home.catalogue, home.chosen(), destination, home.place)
    assert caught.value.hint and "refetch 12282a" in caught.value.hint
    assert home.chosen().copy == home.copy


def test_names_of_missing_files_are_escaped_and_more_files_do_no_harm(home: Home) -> None:
    destination = home.place / "new"
    home.copy.destination.rename(destination)
    (destination / "more").write_text("x")
    (destination / os.fsdecode(b"deep/b\xff")).unlink()
    with pytest.raises(CopyRefused, match=r"deep/b\\xff$"):
        move(home.catalogue, home.chosen(), destination, home.place)
    home.write(destination)
    assert move(home.catalogue, home.chosen(), destination, home.place).files == 2


@pytest.mark.parametrize("kind", ["nothing", "file", "link"])
def test_only_a_folder_is_a_place(home: Home, kind: str) -> None:
    destination = home.place / "new"
    if kind == "file":
        destination.write_text("x")
    elif kind == "link":
        destination.symlink_to(home.copy.destination)
    with pytest.raises(CopyRefused, match="is not a folder"):
        move(home.catalogue, home.chosen(), destination, home.place)


def test_a_copy_of_which_no_file_is_known_cannot_be_moved(home: Home) -> None:
    record = home.chosen()
    home.catalogue.decisions.refetch(record, NOW)
    destination = home.place / "new"
    home.write(destination)
    with pytest.raises(CopyRefused, match="not known what the copy holds"):
        move(home.catalogue, record, destination, home.place)


@pytest.mark.parametrize("beamline", ["mx", "saxs"])
def test_a_place_that_another_copy_has_is_refused(home: Home, beamline: str) -> None:
    taken = home.place / "vault"
    home.complete(home.copy_at(taken, beamline))
    home.write(taken)
    with pytest.raises(DestinationTaken, match="vault") as caught:
        move(home.catalogue, home.chosen(home.copy.destination), taken, home.place)
    assert "destination-path" not in (caught.value.hint or "")
    assert home.chosen(home.copy.destination).copy == home.copy


# Forget, refetch, release


def test_a_copy_that_is_forgotten_releases_its_experiment_until_a_later_visit(home: Home) -> None:
    home.told(timedelta(hours=9))
    home.catalogue.decisions.forget(home.chosen(), "measured again", NOW)
    record = home.record
    assert (record.copies, record.released, record.release_reason) == ((), NOW, "measured again")
    assert home.state().state is State.RELEASED
    assert len(home.catalogue.history.attempts_of("12282a")) == 1  # what was done stays known
    assert list(home.catalogue.copy_files(home.number).everything()) == []
    home.told(timedelta(hours=-1))
    assert home.state().state is State.WAITING
    later = replace(home.record.beamtimes[0].visit, end=NOW + timedelta(microseconds=1))
    home.catalogue.overview.keep_visits([EquipmentVisits(23, "mx", (later,))], NOW)
    found = home.state()
    assert (found.state, found.why) == (State.DUE, DueReason.NEW)
    assert home.complete(home.copy) == home.number  # the same row, no longer forgotten
    assert home.state().record.copies[0].attempts == 2


def test_while_another_copy_is_complete_the_experiment_is_not_released(home: Home) -> None:
    other = home.copy_at(home.place / "vault")
    home.complete(other)
    home.catalogue.decisions.forget(home.chosen(other.destination), "too many", NOW)
    assert home.record.released is None
    assert [one.copy for one in home.record.copies] == [home.copy]


def test_the_place_of_a_forgotten_copy_is_free_once_its_files_are_gone(home: Home) -> None:
    other = home.copy_at(home.copy.destination, "saxs")
    with pytest.raises(DestinationTaken, match=r"belongs to 12282a \(mx\)"):
        home.catalogue.acquire_lease(other)
    home.catalogue.decisions.forget(home.chosen(), "moved away", NOW)
    with pytest.raises(DestinationTaken, match=r"has files of 12282a \(mx\), whose copy there was"):
        home.catalogue.acquire_lease(other)
    home.copy.destination.rename(home.place / "away")
    assert isinstance(home.catalogue.acquire_lease(other), int)


def test_a_copy_that_was_moved_is_proven_by_size_alone(home: Home) -> None:
    rows = home.catalogue.copy_files(home.number)
    rows.prove([(row, b"\1" * 32) for row in rows.everything()])
    assert rows.sum_up(NOW) is Level.SOURCE
    destination = home.place / "new" / "12282a"
    destination.parent.mkdir()
    home.copy.destination.rename(destination)
    move(home.catalogue, home.chosen(), destination, destination.parent)
    assert home.chosen().level is Level.SIZE
    assert {(row.level, row.sha256) for row in rows.everything()} == {(Level.SIZE, b"\1" * 32)}


def test_a_release_that_is_taken_back_leaves_the_experiment_due_and_stays_in_the_history(
    home: Home,
) -> None:
    home.catalogue.decisions.forget(home.chosen(), "on tape", NOW)
    assert home.state().state is State.RELEASED
    later = NOW + timedelta(hours=1)
    take_back(home.catalogue, home.record, "the tape broke", later)
    found = home.state()
    assert (found.state, found.why) == (State.DUE, DueReason.NEW)  # though in no visit
    events = home.catalogue.decisions.events_of("12282a")
    assert [(one.at, one.kind, one.detail) for one in events] == [
        (NOW, EventKind.RELEASED, "on tape"),
        (later, EventKind.TAKEN_BACK, "the tape broke"),
    ]
    assert home.complete(home.copy) == home.number  # the same row, no longer forgotten
    with pytest.raises(CopyRefused, match=r"12282a \(mx\) is not released"):
        take_back(home.catalogue, home.record, "", later)


def test_what_is_fetched_again_after_a_release_keeps_the_release_in_its_history(home: Home) -> None:
    home.catalogue.decisions.release(home.record.experiment, "no data", NOW)
    home.catalogue.decisions.refetch(home.chosen(), NOW)
    kinds = [one.kind for one in home.catalogue.decisions.events_of("12282a")]
    assert kinds == [EventKind.RELEASED, EventKind.TAKEN_BACK]


def test_a_copy_that_is_to_be_fetched_again_is_due_and_proves_nothing(home: Home) -> None:
    home.told(timedelta(hours=9))
    assert home.state().state is State.AT_HOME
    home.catalogue.decisions.release(home.record.experiment, "?", NOW)
    home.catalogue.decisions.refetch(home.chosen(), NOW)
    (copy,) = home.record.copies
    assert (copy.completed, copy.listed, copy.level, copy.suspect) == (None, None, None, False)
    assert copy.attempts == 1 and home.record.released is None
    assert list(home.catalogue.copy_files(copy.id).everything()) == []
    found = home.state()
    assert (found.state, found.why) == (State.DUE, DueReason.AGAIN)


def test_an_experiment_of_an_epn_on_two_beamlines_has_to_be_named(home: Home) -> None:
    visits = [
        EquipmentVisits(number, beamline, (Visit("1", Epn("99999a"), NOW, NOW),))
        for number, beamline in ((23, "mx"), (30, "saxs"))
    ]
    home.catalogue.overview.keep_visits(visits, NOW)
    epn = Epn("99999a")
    assert chosen_experiment(home.catalogue, epn, "saxs").experiment == Experiment("saxs", epn)
    with pytest.raises(CopyRefused, match="99999a is on 2 beamlines: mx, saxs"):
        chosen_experiment(home.catalogue, epn, None)
    for beamline in ("xas", None):
        with pytest.raises(NothingKnown, match="does not know"):
            chosen_experiment(home.catalogue, epn if beamline else Epn("1z"), beamline)


def test_whether_anybody_worked_on_a_copy_since_is_known(home: Home) -> None:
    record = home.chosen()
    assert home.catalogue.unchanged_since(record)
    home.catalogue.acquire_lease(home.copy)
    assert not home.catalogue.unchanged_since(record)
    home.catalogue.leases.release(home.number)
    assert home.catalogue.unchanged_since(record)
    home.catalogue.record(home.number, attempt(), None)
    assert not home.catalogue.unchanged_since(record)


def test_what_the_facility_lost_is_kept_until_it_is_there_again(home: Home) -> None:
    for losses in ("1 file is gone", None):
        home.catalogue.note_losses(home.number, losses)
        assert home.chosen().losses == losses


def rules_of(home: Home, project: str) -> DestinationRules:
    mapping = {"12282": project}
    return DestinationRules(mapping, "/data/{beamline}/{epn}", home.place, "{project}/{epn}/data")


def test_a_copy_is_fetched_again_to_where_the_config_asks_for_it_now(home: Home) -> None:
    home.told(timedelta(hours=9))
    new = home.place / "kx12" / "12282a" / "data"
    assert refetch(home.catalogue, home.chosen(), NOW, rules_of(home, "kx12")) == new
    assert home.record.copies == ()
    assert home.record.released is None
    assert home.record.note is not None  # it is due, whatever is told of it
    assert len(home.catalogue.history.attempts_of("12282a")) == 1


def test_a_copy_at_the_place_of_the_config_is_fetched_again_to_there(home: Home) -> None:
    same = rules_of(home, home.copy.project)
    for rules in (None, same):
        place = refetch(home.catalogue, home.chosen(), NOW, rules)
        assert place == home.copy.destination
        assert [one.copy.destination for one in home.record.copies] == [place]


def test_an_old_place_is_not_fetched_again_beside_a_complete_copy(home: Home) -> None:
    new = home.copy_at(home.place / "kx12" / "12282a" / "data")
    home.complete(new)
    old = home.chosen(home.copy.destination)
    with pytest.raises(CopyRefused, match=r"is complete in .*kx12") as caught:
        refetch(home.catalogue, old, NOW, rules_of(home, "kx12"))
    assert caught.value.hint and "--copy" in caught.value.hint
    assert home.chosen(home.copy.destination).completed is not None


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_copy_in_whose_place_something_else_is_cannot_be_fetched_again(
    home: Home, kind: str
) -> None:
    place, away = home.copy.destination, home.place / "away"
    place.rename(away)
    place.symlink_to(away) if kind == "link" else place.write_text("moved to tape")
    with pytest.raises(CopyRefused, match=kind) as caught:
        refetch(home.catalogue, home.chosen(), NOW)
    assert caught.value.hint and "move it away first" in caught.value.hint
    assert home.chosen().completed is not None


def test_an_experiment_is_released_once_and_the_first_reason_stays(home: Home) -> None:
    require_unreleased(home.record, NOW)
    home.catalogue.decisions.release(home.record.experiment, "nobody wants it", NOW)
    with pytest.raises(CopyRefused, match=r"was released .*: nobody wants it"):
        require_unreleased(home.record, NOW)
    home.told(timedelta(hours=-1))
    require_unreleased(home.record, NOW)
