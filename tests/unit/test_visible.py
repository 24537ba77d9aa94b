"""What a folder of experiments may tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asynchy.domain.experiment import Entry, Kind
from asynchy.domain.stop import Stop
from asynchy.errors import ListingRefused
from asynchy.facility import visible
from asynchy.ssh.remote import Remote


def test_experiments_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told = 0

    def endless(
        _remote: Remote, _folder: str, hear: Callable[[Entry], None], *_: Stop, deep: bool
    ) -> None:
        nonlocal told
        while True:
            told += 1
            hear(Entry(Kind.FOLDER, b"%da" % told, 0, 0, 0o755))

    monkeypatch.setattr(visible, "_MOST", 1000)
    monkeypatch.setattr(visible, "list_experiment", endless)
    with pytest.raises(ListingRefused, match="/data/mx: more than 1,000 folders of experiments"):
        visible.folders_in(Remote("host", "user"), "/data/mx", Stop())
    assert told == 1001
