"""What a folder of experiments may tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Entry, Experiment, Kind, Located
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


def folders(monkeypatch: pytest.MonkeyPatch, *names: bytes) -> None:
    """Have the facility hold these folders, in whatever folder is listed."""

    def tell(
        _remote: Remote, _folder: str, hear: Callable[[Entry], None], *_: Stop, deep: bool
    ) -> None:
        for name in names:
            hear(Entry(Kind.FOLDER, name, 0, 0, 0o755))

    monkeypatch.setattr(visible, "list_experiment", tell)


def test_a_folder_in_upper_case_keeps_its_spelling_in_its_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders(monkeypatch, b"12282A", b"8020l", b" 12283a", b"12283a\x85", b"old")
    found = visible.experiments_in(Remote("host", "user"), "/data/mx", "mx", Stop())
    assert found == [
        Located(Experiment("mx", Epn("12282a")), "/data/mx/12282A"),
        Located(Experiment("mx", Epn("8020l")), "/data/mx/8020l"),
    ]


def test_of_two_folders_of_one_epn_the_second_is_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders(monkeypatch, b"12282A", b"12282a")
    found = visible.visible(Remote("host", "user"), "/data", Stop())
    assert [located.source for located in found.experiments] == ["/data/12282a"]
    assert found.unlisted == {
        "/data/12282A": "left out: /data/12282a is a folder of the same EPN; ask the facility"
    }
