"""The states of experiments are derived while somebody looks, and again after trouble."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

from asynchy.catalogue.state_snapshot import write_state_snapshot
from asynchy.web import snapshot
from asynchy.web.snapshot import SnapshotKeeper
from tests.conftest import wait_until
from tests.unit.test_state_snapshot import NOW, ROWS


class Keeper(SnapshotKeeper):
    """Derives at once, in this process."""

    def __init__(self) -> None:
        super().__init__(Path("config.yml"))
        self.turns = 0
        self.trouble: str | Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def _derived(self, target: Path) -> str | None:
        self.may_go_on.wait(60)
        self.turns += 1
        if isinstance(self.trouble, Exception):
            raise self.trouble
        if self.trouble is None:
            write_state_snapshot(target, ROWS, {"at": NOW.isoformat(), "turn": self.turns})
        return self.trouble


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "prepare", lambda: None)
    monkeypatch.setattr(snapshot, "_TICK", 0.01)
    monkeypatch.setattr(snapshot, "_SHORTEST_PAUSE", 0.0)


def test_trouble_keeps_the_older_states_and_says_why_until_it_has_passed() -> None:
    keeper = Keeper()
    with keeper.running():
        view = keeper.first(10)
        assert view is not None and view.problem is None and view.at == NOW
        for trouble in ("ignore.yml cannot be read", RuntimeError("unexpected")):
            keeper.trouble = trouble
            keeper.renew(10)
            view = keeper.current()
            assert view is not None and view.problem == str(trouble)
            assert view.snapshot.of_epn("7a")
        keeper.trouble = None
        keeper.renew(10)
        view = keeper.current()
        assert view is not None and view.problem is None


def test_without_any_states_the_problem_is_told_at_once() -> None:
    keeper = Keeper()
    keeper.trouble = "no catalogue"
    with keeper.running():
        began = time.monotonic()
        assert keeper.first(60) is None
        assert keeper.problem == "no catalogue" and time.monotonic() - began < 30


def test_nothing_is_derived_while_nobody_looks_and_a_look_shows_old_states_at_once() -> None:
    keeper = Keeper()
    with keeper.running():
        assert keeper.first(10) is not None
        keeper._looked -= 1000
        wait_until(lambda: keeper._ended == keeper._begun)
        time.sleep(0.1)
        turns = keeper.turns
        time.sleep(0.1)
        assert keeper.turns == turns
        keeper.may_go_on.clear()
        view = keeper.first(10)
        assert view is not None and view.facts["turn"] == turns, "the old ones, at once"
        assert view.is_old
        keeper.may_go_on.set()
        wait_until(lambda: keeper.turns > turns)


def test_a_folder_that_was_cleaned_away_is_made_again() -> None:
    keeper = Keeper()
    with keeper.running():
        assert keeper.first(10) is not None
        shutil.rmtree(keeper._folder.path)
        keeper.renew(10)
        view = keeper.current()
        assert view is not None and view.problem is None
        wait_until(lambda: view.snapshot.of_epn("7a"))
