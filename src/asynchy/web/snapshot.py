"""Keeps the newest snapshot of the states of all experiments, computed while somebody looks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asynchy.catalogue.reading import ScratchFolder
from asynchy.catalogue.state_snapshot import StateSnapshot
from asynchy.web.background import WorkFailed, prepare, run_apart

log = logging.getLogger(__name__)

_SHORTEST_PAUSE = 3.0
_SHARE = 4
"""It is derived anew after so many times the seconds that it took: a fifth of a processor."""
_LOOKED = 180.0
"""Seconds after a look for which the states are kept up to date."""
_TICK = 0.2
_KEPT = 3


@dataclass(frozen=True)
class StateView:
    """A snapshot, and how old it is."""

    snapshot: StateSnapshot
    facts: dict[str, Any]
    problem: str | None
    """Why there is no newer one; None: there will be."""

    @property
    def at(self) -> datetime:
        """Of when the states are."""
        return datetime.fromisoformat(self.facts["at"])

    @property
    def is_old(self) -> bool:
        """Whether nobody had looked for so long that they are not to be taken for the present."""
        return (datetime.now(UTC) - self.at).total_seconds() > _LOOKED


class SnapshotKeeper:
    """Has the states derived by another process, in turns. Safe to use from several threads."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._folder = ScratchFolder()
        self._changed = threading.Condition()
        self._view: StateView | None = None
        self.problem: str | None = None
        self._looked = time.monotonic()
        self._wanted = True
        self._begun = self._ended = 0
        """The number of the latest turn that has begun, and ended."""
        self._ending = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Derive states until the end of this."""
        prepare()
        self._thread.start()
        try:
            yield
        finally:
            self._ending = True
            self._thread.join()

    def current(self) -> StateView | None:
        """The newest states; None: there are none yet."""
        with self._changed:
            self._looked = time.monotonic()
            return self._view

    def first(self, seconds: float) -> StateView | None:
        """The newest states, at once, however old; wait for some seconds if there are none.

        None: there are none yet. Old ones, if nobody has looked for long, have newer ones derived.
        """
        with self._changed:
            self._looked = time.monotonic()
            if self._view is None:
                self._changed.wait_for(lambda: self._view or self.problem, seconds)
            return self._view

    def renew(self, seconds: float) -> None:
        """Have the states derived now, and wait for some seconds until they are."""
        with self._changed:
            self._wanted = True
            number = self._begun + 1  # the one that runs may have begun before the change
            self._changed.wait_for(lambda: self._ended >= number, seconds)

    def _work(self) -> None:
        due = 0.0
        while not self._ending:
            idle = time.monotonic() - self._looked > _LOOKED
            if not self._wanted and (idle or time.monotonic() < due):
                time.sleep(_TICK)
                continue
            began = time.monotonic()
            self._turn()
            due = time.monotonic() + max(_SHORTEST_PAUSE, _SHARE * (time.monotonic() - began))

    def _turn(self) -> None:
        with self._changed:
            self._wanted = False
            self._begun += 1
        view, problem = None, None
        try:
            view, problem = self._new_view()
        except Exception as error:
            log.exception("the states of experiments could not be derived")
            problem = str(error)
        with self._changed:
            if view is not None:
                self._view = view
            elif self._view is not None:
                self._view = StateView(self._view.snapshot, self._view.facts, problem)
            self.problem = problem
            self._ended = self._begun
            self._changed.notify_all()
        # Some are kept: a request may still read the one before.
        (self._folder.path / f"states-{self._begun - _KEPT}.db").unlink(missing_ok=True)

    def _new_view(self) -> tuple[StateView | None, str | None]:
        """New states, or why there are none."""
        if not self._folder.path.exists():  # cleaners of /tmp remove what nobody used for days
            self._folder = ScratchFolder()
        target = self._folder.path / f"states-{self._begun}.db"
        problem = self._derived(target)
        if problem is not None:
            return None, problem
        snapshot = StateSnapshot(target)
        snapshot.warm_up()
        return StateView(snapshot, snapshot.facts(), None), None

    def _derived(self, target: Path) -> str | None:
        """Have another process write the snapshot; why it did not, None: it did."""
        try:
            run_apart("states", str(self._config), str(target), ends=lambda: self._ending)
        except WorkFailed as error:
            return f"{error.message} ({error.hint})" if error.hint else error.message
        return None
