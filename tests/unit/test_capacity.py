"""Which of the experiments that are due are listed, and which of them are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.errors import ExperimentAbsent, ListingError
from asynchy.model.copy_record import CopyRecord
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment, ListingDiff
from asynchy.model.plan import DueCopy, DueReason, SkipReason
from asynchy.repatriation.capacity import select_what_fits
from tests.tools.catalogues import new_catalogue

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Site:
    """A facility at which some experiments cannot be listed, and some have no files."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.listed: list[str] = []
        self.broken = {"1a": ListingError("no answer"), "1b": ExperimentAbsent("gone")}
        self.catalogue = new_catalogue(place / "catalogue.db")
        self.clock = SimpleNamespace(now=lambda: NOW)
        self.board = SimpleNamespace(beat=lambda: None)
        self.engine = lambda: SimpleNamespace(require=lambda: None)

    def prepare(self, *_arguments: object, **_options: object) -> None: ...

    def listing_diff(self, copy: Copy, *, expected: object) -> ListingDiff:
        epn = copy.epn.text
        self.listed.append(epn)
        if epn in self.broken:
            raise self.broken[epn]
        files = 0 if epn == "1c" else 1
        return ListingDiff(NOW, files, 10 * files, 0, files, 10 * files, 0, "fingerprint")

    def due(self, epn: str) -> DueCopy:
        folder = self.place / "ny79"
        folder.mkdir(exist_ok=True)
        copy = Copy(Experiment("mx", Epn(epn)), "ny79", f"/data/mx/{epn}", folder, folder / epn)
        return DueCopy(copy, DueReason.NEW)

    def fit(self, *epns: str, limit: int | None = None) -> tuple[list[str], dict[str, SkipReason]]:
        context: Any = self
        transfers, left = select_what_fits(context, map(self.due, epns), 1, limit=limit)
        kept = [transfer.copy.epn.text for transfer in transfers]
        return kept, {item.epn.text: item.reason for item in left}

    def attempts(self) -> dict[str, CopyRecord]:
        return {one.copy.epn.text: one for one in self.catalogue.overview.copies()}


@pytest.fixture
def context(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_cannot_be_listed_does_not_use_up_the_limit(context: Site) -> None:
    kept, left = context.fit("1a", "1b", "1c", "1d", "1e", "1f", limit=2)
    assert kept == ["1d", "1e"]
    assert left == {"1a": SkipReason.UNLISTED, "1b": SkipReason.ABSENT, "1c": SkipReason.EMPTY}
    assert context.listed == ["1a", "1b", "1c", "1d", "1e"]  # the last one has to wait


def test_what_cannot_be_listed_leaves_an_attempt_with_its_reason(context: Site) -> None:
    context.fit("1a", "1b", "1d", limit=3)
    attempts = context.attempts()
    assert attempts.keys() == {"1a", "1b"}
    assert all(one.attempts == 1 for one in attempts.values())
    last = attempts["1a"].last
    assert last is not None and last.reason is not None and "no answer" in last.reason


def test_without_a_limit_all_that_is_due_is_listed(context: Site) -> None:
    kept, _ = context.fit("1d", "1e", "1f")
    assert kept == ["1d", "1e", "1f"]
