"""What is not brought home because of what it is: counted, shown, brought when it is asked for."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Home, give

ZARR = {"recon.zarr/.zgroup": "{}", "recon.zarr/0/.zarray": "{}", ".run/frame.h5": "data"}
LEFT_OUT = "left out: 3 dot files or folders, 1 link"


def asynchy(home: Home, *arguments: str, code: int = 0) -> str:
    run = home.program.run("asynchy", "--config", home.config, *arguments)
    assert run.returncode == code, run.stdout + run.stderr
    return run.stdout


def reconciled(home: Home) -> dict[str, Any]:
    (row,) = json.loads(asynchy(home, "report", "reconcile", "--format", "json"))
    found: dict[str, Any] = row
    return found


def test_a_link_that_leads_elsewhere_now_takes_the_place_of_the_earlier_one(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    for name in ("a", "longer"):
        (source / name).write_text(name)
    (source / "latest").symlink_to("longer")
    give(source)
    home.visit("12282a")
    home.configure(symlinks=True)
    first = home.once()
    assert first.returncode == 0, first.stderr
    (source / "latest").unlink()
    (source / "latest").symlink_to("a")
    (source / "new").write_text("new")
    give(source)
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    changed = home.once()
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert (home.copy("12282a") / "latest").readlink() == Path("a")
    assert "not in its place" not in home.log


@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_dot_files_are_counted_everywhere_and_come_when_they_are_asked_for(
    home: Home, engine: str
) -> None:
    source = home.facility.experiment("mx", "12282a")
    (source / "recon.zarr" / "0").mkdir(parents=True)
    (source / "recon.zarr" / "0" / "0.0").write_text("chunk")
    (source / ".run").mkdir()
    for name, text in ZARR.items():
        (source / name).write_text(text)
    (source / "out").symlink_to("/etc/hostname")
    give(source)
    keys: dict[str, Any] = {
        "engine": engine, "recheck_after": 0, "proof_for_deletion": "size", "receipt": True,
    }  # fmt: skip
    home.configure(**keys)
    home.visit("12282a")
    run = home.once()
    assert run.returncode == 0 and f"complete; {LEFT_OUT}" in run.stdout
    copy = home.copy("12282a")
    assert {path.name for path in copy.rglob(".*")} == set()

    assert LEFT_OUT in asynchy(home, "status")
    (row,) = json.loads(asynchy(home, "status", "--json"))["copies"]
    assert row["left_out"] == {"dot_files": 3, "symlinks": 1, "special_files": 0}
    assert (
        "\nLeft-Out: 3 dot files or folders, 1 link\n" in (copy.parent / "bag-info.txt").read_text()
    )
    found = reconciled(home)
    assert not found["may_be_deleted"] and "left out, so not at home" in found["why"]
    assert (found["left_out_dot_files"], found["left_out_symlinks"]) == (3, 1)

    # A dot file that an original program brought is none too many, and none that was proven.
    (copy / ".run").mkdir()
    (copy / ".run" / "old.h5").write_text("data")
    give(copy)
    audited = asynchy(home, "audit")
    assert "nothing wrong" in audited and "a dot file that asynchy did not bring" in audited
    (copy / ".run" / "old.h5").unlink()

    home.configure(**keys, dot_files=True)
    asynchy(home, "verify", "12282a")
    assert {name: (copy / name).read_text() for name in ZARR} == ZARR
    found = reconciled(home)
    assert not found["may_be_deleted"] and "not at home: 1 link" in found["why"]
    assert "nothing wrong" in asynchy(home, "audit")
    (copy / ".run" / "new.h5").write_text("of a person")
    give(copy)
    assert "1 extra" in asynchy(home, "audit", code=1)

    home.configure(**keys, dot_files=True, accept_left_out=True)
    rows = csv.DictReader(asynchy(home, "report", "reconcile", "--format", "csv").splitlines())
    (accepted,) = rows
    assert accepted["may_be_deleted"] == "True"
    assert "left out, and accepted: 1 link" in accepted["why"]
