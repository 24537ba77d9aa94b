from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import asynchy.catalogue
from asynchy.catalogue import Catalogue, IgnoreList, database, process
from asynchy.catalogue.filesystem import kind_at
from asynchy.catalogue.schema import REVISION, metadata
from asynchy.config.edit import edit
from asynchy.domain.attempt import Attempt, Claim, Verdict
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Copy, Experiment, Survey
from asynchy.errors import CatalogueError, IgnoreListError

NOW = datetime.now(UTC)


@pytest.fixture
def ignore(tmp_path: Path) -> IgnoreList:
    return IgnoreList(tmp_path / "ignore.yml")


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", set()),
        ("# nothing yet\n", set()),
        ("previouslySynched:\n", set()),
        ("previouslySynched: []\n", set()),
        ("previouslySynched: [12282a, 1234, 0123, 12e5]\n", {"12282a", "1234", "0123", "12e5"}),
        ("previouslySynched:\n- 12282a # why\n- '8020l'\n", {"12282a", "8020l"}),
    ],
)
def test_reading_the_ignore_list(ignore: IgnoreList, text: str, entries: set[str]) -> None:
    ignore.path.write_text(text)
    assert ignore.read() == entries


def test_a_missing_ignore_list_has_no_entries(ignore: IgnoreList) -> None:
    assert ignore.read() == frozenset()
    assert not ignore.path.exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "previouslySynched:\n- 9a\n"),
        ("previouslySynched:\n", "previouslySynched:\n- 9a\n"),
        ("previouslySynched: []\n", "previouslySynched:\n- 9a\n"),
        ("previouslySynched: [1a, 2b]  # all\n", "previouslySynched: [1a, 2b, 9a] # all\n"),
        ("previouslySynched:\n- 1a\n- 2b\n", "previouslySynched:\n- 1a\n- 2b\n- 9a\n"),
        ("# top\npreviouslySynched:\n  - 1a  # one\n  # between\n  - 1234\n",
         "# top\npreviouslySynched:\n  - 1a  # one\n  # between\n  - 1234\n  - 9a\n"),
        ("previouslySynched:\n- 1a\nother: {x: 1}\n", "previouslySynched:\n- 1a\n- 9a\nother: {x: 1}\n"),
    ],
)  # fmt: skip
def test_adding_keeps_everything_else(ignore: IgnoreList, before: str, after: str) -> None:
    ignore.path.write_text(before)
    ignore.add(Epn("9a"))
    assert ignore.path.read_text() == after
    ignore.add(Epn("9a"))
    assert ignore.path.read_text() == after


def test_comments_alone_are_kept(ignore: IgnoreList) -> None:
    ignore.path.write_text("# ours\n# do not touch\n")
    ignore.add(Epn("9a"))
    assert ignore.path.read_text().startswith("# ours\n# do not touch\n")
    assert ignore.read() == {"9a"}


def test_a_number_is_written_so_that_it_stays_a_text(ignore: IgnoreList) -> None:
    ignore.add(Epn("1234"))
    assert ignore.path.read_text() == "previouslySynched:\n- '1234'\n"


def test_mode_and_link_are_kept(ignore: IgnoreList, tmp_path: Path) -> None:
    real = tmp_path / "real.yml"
    real.write_text("previouslySynched: [1a]\n")
    real.chmod(0o640)
    ignore.path.symlink_to(real)
    ignore.add(Epn("9a"))
    assert ignore.path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert ignore.read() == {"1a", "9a"}


@pytest.mark.parametrize(
    "text",
    ["previouslySynched: [12282a\n", "previouslySynched: 12282a\n", "- 12282a\n", "12282a\n",
     "previouslysynched: [1a]\n", "previouslySynched: [[1a]]\n", "previouslySynched: [{a: 1}]\n"],
)  # fmt: skip
def test_a_broken_ignore_list_is_refused_and_stays_as_it_is(ignore: IgnoreList, text: str) -> None:
    ignore.path.write_text(text)
    for action in (ignore.read, lambda: ignore.add(Epn("9a"))):
        with pytest.raises(IgnoreListError) as caught:
            action()
        assert str(ignore.path) in caught.value.message and caught.value.hint
    assert ignore.path.read_text() == text


def test_a_hand_edit_made_meanwhile_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("previouslySynched: [1a]\n")
    calls = []

    def change(data: dict[str, list[str]]) -> bool:
        calls.append(list(data["previouslySynched"]))
        if len(calls) == 1:
            path.write_text("previouslySynched: [1a, by-hand]\n")
        data["previouslySynched"].append("9a")
        return True

    assert edit(path, change)
    assert calls == [["1a"], ["1a", "by-hand"]]
    assert path.read_text() == "previouslySynched: [1a, by-hand, 9a]\n"


