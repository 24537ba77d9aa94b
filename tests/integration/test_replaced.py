"""What is at home is never made worse: earlier versions are kept, and people's work stays."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulator.experiments import mx_experiment
from tests.conftest import Home, give

FRAME = "frames/x1_1_00001.cbf"
ENGINES = ("sftp", "rsync")


def prepared(home: Home, **keys: object) -> Path:
    """An experiment that was brought home, and may be looked at a second time."""
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    (source / "frames").mkdir(exist_ok=True)
    (source / FRAME).write_bytes(b"a frame " * 100)
    (source / "process.inp").write_bytes(b"as the facility made it")
    give(source)
    home.visit("12282a", ended=48)
    home.configure(verify="source", **keys)
    run = home.once()
    assert run.returncode == 0, run.stderr
    return source


def asynchy(home: Home, *arguments: str) -> Any:
    return home.program.run("asynchy", "--config", home.config, *arguments)


def look_again(home: Home, code: int = 0) -> str:
    """A cycle in which the experiment is due again; what it logged."""
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db, db:
        db.execute("UPDATE experiments SET changed = '2999-01-01 00:00:00.000000'")
    run = home.once()
    assert run.returncode == code, run.stderr
    return run.stderr


def edited(path: Path, text: str) -> None:
    """As an editor does it: a new file takes the place."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)
    give(path)


