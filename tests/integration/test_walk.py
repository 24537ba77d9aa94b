"""as-walker: what lies at the facility comes into the catalogue, once and again."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import signal
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import openpyxl
import pytest

from simulator.experiments import awkward_names
from simulator.scratch import remove
from tests.conftest import Group, give, wait_until

CLOSED = {
    0: "it may not be read (EACCES)",
    0o444: "its entries cannot be read (no x permission)",
}
"""The mode of a folder at the facility -> why it cannot be listed."""


def shown(source: Path) -> list[Path]:
    """All that lies in an experiment, without what is hidden."""
    found = source.rglob("*")
    hidden = [
        any(p.startswith(".") and p != ".info" for p in f.relative_to(source).parts) for f in found
    ]
    return [path for path, no in zip(source.rglob("*"), hidden, strict=True) if not no]


def there(source: Path) -> dict[bytes, tuple[int, int]]:
    """The files of an experiment as they lie there, without dot files but .info."""
    found = {}
    for folder, folders, names in os.walk(os.fsencode(source)):
        folders[:] = [name for name in folders if not name.startswith(b".")]
        for name in names:
            path = folder + b"/" + name
            known = os.lstat(path)
            is_file = stat.S_ISREG(known.st_mode)
            wanted = not name.startswith(b".") or name == b".info"
            if wanted and is_file:
                inside = os.path.relpath(path, os.fsencode(source))
                found[inside] = (known.st_size, known.st_mtime_ns // 10**9)
    return found


def differences(group: Group, source: Path) -> list[tuple[bytes, tuple[int, int]]]:
    """What the catalogue has and the experiment has not, or the other way round; the first ten."""
    differ = set(group.files[str(source)].items()) ^ set(there(source).items())
    return sorted(differ)[:10]


def test_all_that_is_visible_in_both_layouts(group: Group) -> None:
    sources = [
        group.experiment("12282a"),
        group.experiment("8020l", ""),
        group.experiment("1234", "saxs"),
    ]
    awkward_names(sources[0])
    (sources[0] / "a-loop").symlink_to(".")
    os.mkfifo(sources[0] / "a-fifo")
    (group.facility.data / "lost+found dir").mkdir()
    give(group.facility.data)
    run = group.walk()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 experiments listed" in run.stdout
    assert "3 new, 0 changed, 0 no longer there." in run.stdout
    kinds = [stat.S_IFMT(path.lstat().st_mode) for source in sources for path in shown(source)]
    links, fifos = kinds.count(stat.S_IFLNK), kinds.count(stat.S_IFIFO)
    told = f"Counted and not listed: 6 dot files or folders, {links} links, {fifos} special files."
    assert told in run.stdout
    assert group.files == {str(source): there(source) for source in sources}
    known = group.rows("SELECT epn, beamline, files, bytes FROM experiments ORDER BY epn")
    assert [row[:2] for row in known] == [("12282a", "mx"), ("1234", "saxs"), ("8020l", "")]
    for (_, _, files, in_bytes), source in zip(
        known, [sources[0], sources[2], sources[1]], strict=True
    ):
        sizes = [size for size, _ in there(source).values()]
        assert (files, in_bytes) == (len(sizes), sum(sizes))


def test_the_second_walk_tells_what_changed(group: Group) -> None:
    first, second = group.experiment("12282a"), group.experiment("8020l", "")
    gone = group.experiment("12283a")
    assert group.walk().returncode == 0
    again = group.walk()
    assert again.returncode == 0
    assert "0 new, 0 changed, 0 no longer there." in again.stdout

    (first / "late.log").write_text("late")
    (first / "frames" / ".info").write_text("longer than it was before, by far")
    next(first.rglob("*.cbf")).unlink()
    remove(gone)
    give(first)
    run = group.walk()
    assert run.returncode == 0, run.stderr
    (row,) = [line.split() for line in run.stdout.splitlines() if line.startswith("12282a")]
    assert row[-3:] == ["1", "1", "1"]
    assert "0 new, 1 changed, 1 no longer there." in run.stdout
    assert f"{gone} (NEVER COMPLETE AT HOME)" in run.stdout
    assert group.files[str(first)] == there(first)
    assert group.files[str(second)] == there(second)
    assert "0 no longer there" in group.walk().stdout  # it is told once
    plan = group.asynchy("sync", "--dest", group.place, "--dry-run").stdout
    (left_out,) = [line for line in plan.splitlines() if line.startswith("12283a")]
    assert "gone from the facility, and not complete at home: since" in left_out
    named = group.asynchy("sync", "--dest", group.place, "--dry-run", "--epn", "12283a").stdout
    assert "there is no such folder at the facility" in named
    group.experiment("12283a")
    assert "0 new, 0 changed" in group.walk().stdout
    assert group.rows("SELECT count(*) FROM experiments WHERE vanished IS NOT NULL") == [(0,)]


def test_a_folder_in_upper_case_is_found_brought_home_and_missed_when_it_is_gone(
    group: Group, place: Path
) -> None:
    source = group.experiment("12282A")
    assert group.walk().returncode == 0
    assert group.rows("SELECT epn, source FROM experiments") == [("12282a", str(source))]
    vault = place / "vault"
    vault.mkdir()
    give(vault)
    run = group.asynchy("sync", "--dest", vault, "--epn", "12282A")
    assert run.returncode == 0, run.stdout + run.stderr
    assert there(vault / "12282a") == there(source)

    source.rename(group.facility.data / "mx" / "put-away")
    assert "0 new, 0 changed, 1 no longer there" in group.walk().stdout


def test_two_folders_of_one_epn_are_not_mixed_up_and_the_second_is_named(group: Group) -> None:
    first, second = group.experiment("12282a"), group.experiment("12282A")
    run = group.walk()
    assert run.returncode == 1
    assert f"{second}: left out: {first} is a folder of the same EPN" in run.stdout
    assert list(group.files) == [str(first)]


def test_walk_then_sync_then_walk_finds_nothing_to_do(group: Group) -> None:
    group.experiment("12282a")
    group.experiment("8020l", "")
    vault = group.place / "vault"
    vault.mkdir()
    give(group.place)
    assert group.asynchy("walk").returncode == 0
    sync = ("sync", "--dest", vault)
    assert "2 experiments completed" in group.asynchy(*sync).stdout
    assert "0 new, 0 changed" in group.asynchy("walk").stdout
    assert "Nothing to transfer." in group.asynchy(*sync).stdout
    (group.facility.data / "8020l" / "late.log").write_text("late")
    give(group.facility.data)
    assert "1 changed" in group.asynchy("walk").stdout
    assert "1 experiment completed" in group.asynchy(*sync).stdout
    assert (vault / "8020l" / "late.log").read_text() == "late"


def test_what_cannot_be_read_is_told_and_what_was_known_of_it_stays(group: Group) -> None:
    source = group.experiment("12282a")
    closed = [source / "home" / f"closed-{number:02}" for number in range(12)]
    for folder in closed:
        folder.mkdir(parents=True)
        (folder / "kept.log").write_text("kept")
    give(source)
    assert group.walk().returncode == 0
    before = group.files[str(source)]
    for folder in closed:
        folder.chmod(0)
    run = group.walk()
    for folder in closed:
        folder.chmod(0o755)
    assert run.returncode == 1
    assert "12 folders could not be listed; what was known of them stays:" in run.stdout
    assert f"{closed[0]}: it may not be read (EACCES)" in run.stdout
    assert "and 2 more" in run.stdout
    assert group.files[str(source)] == before
    assert "12 folders not listed" in group.asynchy("catalogue", "stats").stdout
    assert group.walk().returncode == 0


@pytest.mark.parametrize(("mode", "why"), list(CLOSED.items()))
def test_a_beamline_that_cannot_be_read_takes_nothing_away(
    group: Group, mode: int, why: str
) -> None:
    group.experiment("12282a")
    group.experiment("8020l", "")
    assert group.walk().returncode == 0
    beamline = group.facility.data / "mx"
    beamline.chmod(mode)
    run = group.walk()
    beamline.chmod(0o755)
    assert run.returncode == 1
    assert "0 no longer there" in run.stdout
    assert f"{beamline}: {why}" in run.stdout


@pytest.mark.parametrize(("mode", "why"), list(CLOSED.items()))
@pytest.mark.parametrize("closed", ["1a", "2a", "3a"])
def test_an_experiment_that_cannot_be_read_is_not_an_empty_one(
    group: Group, closed: str, mode: int, why: str
) -> None:
    for epn in ("1a", "2a", "3a"):
        group.experiment(epn)
    assert group.walk().returncode == 0
    before = group.files
    source = group.facility.data / "mx" / closed
    source.chmod(mode)
    run = group.walk()
    source.chmod(0o755)
    assert run.returncode == 1
    assert f"{source}: {why}" in run.stdout
    assert group.files == before


def test_an_experiment_that_is_empty_is_listed(group: Group) -> None:
    source = group.facility.data / "mx" / "1a"
    source.mkdir(parents=True)
    give(source)
    run = group.walk()
    assert (run.returncode, "1 experiment listed, 0 files" in run.stdout) == (0, True)


def test_the_epns_of_spreadsheets_or_of_a_list_alone(group: Group) -> None:
    for epn in ("12282a", "12283a", "8020l"):
        group.experiment(epn)
    sheets = group.place / "sheets"
    sheets.mkdir()
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["EPN", "Start", "End", "Title", "First", "Last", "Email"])
    book.active.append(["12282a", "", "", "A title", "Ada", "Lovelace", "ada@uni.example"])
    book.active.append(["99999z", "", "", "Never measured", "", "", ""])
    book.save(sheets / "epns.xlsx")
    group.configure(epns_path=sheets)
    run = group.walk()
    assert run.returncode == 0, run.stderr
    assert "Asked for and not at the facility:\n  99999z" in run.stdout
    assert [row[0] for row in group.rows("SELECT epn FROM experiments")] == ["12282a"]

    (sheets / "broken.xlsx").write_bytes(b"no spreadsheet")
    give(group.place)
    run = group.walk()
    assert run.returncode == 3
    assert f"{sheets / 'broken.xlsx'} cannot be read as a spreadsheet" in run.stderr
    assert "1 experiment listed" in run.stdout

    (sheets / "broken.xlsx").chmod(0)
    run = group.walk()
    assert run.returncode == 3
    assert f"{sheets / 'broken.xlsx'} cannot be read as a spreadsheet: Permission denied" in (
        run.stderr
    )
    assert "make it readable for the user that runs asynchy" in run.stderr
    sheets.chmod(0)
    closed = group.walk()
    assert closed.returncode == 3
    assert "What to do: make it readable for the user that runs asynchy" in closed.stderr

    (group.place / "list.txt").write_text("# ours\n8020l, late\nnonsense\n\n")
    give(group.place)
    run = group.walk("--list", group.place / "list.txt")
    assert run.returncode == 0, run.stderr
    assert "no EPN: list.txt, line 3: nonsense" in run.stderr
    assert [row[0] for row in group.rows("SELECT epn FROM experiments ORDER BY epn")] == [
        "12282a",
        "8020l",
    ]
    (group.place / "none.txt").write_text("# 8020l\n")
    give(group.place)
    none = group.walk("--list", group.place / "none.txt")
    assert (none.returncode, "there is no EPN in " in none.stderr) == (3, True)
    missing = group.walk("--list", group.place / "nope.txt")
    assert (missing.returncode, "No such file" in missing.stderr) == (3, True)


def test_a_formula_without_a_value_is_in_the_exit_code_and_the_rest_is_walked(group: Group) -> None:
    group.experiment("12282a")
    sheets = group.place / "sheets"
    sheets.mkdir()
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for value in ("EPN", "12282a", '=CONCATENATE("20345","b")'):
        sheet.append([value, "a title"])
    book.save(sheets / "epns.xlsx")
    give(group.place)
    group.configure(epns_path=sheets)
    run = group.walk()
    assert run.returncode == 3, run.stdout + run.stderr
    assert "row 3: a formula without a value" in run.stderr
    assert "1 experiment listed" in run.stdout


@pytest.mark.extra
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.extra)]
)
def test_ended_in_the_middle_it_goes_on_where_it_was(group: Group, number: signal.Signals) -> None:
    source = group.many_folders("12282a", 30000)
    group.experiment("12283a")
    done = "SELECT count(*) FROM files"
    with group.program.start("as-walker", "--config", group.config) as process:
        wait_until(lambda: group.listed > 0)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if number is signal.SIGKILL else 143)
    listed = group.rows(done)[0][0]
    assert 0 < listed < 30000
    left = group.rows("SELECT count(*) FROM frontier")[0][0]
    assert left > 0
    (walk_id,) = group.rows("SELECT id FROM sightings WHERE ended IS NULL")[0]
    if number is signal.SIGTERM:
        assert "start it again: it goes on where it was" in err
    run = group.walk()
    assert run.returncode == 0, run.stderr
    assert "goes on where it was stopped" in run.stderr
    assert differences(group, source) == []
    assert group.rows("SELECT count(*) FROM frontier") == [(0,)]
    assert group.rows("SELECT max(id) FROM sightings") == [(walk_id,)]
    assert "0 new, 0 changed, 0 no longer there." in group.walk().stdout


@pytest.mark.extra
def test_a_server_that_goes_and_comes_back_costs_little(group: Group) -> None:
    source = group.many_folders("12282a", 30000)
    with group.program.start("as-walker", "--config", group.config) as process:
        wait_until(lambda: group.listed > 0)
        process.send_signal(signal.SIGSTOP)  # it would be done before sshd is gone
        group.facility.stop_sshd()
        group.facility.start_sshd()
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "the walk lost the connection to the facility" in err
    assert "trying again" in err
    assert "1 experiment listed" in out
    assert differences(group, source) == []


def test_a_server_that_is_gone_is_said(group: Group) -> None:
    group.facility.stop_sshd()
    run = group.walk()
    assert run.returncode == 4
    assert "127.0.0.1: the server refused the connection" in run.stderr


def test_what_a_walk_had_listed_before_it_was_stopped_is_not_listed_again(group: Group) -> None:
    for epn in ("12282a", "12283a"):
        group.experiment(epn)
    assert group.walk().returncode == 0
    with closing(sqlite3.connect(group.place / "catalogue.db")) as db, db:
        db.execute("UPDATE sightings SET ended = NULL")
        db.execute("UPDATE experiments SET walk_id = NULL WHERE epn = '12283a'")
    run = group.walk()
    assert run.returncode == 0, run.stderr
    assert "1 experiment listed (1 more before it was stopped)" in run.stdout


def test_a_walk_that_finds_no_experiment_says_what_is_there_instead(group: Group) -> None:
    group.configure()
    (group.facility.data / "saxs").mkdir()
    (group.facility.data / "calibration").mkdir()
    give(group.facility.data)
    for walk_root, what in (
        (group.facility.data, "in {} are calibration, saxs."),
        (group.facility.data / "saxs", "{} has no folders that this user can see."),
    ):
        group.configure(**{"walk-root": walk_root})
        walked = group.walk()
        assert walked.returncode == 1, walked.stdout + walked.stderr
        assert what.format(walk_root) in walked.stdout.replace("\n", " ")
        assert "check `walk-root` and `user` in the config" in walked.stdout.replace("\n", " ")


def test_one_walk_at_a_time(group: Group) -> None:
    lock = group.place / "catalogue.db.walk"
    lock.write_text("process 7 on elsewhere")
    give(lock)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # only one that wants it alone is kept out
        second = group.walk()
    assert second.returncode == 5
    words = f"a walk runs on {group.place}/catalogue.db already: process 7 on elsewhere"
    assert words in second.stderr


def test_without_sftp_rsync_lists(group: Group) -> None:
    group.facility.stop_sshd()
    group.facility.offers_sftp = False
    group.facility.start_sshd()
    sources = [group.experiment("12282a"), group.experiment("8020l", "")]
    run = group.walk()
    assert run.returncode == 0, run.stderr
    assert "offers no SFTP" in run.stderr
    assert group.files == {str(source): there(source) for source in sources}
    (sources[0] / "closed").mkdir()
    give(sources[0])
    (sources[0] / "closed").chmod(0)
    run = group.walk()
    (sources[0] / "closed").chmod(0o755)
    assert run.returncode == 1
    assert "1 folder could not be listed" in run.stdout
    assert group.files == {str(source): there(source) for source in sources}


def test_the_files_of_the_original_can_be_had(group: Group) -> None:
    source = group.experiment("12282a")
    awkward_names(source)
    give(source)
    os.utime(
        source / "frames" / ".info", (1_561_903_200, 1_561_903_200)
    )  # 2019-07-01 00:00 in Melbourne
    made = group.place / "original.db"
    run = group.walk("--format", "sqlite-original", "--output", made)
    assert run.returncode == 0, run.stderr
    with closing(sqlite3.connect(made)) as db:
        db.text_factory = bytes
        rows = {row[1]: row for row in db.execute("SELECT epn, path, size, modified FROM files")}
    root = os.fsencode(source)
    assert {path[len(root) + 1 :]: row[2] for path, row in rows.items()} == {
        path: size for path, (size, _) in there(source).items()
    }
    assert rows[root + b"/frames/.info"][3] == b"2019-07-01 00:00:00"
    # It is written anew, and imports to the same catalogue.
    assert group.walk("--format", "sqlite-original", "--output", made).returncode == 0
    known = group.files
    group.configure(catalogue="second.db")
    assert group.asynchy("catalogue", "import", made).returncode == 0
    with closing(sqlite3.connect(group.place / "second.db")) as db:
        imported = {
            path: (size, when)
            for path, size, when in db.execute("SELECT path, size, modified FROM files")
        }
    assert imported == known[str(source)]
    refused = group.walk("--format", "sqlite-original", "--output", group.config)
    assert (refused.returncode, "nothing was overwritten" in refused.stderr) == (5, True)


def test_a_walk_makes_no_new_catalogue_beside_the_backups_of_one(group: Group) -> None:
    group.experiment("12282a")
    assert group.walk().returncode == 0
    assert group.asynchy("catalogue", "backup").returncode == 0
    for path in filter(Path.is_file, group.place.glob("catalogue.db*")):
        path.unlink()
    for command in (("walk",), ("copies", "list"), ("catalogue", "stats")):
        run = group.asynchy(*command)
        assert run.returncode == 5
        assert "is missing or empty, but backups of it are in" in run.stderr
    assert not (group.place / "catalogue.db").exists()
    assert group.asynchy("catalogue", "restore").returncode == 0
    assert group.walk().returncode == 0


def test_the_catalogue_for_other_programs_and_in_figures(group: Group) -> None:
    source = group.experiment("12282a")
    (source / os.fsdecode(b'caf\xe9, "quoted"\n.cbf')).write_text("x")
    give(source)
    group.experiment("8020l", "")
    assert group.asynchy("catalogue", "stats").stdout.startswith("There is no catalogue yet")
    assert group.asynchy("catalogue", "export", "--format", "json").stdout == "[]\n"
    assert group.walk().returncode == 0
    as_json = json.loads(group.asynchy("catalogue", "export", "--format", "json").stdout)
    as_csv = list(csv.DictReader(io.StringIO(group.asynchy("catalogue", "export").stdout)))
    assert [row["epn"] for row in as_json] == ["12282a", "8020l"] == [row["epn"] for row in as_csv]
    assert as_json[0]["files"] == len(there(source)) == int(as_csv[0]["files"])
    files = json.loads(group.asynchy("catalogue", "export", "--format", "json", "--files").stdout)
    assert len(files) == len(group.files[str(source)]) + as_json[1]["files"]
    assert r'caf\xe9, "quoted"\n.cbf' in {row["path"] for row in files}
    told = group.place / "files.csv"
    assert group.asynchy("catalogue", "export", "--files", "--output", told).returncode == 0
    with told.open(newline="") as stream:
        assert {row["path"] for row in csv.DictReader(stream)} == {row["path"] for row in files}
    again = group.asynchy("catalogue", "export", "--output", told)
    assert (again.returncode, "exists" in again.stderr) == (5, True)
    figures = json.loads(group.asynchy("catalogue", "stats", "--json").stdout)
    assert figures["total"]["experiments"] == 2
    assert [share["name"] for share in figures["beamlines"]] == ["", "mx"]
    shown = group.asynchy("catalogue", "stats").stdout
    assert "knows 2 experiments" in shown and "Latest walk:" in shown
