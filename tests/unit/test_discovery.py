"""What a folder of experiments may tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asynchy.errors import ListingRefused
from asynchy.facility import discovery
from asynchy.facility.discovery import DiscoveredExperiments
from asynchy.model.cancellation import Stop
from asynchy.model.epn import Epn
from asynchy.model.experiment import BrokenLink, Entry, EntryKind, Experiment, LocatedExperiment
from asynchy.ssh.server import Server


def test_experiments_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told = 0

    def endless(
        _remote: Server, _folder: str, hear: Callable[[Entry], None], *_: Stop, deep: bool
    ) -> None:
        nonlocal told
        while True:
            told += 1
            hear(Entry(EntryKind.FOLDER, b"%da" % told, 0, 0, 0o755))

    monkeypatch.setattr(discovery, "_MAX_ENTRIES", 1000)
    monkeypatch.setattr(discovery, "list_experiment", endless)
    with pytest.raises(ListingRefused, match="/data/mx: more than 1,000 folders of experiments"):
        discovery.discover_in(Server("host", "user"), "/data/mx", "mx", Stop())
    assert told == 1001


def folders(monkeypatch: pytest.MonkeyPatch, *names: bytes) -> None:
    """Have the facility hold these folders, in whatever folder is listed."""

    def tell(
        _remote: Server, _folder: str, hear: Callable[[Entry], None], *_: Stop, deep: bool
    ) -> None:
        for name in names:
            hear(Entry(EntryKind.FOLDER, name, 0, 0, 0o755))

    monkeypatch.setattr(discovery, "list_experiment", tell)


def test_a_folder_in_upper_case_keeps_its_spelling_in_its_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders(monkeypatch, b"12282A", b"8020l", b" 12283a", b"12283a\x85", b"old")
    found = list(
        discovery.discover_in(Server("host", "user"), "/data/mx", "mx", Stop()).experiments
    )
    assert found == [
        LocatedExperiment(Experiment("mx", Epn("12282a")), "/data/mx/12282A"),
        LocatedExperiment(Experiment("mx", Epn("8020l")), "/data/mx/8020l"),
    ]


def test_of_two_folders_of_one_epn_the_second_is_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders(monkeypatch, b"12282A", b"12282a")
    found = discovery.discover(Server("host", "user"), "/data", Stop())
    assert [located.source for located in found.experiments] == ["/data/12282a"]
    assert found.unlisted == {
        "/data/12282A": "left out: /data/12282a is a folder of the same EPN; ask the facility"
    }


def found(**parts: object) -> DiscoveredExperiments:
    nothing = {"experiments": (), "unlisted": {}, "broken": (), "other": {}}
    return DiscoveredExperiments(**{**nothing, **parts})  # type: ignore[arg-type]


OF_AN_EPN = BrokenLink("/data/mx/1a", "nowhere", "it leads nowhere", Experiment("mx", Epn("1a")))
OF_A_BEAMLINE = BrokenLink("/data/mx", "nowhere", "it leads nowhere")


@pytest.mark.parametrize(
    ("there", "may_hold", "everywhere"),
    [
        (found(), False, True),
        (found(unlisted={"/data/mx": "EACCES"}), True, False),
        (found(unlisted={"/data/mx2": "EACCES"}), False, False),
        (found(broken=(OF_A_BEAMLINE,)), True, False),
        (found(broken=(OF_AN_EPN,)), True, True),
        (found(other={"/data/mx/1a": Epn("1a")}), True, True),
        (found(other={"/data/mx/1b": Epn("1b")}), False, True),
    ],
)
def test_an_experiment_may_be_where_something_is_or_nobody_could_look(
    there: DiscoveredExperiments, may_hold: bool, everywhere: bool
) -> None:
    assert there.may_hold("/data/mx/1a") is may_hold
    assert there.everywhere is everywhere


def test_an_epn_is_found_that_only_a_broken_link_or_a_file_is_named_after() -> None:
    there = found(broken=(OF_AN_EPN, OF_A_BEAMLINE), other={"/data/2b": Epn("2b")})
    assert there.epns == {Epn("1a"), Epn("2b")}