def test_many_at_once_lose_nothing(ignore: IgnoreList) -> None:
    threads = [
        threading.Thread(target=lambda at=at: [ignore.add(Epn(f"{at}{x}a")) for x in range(10)])  # type: ignore[misc]
        for at in (1, 2, 3)
    ]
    code = (
        "import sys; from pathlib import Path; from asynchy.catalogue import IgnoreList\n"
        "from asynchy.domain.epn import Epn\n"
        "[IgnoreList(Path(sys.argv[1])).add(Epn(f'9{x}a')) for x in range(10)]"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(ignore.path)]) as other:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other.wait(30) == 0
    assert ignore.read() == {f"{at}{x}a" for at in (1, 2, 3, 9) for x in range(10)}


# The catalogue


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    project = tmp_path / "ny79"
    return Copy(
        Experiment("mx", Epn("12282a")),
        "ny79",
        "/data/mx/12282a",
        project,
        project / "12282a" / "data",
    )


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    yield Catalogue.open(tmp_path / "catalogue.db")


def attempt(verdict: Verdict, started: datetime = NOW) -> Attempt:
    return Attempt(
        started=started, ended=started + timedelta(minutes=5), host="here", pid=1, engine="rsync",
        check="transport", compare="time", verdict=verdict, exit_code=0, files=3, bytes=99,
        listed_at=started, listed_files=3, listed_bytes=99, reason=None, stderr="",
    )  # fmt: skip


SURVEY = Survey(NOW, 3, 99, 1, 0, 0, 0, 0, "fingerprint")


def claimed(catalogue: Catalogue, copy: Copy) -> int:
    found = catalogue.claim(copy)
    assert isinstance(found, int)
    return found


def test_an_unknown_copy_has_no_history(catalogue: Catalogue, copy: Copy) -> None:
    history = catalogue.history(copy)
    assert (history.attempts, history.completed_listing, history.claim) == (0, None, None)


def test_a_claim_holds_until_it_is_released(
    catalogue: Catalogue, copy: Copy, tmp_path: Path
) -> None:
    number = claimed(catalogue, copy)
    other = Catalogue.open(tmp_path / "catalogue.db")
    standing = other.claim(copy)
    assert isinstance(standing, Claim)
    assert (standing.host, standing.pid) == (process.host(), os.getpid())
    assert other.history(copy).claim == standing
    catalogue.beat(number)
    again = other.claim(copy)
    assert isinstance(again, Claim) and again.heartbeat >= standing.heartbeat
    catalogue.release(number)
    assert claimed(other, copy) == number


@pytest.mark.parametrize(
    ("verdict", "complete"), [(verdict, verdict is Verdict.COMPLETE) for verdict in Verdict]
)
def test_only_a_complete_attempt_marks_a_copy_complete(
    catalogue: Catalogue, copy: Copy, verdict: Verdict, complete: bool
) -> None:
    catalogue.record(claimed(catalogue, copy), attempt(verdict), SURVEY)
    (status,) = catalogue.status()
    assert (status.completed is not None) == complete
    assert (catalogue.history(copy).completed_listing == NOW) == complete
    assert (status.files, status.bytes, status.attempts) == (3, 99, 1)


def test_attempts_are_only_ever_added(catalogue: Catalogue, copy: Copy) -> None:
    number = claimed(catalogue, copy)
    made = [attempt(Verdict.FAILED), attempt(Verdict.COMPLETE, NOW + timedelta(hours=1))]
    for one in made:
        catalogue.record(number, one, SURVEY)
    assert [found for _, found in catalogue.history_of("12282a")] == made
    assert catalogue.status("12282a")[0].last == made[1]
    assert catalogue.status("99999z") == []


def test_a_copy_elsewhere_is_another_copy(catalogue: Catalogue, copy: Copy, tmp_path: Path) -> None:
    claimed(catalogue, copy)
    elsewhere = Copy(
        copy.experiment, "kx12", copy.source, tmp_path / "kx12", tmp_path / "kx12" / "data"
    )
    claimed(catalogue, elsewhere)
    assert len(catalogue.status()) == 2