def kept(home: Home) -> dict[str, bytes]:
    """The earlier versions that are kept, by their path in the copy."""
    folder = home.copy("12282a").with_name("data.asynchy-replaced")
    return {
        str(path.relative_to(folder)).partition("/")[2]: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def expired(home: Home) -> None:
    """Have all that is kept be older than `keep-replaced`."""
    folder = home.copy("12282a").with_name("data.asynchy-replaced")
    old = datetime.now(UTC) - timedelta(days=91)
    for at, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / (old + timedelta(seconds=at)).strftime("%Y%m%dT%H%M%SZ"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_the_facility_shortened_takes_the_place_of_one_that_is_kept(
    home: Home, engine: str
) -> None:
    source = prepared(home, engine=engine)
    good = (source / FRAME).read_bytes()
    info = (source / "process.inp").read_bytes()
    (source / FRAME).write_bytes(b"")
    (source / "process.inp").write_bytes(bytes(len(info)))
    give(source)

    said = look_again(home, code=1)
    assert kept(home) == {FRAME: good, "process.inp": info}
    assert f"{FRAME} became smaller at the facility: 0 B, before 800 B" in said
    assert (
        f"process.inp has zeros at the facility now where it had data: {len(info)} B, before"
        in said
    )
    assert "the facility's version replaced 2 files (823 B); the earlier ones are kept in" in said
    words = "earlier versions of 2 files (823 B) are kept beside"
    assert words in asynchy(home, "status").stdout.replace("\n", " ")
    words = "for 2 of them, the file in the copy now is smaller"
    assert words in asynchy(home, "status", "12282a").stdout
    (row,) = home.status("12282a")
    assert (row["replaced"]["files"], row["replaced"]["by_less"]) == (2, 2)
    # What the facility has may not be deleted on the strength of that.
    reconciled = asynchy(home, "report", "reconcile").stdout
    assert "no: earlier versions of 2 files" in reconciled


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_a_person_changed_stays_until_the_facility_has_another(
    home: Home, engine: str
) -> None:
    source = prepared(home, engine=engine)
    mine = home.copy("12282a") / "process.inp"
    notes = mine.with_name("notes.txt")
    edited(mine, "a week of work")
    edited(notes, "mine")

    look_again(home)
    for level in ("size", "source"):
        run = asynchy(home, "verify", "12282a", "--level", level, "--again")
        assert run.returncode == 0, run.stderr
    assert mine.read_text() == "a week of work"
    assert kept(home) == {}
    status = asynchy(home, "status", "12282a").stdout
    assert "1 file was changed at home" in status
    (row,) = home.status("12282a")
    assert (row["edited"], row["damaged"], row["completed"] is not None) == (1, 0, True)
    audit = asynchy(home, "audit", "12282a")
    assert audit.returncode == 1
    assert "12282a: changed at home: process.inp" in audit.stderr
    assert "0 files damaged, 1 changed at home, 0 missing, 1 unexpected" in audit.stderr

    receipt = asynchy(home, "receipt", "12282a")
    assert receipt.returncode == 1
    assert "process.inp was changed at home" in receipt.stderr
    assert "verify 12282a --restore" in receipt.stderr

    (source / "process.inp").write_bytes(b"the facility's second version")
    give(source)
    look_again(home)
    assert mine.read_bytes() == b"the facility's second version"
    assert kept(home) == {"process.inp": b"a week of work"}
    assert notes.read_text() == "mine"
    (row,) = home.status("12282a")
    assert (row["edited"], row["level"]) == (0, "source")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_a_person_changed_in_a_copy_that_never_was_complete_stays(
    home: Home, engine: str
) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    (source / "process.inp").write_bytes(b"as the facility made it")
    (source / "secret.h5").write_bytes(b"x")
    give(source)
    (source / "secret.h5").chmod(0)
    home.visit("12282a", ended=48)
    home.configure(verify="source", engine=engine)
    assert home.once().returncode == 1
    mine = home.copy("12282a") / "process.inp"
    edited(mine, "a week of work")

    for _ in range(2):
        assert home.once().returncode == 1
        assert mine.read_text() == "a week of work"
    assert kept(home) == {}
    # Nothing that it holds makes it look as if it had been complete.
    (row,) = home.status("12282a")
    assert (row["completed"], row["edited"], row["damaged"]) == (None, 1, 0)
    assert asynchy(home, "audit").returncode == 0
    assert "it was never complete" in asynchy(home, "audit", "12282a").stderr

    (source / "secret.h5").chmod(0o440)
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert mine.read_text() == "a week of work"
    (row,) = home.status("12282a")
    assert (row["completed"] is not None, row["edited"]) == (True, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_with_compare_size_a_persons_file_of_the_same_size_is_left_alone(
    home: Home, engine: str
) -> None:
    source = prepared(home, engine=engine, compare="size")
    mine = home.copy("12282a") / "process.inp"
    work = "as a person changed it!"
    assert len(work) == mine.stat().st_size
    edited(mine, work)
    os.utime(mine, (1_700_000_000, 1_700_000_000))

    look_again(home)
    run = asynchy(home, "verify", "12282a", "--level", "source", "--again")
    assert run.returncode == 0, run.stderr
    assert (mine.read_text(), mine.stat().st_mtime_ns // 10**9) == (work, 1_700_000_000)
    (row,) = home.status("12282a")
    assert (row["edited"], row["damaged"]) == (1, 0)

    run = asynchy(home, "verify", "12282a", "--restore")
    assert run.returncode == 0, run.stderr
    assert mine.read_bytes() == (source / "process.inp").read_bytes()
    assert kept(home) == {"process.inp": work.encode()}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_folder_of_a_copy_that_became_a_link_is_named_and_not_followed(
    home: Home, engine: str
) -> None:
    elsewhere = home.place / "elsewhere"

    def outside() -> list[tuple[Path, int, int]]:
        found = ((path, path.stat()) for path in elsewhere.rglob("*"))
        return sorted((path, status.st_size, status.st_ctime_ns) for path, status in found)

    prepared(home, engine=engine)
    frames = home.copy("12282a") / "frames"
    frames.rename(elsewhere)
    frames.symlink_to(elsewhere)
    before = outside()

    audit = asynchy(home, "audit", "12282a")
    assert audit.returncode == 1
    assert "frames is a symbolic link, which is not followed" in audit.stderr
    for run in (asynchy(home, "verify", "12282a"), home.once()):
        assert run.returncode == 1
        assert "at home, frames is a symbolic link, which is not followed" in run.stderr
        assert "is in the way; move it away" in run.stderr
    (row,) = home.status("12282a")
    assert row["completed"] is None
    assert frames.is_symlink()
    assert outside() == before


def test_what_a_run_replaced_that_was_killed_is_told_by_the_next(home: Home) -> None:
    source = prepared(home)
    (source / "process.inp").write_bytes(b"the second version, which is longer")
    give(source)
    look_again(home)
    folder = home.copy("12282a").with_name("data.asynchy-replaced")
    (dated,) = folder.iterdir()
    left = dated.with_name("20261101T000000Z-unreported")  # as a killed run leaves it
    shutil.copytree(dated, left)
    give(folder)
    assert "the facility's version replaced 1 file" in look_again(home)
    assert not left.exists()
    assert len(kept(home)) == 1
    assert "the facility's version replaced" not in look_again(home)


@pytest.mark.parametrize("engine", ENGINES)
def test_verify_restore_brings_the_facilitys_back_and_keeps_the_persons(
    home: Home, engine: str
) -> None:
    prepared(home, engine=engine)
    mine = home.copy("12282a") / "process.inp"
    edited(mine, "a week of work")
    edited(mine, "a week of work, which is longer than what the facility has")
    run = asynchy(home, "verify", "12282a", "--restore")
    assert run.returncode == 0, run.stderr
    assert mine.read_bytes() == b"as the facility made it"
    assert kept(home) == {
        "process.inp": b"a week of work, which is longer than what the facility has"
    }
    (folder,) = home.copy("12282a").with_name("data.asynchy-replaced").iterdir()
    assert folder.name.endswith("-changed-at-home")  # nothing else is left there
    # The facility lost nothing: it was a person's.
    assert "became smaller" not in run.stderr
    assert "replaced 1 file that was changed at home; these versions are kept in" in run.stderr
    assert home.once().returncode == 0
    (row,) = home.status("12282a")
    assert (row["edited"], row["level"]) == (0, "source")


def test_the_same_size_and_time_with_other_bytes_is_damage_and_is_fetched_again(
    home: Home,
) -> None:
    prepared(home)
    mine = home.copy("12282a") / "process.inp"
    found, good = mine.stat(), mine.read_bytes()
    with mine.open("r+b") as file:
        file.write(b"XX")
    os.utime(mine, ns=(found.st_atime_ns, found.st_mtime_ns))
    audit = asynchy(home, "audit", "12282a")
    assert "1 file damaged, 0 changed at home" in audit.stderr
    assert asynchy(home, "verify", "12282a").returncode == 0
    assert mine.read_bytes() == good
    assert kept(home) == {}
    assert (mine.parent.with_name("data.asynchy-mismatch")).is_dir()


def test_zeros_at_the_facility_with_the_same_size_and_time_take_no_proven_version_away(
    home: Home,
) -> None:
    source = prepared(home)
    frame = source / FRAME
    found, good = frame.stat(), frame.read_bytes()
    frame.write_bytes(bytes(len(good)))
    os.utime(frame, ns=(found.st_atime_ns, found.st_mtime_ns))
    verified = asynchy(home, "verify", "12282a", "--again")
    assert verified.returncode == 1, verified.stderr
    assert kept(home) == {FRAME: good}
    assert f"{FRAME} has zeros at the facility now where it had data" in verified.stderr


def test_what_a_person_shortens_after_the_facilitys_update_did_not_shrink_there(
    home: Home,
) -> None:
    source = prepared(home)
    (source / "process.inp").write_bytes(b"the second version, which is longer")
    give(source)
    look_again(home)
    edited(home.copy("12282a") / "process.inp", "short")
    assert "smaller at the facility" not in look_again(home)
    (row,) = home.status("12282a")
    assert (row["replaced"]["by_less"], row["edited"]) == (0, 1)


def test_what_is_replaced_by_a_clock_that_is_behind_is_kept_for_all_its_days(home: Home) -> None:
    source = prepared(home)
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db, db:
        db.execute("UPDATE attempts SET ended = '2027-11-24 14:05:00.000000'")  # a year from now
    (source / "process.inp").write_bytes(b"the second version, which is longer")
    give(source)
    look_again(home)
    folder = home.copy("12282a").with_name("data.asynchy-replaced")
    assert [path.name for path in folder.iterdir()] == ["20271124T140500Z"]
    (folder / "20271124T140500Z").rename(folder / "20200101T000000Z-keep-this")
    home.configure(verify="source", keep_replaced=1)
    home.once()
    assert [path.name for path in folder.iterdir()] == ["20200101T000000Z-keep-this"]


def test_files_of_an_incomplete_copy_that_something_else_brought_are_kept(home: Home) -> None:
    (home.facility.data / "mx").mkdir()
    give(home.facility.data)
    assert home.once().returncode == 0  # asynchy is in use here
    source = home.facility.experiment("mx", "12282a")
    (source / "a.h5").write_bytes(b"truncated")
    give(source)
    copy = home.copy("12282a")
    copy.mkdir(parents=True)
    (copy / "a.h5").write_bytes(b"whole, brought by an older program")
    give(home.storage)
    home.visit("12282a", ended=48)
    assert home.once().returncode == 1  # a person has to look at it
    assert kept(home) == {"a.h5": b"whole, brought by an older program"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_link_that_a_person_put_in_the_place_of_a_file_is_a_change_of_theirs(
    home: Home, engine: str
) -> None:
    source = prepared(home, engine=engine)
    mine = home.copy("12282a") / "process.inp"
    mine.unlink()
    mine.symlink_to("/elsewhere/process.inp")
    look_again(home)
    assert mine.is_symlink() and kept(home) == {}
    audit = asynchy(home, "audit", "12282a")
    assert audit.returncode == 1 and "changed at home: process.inp" in audit.stderr
    look_again(home)
    assert mine.is_symlink()
    (row,) = home.status("12282a")
    assert (row["edited"], row["damaged"], row["completed"] is not None) == (1, 0, True)
    assert "no: 1 file was changed at home" in asynchy(home, "report", "reconcile").stdout

    (source / "process.inp").write_bytes(b"the facility's second version")
    give(source)
    said = look_again(home)
    assert "replaced 1 file that was changed at home; these versions are kept in" in said
    assert mine.read_bytes() == b"the facility's second version"
    folder = home.copy("12282a").with_name("data.asynchy-replaced")
    (link,) = (path for path in folder.rglob("*") if path.is_symlink())
    assert str(link.readlink()) == "/elsewhere/process.inp"
    assert link.parent.name.endswith("-changed-at-home")


def test_kept_versions_go_after_their_days_unless_their_place_has_less(home: Home) -> None:
    source = prepared(home)
    (source / "process.inp").write_bytes(b"the second version, which is longer")
    give(source)
    look_again(home)
    (source / FRAME).write_bytes(b"short")
    give(source)
    look_again(home, code=1)
    folder = home.copy("12282a").with_name("data.asynchy-replaced")
    expired(home)
    assert len(kept(home)) == 2

    home.configure(verify="source", keep_replaced=0)
    home.once()
    assert len(kept(home)) == 2
    home.configure(verify="source", keep_replaced=92)
    home.once()
    assert len(kept(home)) == 2
    home.configure(verify="source", keep_replaced=90)
    run = home.once()
    assert kept(home).keys() == {FRAME}
    assert (run.returncode, run.stdout.count("earlier versions of")) == (1, 1)
    shown = asynchy(home, "status").stdout
    assert "Needs a look:" in shown and "At home: " not in shown
    (row,) = home.status("12282a")
    assert (row["replaced"]["files"], row["replaced"]["by_less"]) == (1, 1)
    # A person looks at it, and puts the good one back: it is left alone from then on.
    (home.copy("12282a") / FRAME).write_bytes(b"a frame " * 100)
    shutil.rmtree(folder)
    run = home.once()
    assert run.returncode == 0, run.stderr
    (row,) = home.status("12282a")
    assert row["replaced"]["files"] == 0


def test_nothing_kept_goes_while_the_copy_is_not_proven_anew(home: Home) -> None:
    source = prepared(home)
    (source / "process.inp").write_bytes(b"the second version, which is longer")
    give(source)
    look_again(home)
    folder = home.copy("12282a").with_name("data.asynchy-replaced")
    (dated,) = folder.iterdir()
    old = datetime.now(UTC) - timedelta(days=91)
    dated.rename(folder / old.strftime("%Y%m%dT%H%M%SZ"))
    edited(home.copy("12282a") / FRAME, "a person's")
    asynchy(home, "audit", "12282a")
    home.once()
    assert len(kept(home)) == 1
    assert asynchy(home, "verify", "12282a", "--restore").returncode == 0
    home.once()
    assert kept(home) == {FRAME: b"a person's"}


@pytest.mark.parametrize("engine", ENGINES)
def test_zeros_within_a_file_of_the_same_size_are_told_and_the_good_one_stays(
    home: Home, engine: str
) -> None:
    source = prepared(home, engine=engine)
    (source / "process.inp").write_bytes(b"a" * 20_000)
    give(source)
    look_again(home)
    (source / "process.inp").write_bytes(b"a" * 1000 + bytes(6000) + b"a" * 13_000)
    os.utime(source / "process.inp", (1_700_000_000, 1_700_000_000))
    give(source)
    said = look_again(home, code=1)
    words = "process.inp has zeros at the facility now where it had data: 20.0 kB, before 20.0 kB"
    assert words in said
    expired(home)
    assert home.once().returncode == 1
    assert kept(home) == {"process.inp": b"a" * 20_000}


def test_nothing_kept_goes_while_only_sizes_and_times_are_known_of_the_copy(home: Home) -> None:
    source = prepared(home)
    home.configure(verify="size", engine="sftp")
    old = (source / "process.inp").read_bytes()
    (source / "process.inp").write_bytes(b"the second version, which is longer")
    give(source)
    look_again(home)
    expired(home)
    home.once()
    assert kept(home) == {"process.inp": old}
    words = "until the copy is proven by content (`asynchy verify`)"
    assert words in asynchy(home, "status", "12282a").stdout.replace("\n", " ")
    assert asynchy(home, "verify", "12282a").returncode == 0
    home.once()
    assert kept(home) == {}
