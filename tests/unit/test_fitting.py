"""Which of the experiments that are due are listed, and which of them are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.domain.copy_record import CopyRecord
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Copy, Experiment, Survey
from asynchy.errors import ExperimentAbsent, ListingError
from asynchy.plan.outcome import Due, Left, Why
from asynchy.service.fitting import fitting
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

    def survey(self, copy: Copy, *, expected: object) -> Survey:
        epn = copy.epn.text
        self.listed.append(epn)
        if epn in self.broken:
            raise self.broken[epn]
        files = 0 if epn == "1c" else 1
        return Survey(NOW, files, 10 * files, 0, 0, files, 10 * files, 0, "fingerprint")

    def due(self, epn: str) -> Due:
        folder = self.place / "ny79"
        folder.mkdir(exist_ok=True)
        copy = Copy(Experiment("mx", Epn(epn)), "ny79", f"/data/mx/{epn}", folder, folder / epn)
        return Due(copy, Why.NEW)

    def fit(self, *epns: str, limit: int | None = None) -> tuple[list[str], dict[str, Left]]:
        site: Any = self
        transfers, left = fitting(site, map(self.due, epns), 1, limit=limit)
        kept = [transfer.copy.epn.text for transfer in transfers]
        return kept, {item.epn.text: item.reason for item in left}

    def attempts(self) -> dict[str, CopyRecord]:
        return {one.copy.epn.text: one for one in self.catalogue.overview.copies()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_cannot_be_listed_does_not_use_up_the_limit(site: Site) -> None:
    kept, left = site.fit("1a", "1b", "1c", "1d", "1e", "1f", limit=2)
    assert kept == ["1d", "1e"]
    assert left == {"1a": Left.UNLISTED, "1b": Left.ABSENT, "1c": Left.EMPTY}
    assert site.listed == ["1a", "1b", "1c", "1d", "1e"]  # the last one has to wait


def test_what_cannot_be_listed_leaves_an_attempt_with_its_reason(site: Site) -> None:
    site.fit("1a", "1b", "1d", limit=3)
    attempts = site.attempts()
    assert attempts.keys() == {"1a", "1b"}
    assert all(one.attempts == 1 for one in attempts.values())
    last = attempts["1a"].last
    assert last is not None and last.reason is not None and "no answer" in last.reason


def test_without_a_limit_all_that_is_due_is_listed(site: Site) -> None:
    kept, _ = site.fit("1d", "1e", "1f")
    assert kept == ["1d", "1e", "1f"]