def test_the_claim_of_a_process_that_was_killed_is_taken_over(
    catalogue: Catalogue, copy: Copy, tmp_path: Path
) -> None:
    code = (
        "import sys, signal, os; from pathlib import Path; from asynchy.catalogue import Catalogue\n"
        "from asynchy.domain.epn import Epn; from asynchy.domain.experiment import Copy, Experiment\n"
        "p = Path(sys.argv[1])\n"
        "c = Copy(Experiment('mx', Epn('12282a')), 'ny79', '/data/mx/12282a', p / 'ny79', p / 'ny79' / '12282a' / 'data')\n"
        "Catalogue.open(p / 'catalogue.db').claim(c)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert catalogue.history(copy).claim is None
    claimed(catalogue, copy)
    ((_, interrupted),) = catalogue.history_of("12282a")
    assert interrupted.verdict is Verdict.INTERRUPTED
    assert interrupted.pid != os.getpid()


def test_a_claim_of_another_host_counts_while_its_heart_beats() -> None:
    def alive(minutes: float) -> bool:
        then = NOW - timedelta(minutes=minutes)
        return process.is_alive(Claim("elsewhere", 1, then, then), "?", NOW)

    assert alive(9)
    assert not alive(11)


def test_a_pid_that_was_used_again_is_another_process() -> None:
    claim = Claim(process.host(), os.getpid(), NOW, NOW)
    assert process.is_alive(claim, process.me()[1], NOW)
    assert not process.is_alive(claim, "boot:1", NOW)


def test_peeking_makes_nothing(tmp_path: Path, copy: Copy) -> None:
    found = Catalogue.peek(tmp_path / "catalogue.db")
    assert (
        found.status() == [] and found.history(copy).attempts == 0 and found.history_of("1a") == []
    )
    assert list(tmp_path.iterdir()) == []


def test_peeking_beside_a_writer(catalogue: Catalogue, copy: Copy, tmp_path: Path) -> None:
    claimed(catalogue, copy)
    assert len(Catalogue.peek(tmp_path / "catalogue.db").status()) == 1
    before = sorted(path.name for path in tmp_path.iterdir())
    assert before == ["catalogue.db"]


def test_the_migrations_make_what_the_schema_says(tmp_path: Path) -> None:
    engine = database.open_for_writing(tmp_path / "catalogue.db")
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    folder = Path(asynchy.catalogue.__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_a_newer_catalogue_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for opening in (Catalogue.open, Catalogue.peek):
        with pytest.raises(CatalogueError, match=r"another version of asynchy.*9999") as caught:
            opening(path)
        assert caught.value.hint


def test_a_damaged_catalogue_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    path.write_bytes(b"not a database at all " * 50)
    for opening in (Catalogue.open, Catalogue.peek):
        with pytest.raises(CatalogueError, match="not a database"):
            opening(path)
    assert path.read_bytes() == b"not a database at all " * 50


def test_a_locked_catalogue_is_named(
    catalogue: Catalogue, copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY", 0.1)
    other = sqlite3.connect(tmp_path / "catalogue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogueError, match="locked") as caught:
        catalogue.claim(copy)
    assert caught.value.hint
    other.close()
    claimed(catalogue, copy)


def test_a_naive_time_cannot_be_stored(catalogue: Catalogue, copy: Copy) -> None:
    number = claimed(catalogue, copy)
    naive = attempt(Verdict.FAILED, datetime(2026, 1, 1))
    with pytest.raises(Exception, match="naive"):
        catalogue.record(number, naive, None)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "network_file_system", lambda _path: "lustre")
    with pytest.raises(CatalogueError, match=r"network file system \(lustre\)") as caught:
        Catalogue.open(tmp_path / "catalogue.db")
    assert caught.value.hint and "local disk" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
30 22 0:40 / /projects rw shared:3 - lustre 10.0.0.1@tcp:/p rw
31 30 0:41 / /projects/local\\040disk rw - xfs /dev/sdb rw
32 22 0:42 / /home rw - nfs4 server:/home rw
33 22 0:43 / /home rw - ext4 /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/opt/asynchy", "ext4"), ("/projects", "lustre"), ("/projects/ny79/x", "lustre"),
        ("/projects/local disk/x", "xfs"), ("/projectsx", "ext4"), ("/home/me", "ext4"),
    ],
)  # fmt: skip
def test_the_kind_of_file_system_is_found(path: str, kind: str) -> None:
    assert kind_at(MOUNTS, Path(path)) == kind


def test_status_is_plain_data(catalogue: Catalogue, copy: Copy) -> None:
    claimed(catalogue, copy)
    assert json.loads(json.dumps([status.epn for status in catalogue.status()])) == ["12282a"]
