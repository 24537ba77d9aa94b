"""Where data of experiments are looked for at home."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynchy.model.epn import Epn
from asynchy.model.policy import DestinationRules
from asynchy.repatriation.home_places import HomePlace, project_folders


def rules(root: Path, destination_path: str) -> DestinationRules:
    return DestinationRules(
        {"1": "ny79", "2": "kx12", "3": "ny79"}, "/d/{epn}", root, destination_path
    )


@pytest.mark.parametrize(
    ("destination_path", "folder", "beamline"),
    [
        ("{project}/{epn}/data", "ny79/1a/data", None),
        ("{project}/{epn}", "ny79/1a", None),
        ("{project}/{beamline}/{epn}/data", "ny79/mx/1a/data", "mx"),
        ("{project}/raw/{epn}.{beamline}", "ny79/raw/1a.mx", "mx"),
        ("{project}/{project}-{epn}/{epn}", "ny79/ny79-1a/1a", None),
    ],
)
def test_a_place_is_found_by_the_rule_whosever_the_epn_is_now(
    tmp_path: Path, destination_path: str, folder: str, beamline: str | None
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for other in ("ny79/notes/data", "ny79/1A/data", "ny79/raw/notes", "ny79/ny79-1a/2a"):
        (tmp_path / other).mkdir(parents=True, exist_ok=True)
    kx12, ny79 = project_folders(rules(tmp_path, destination_path))
    assert ny79.places == (HomePlace("ny79", Epn("1a"), beamline, tmp_path / folder),)
    assert (kx12.places, kx12.is_there, ny79.is_there) == ((), False, True)


@pytest.mark.parametrize("destination_path", ["{project}/{epn}", "{project}/{epn}/data"])
def test_a_link_to_nowhere_and_another_spelling_of_an_epn_are_named(
    tmp_path: Path, destination_path: str
) -> None:
    project = tmp_path / "ny79"
    (project / "1A" / "data").mkdir(parents=True)
    (project / "2B").touch()  # a file is nobody's copy
    (project / "1c").symlink_to(tmp_path / "gone")
    *_, ny79 = project_folders(rules(tmp_path, destination_path))
    assert ny79.places == ()
    assert [(one.epn.text, one.path.name) for one in ny79.odd] == [("1a", "1A"), ("1c", "1c")]
    assert str(tmp_path / "gone") in ny79.odd[1].why


def test_an_empty_project_folder_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "kx12" / "lost+found").mkdir(parents=True)
    (tmp_path / "kx12" / "NOT MOUNTED").touch()
    kx12, ny79 = project_folders(rules(tmp_path, "{project}/{epn}"))
    assert (kx12.path, kx12.is_there, ny79.is_there) == (tmp_path / "kx12", False, False)
