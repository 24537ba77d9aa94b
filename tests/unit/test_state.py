from __future__ import annotations

import dataclasses
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

import asynchy.catalogue
from asynchy.catalogue import Catalogue, sqlite_database
from asynchy.catalogue.schema import REVISION
from asynchy.errors import CatalogueError
from asynchy.localfs import process_identity
from asynchy.localfs.filesystem import kind_at
from asynchy.model.attempt import Attempt, Claim, Verdict
from asynchy.model.copy_record import CopyRecord, LastAttempt
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment, ListingDiff
from tests.tools.catalogues import new_catalogue

pytestmark = pytest.mark.both_databases

NOW = datetime.now(UTC)


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
    yield new_catalogue(tmp_path / "catalogue.db")


def attempt(verdict: Verdict, started: datetime = NOW) -> Attempt:
    return Attempt(
        started=started, ended=started + timedelta(minutes=5), host="here", pid=1, engine="rsync",
        chosen="engine: rsync", check="transport", compare="time", verdict=verdict, exit_code=0, files=3, bytes=99,
        listed_at=started, listed_files=3, listed_bytes=99, reason=None, stderr="",
    )  # fmt: skip


SURVEY = ListingDiff(NOW, 3, 99, 1, 0, 0, 0, "fingerprint")


def claimed(catalogue: Catalogue, copy: Copy) -> int:
    found = catalogue.acquire_lease(copy)
    assert isinstance(found, int)
    return found


def record_of(catalogue: Catalogue, copy: Copy) -> CopyRecord:
    found = catalogue.copy_record(copy)
    assert found is not None
    return found


def test_an_unknown_copy_has_no_record(catalogue: Catalogue, copy: Copy) -> None:
    assert catalogue.copy_record(copy) is None
    assert catalogue.overview.records() == catalogue.overview.copies() == []


def test_a_claim_holds_until_it_is_released(
    catalogue: Catalogue, copy: Copy, tmp_path: Path
) -> None:
    number = claimed(catalogue, copy)
    other = Catalogue.open(tmp_path / "catalogue.db")
    standing = other.acquire_lease(copy)
    assert isinstance(standing, Claim)
    assert (standing.host, standing.pid) == (process_identity.host(), os.getpid())
    assert record_of(other, copy).claim == standing
    catalogue.leases.beat(number)
    again = other.acquire_lease(copy)
    assert isinstance(again, Claim) and again.heartbeat >= standing.heartbeat
    catalogue.leases.release(number)
    assert claimed(other, copy) == number


@pytest.mark.parametrize(
    ("verdict", "complete"), [(verdict, verdict is Verdict.COMPLETE) for verdict in Verdict]
)
def test_only_a_complete_attempt_marks_a_copy_complete(
    catalogue: Catalogue, copy: Copy, verdict: Verdict, complete: bool
) -> None:
    catalogue.record(claimed(catalogue, copy), attempt(verdict), SURVEY)
    record = record_of(catalogue, copy)
    assert (record.completed is not None) == (record.listed == NOW) == complete
    assert (record.files, record.bytes, record.attempts) == (3, 99, 1)
    assert record.last == LastAttempt(NOW + timedelta(minutes=5), verdict, None)


def test_attempts_are_only_ever_added(catalogue: Catalogue, copy: Copy) -> None:
    number = claimed(catalogue, copy)
    made = [attempt(Verdict.FAILED), attempt(Verdict.COMPLETE, NOW + timedelta(hours=1))]
    for one in made:
        catalogue.record(number, one, SURVEY)
    assert [found for _, found in catalogue.history.attempts_of("12282a")] == made
    assert catalogue.last_attempts([number]) == {number: made[1]}
    assert catalogue.last_attempts([number + 1]) == {}
    assert record_of(catalogue, copy).attempts == 2
    assert catalogue.overview.copies(["99999z"]) == catalogue.history.attempts_of("99999z") == []


def test_a_copy_elsewhere_is_another_copy(catalogue: Catalogue, copy: Copy, tmp_path: Path) -> None:
    claimed(catalogue, copy)
    elsewhere = Copy(
        copy.experiment, "kx12", copy.source, tmp_path / "kx12", tmp_path / "kx12" / "data"
    )
    claimed(catalogue, elsewhere)
    assert [one.copy for one in catalogue.overview.copies()] == [elsewhere, copy]


def test_the_claim_of_a_process_that_was_killed_is_taken_over(
    catalogue: Catalogue, copy: Copy, tmp_path: Path
) -> None:
    code = (
        "import sys, signal, os; from pathlib import Path; from asynchy.catalogue import Catalogue\n"
        "from asynchy.model.epn import Epn; from asynchy.model.experiment import Copy, Experiment\n"
        "p = Path(sys.argv[1])\n"
        "c = Copy(Experiment('mx', Epn('12282a')), 'ny79', '/data/mx/12282a', p / 'ny79', p / 'ny79' / '12282a' / 'data')\n"
        "Catalogue.open(p / 'catalogue.db').acquire_lease(c)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert record_of(catalogue, copy).claim is None
    claimed(catalogue, copy)
    ((_, interrupted),) = catalogue.history.attempts_of("12282a")
    assert interrupted.verdict is Verdict.INTERRUPTED
    assert interrupted.pid != os.getpid()


def test_a_claim_of_another_host_counts_while_its_heart_beats() -> None:
    def alive(minutes: float) -> bool:
        then = NOW - timedelta(minutes=minutes)
        return process_identity.is_alive(Claim("elsewhere", 1, then, then), "?", NOW)

    assert alive(9)
    assert not alive(11)


def test_a_pid_that_was_used_again_is_another_process() -> None:
    claim = Claim(process_identity.host(), os.getpid(), NOW, NOW)
    assert process_identity.is_alive(claim, process_identity.own_process()[1], NOW)
    assert not process_identity.is_alive(claim, "boot:1", NOW)


def test_peeking_makes_nothing(tmp_path: Path, copy: Copy) -> None:
    found = Catalogue.open_readonly(tmp_path / "catalogue.db")
    assert (
        found.overview.records() == found.overview.copies() == found.history.attempts_of("1a") == []
    )
    assert found.copy_record(copy) is None
    assert list(tmp_path.iterdir()) == []


def test_peeking_beside_a_writer(catalogue: Catalogue, copy: Copy, tmp_path: Path) -> None:
    claimed(catalogue, copy)
    assert len(Catalogue.open_readonly(tmp_path / "catalogue.db").overview.copies()) == 1
    before = sorted(path.name for path in tmp_path.iterdir())
    assert before == ["catalogue.db"]


def test_the_last_migration_is_the_revision_of_the_schema() -> None:
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
    for opening in (Catalogue.open, Catalogue.open_readonly):
        before = path.read_bytes()
        with pytest.raises(CatalogueError, match=r"another version of asynchy.*9999") as caught:
            opening(path)
        assert caught.value.hint
        assert path.read_bytes() == before
        assert not list(tmp_path.glob("catalogue.db.*"))


def test_a_damaged_catalogue_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    path.write_bytes(b"not a database at all " * 50)
    for opening in (Catalogue.open, Catalogue.open_readonly):
        with pytest.raises(CatalogueError, match="not a database"):
            opening(path)
    assert path.read_bytes() == b"not a database at all " * 50


def test_a_locked_catalogue_is_named(
    catalogue: Catalogue, copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "_BUSY", 0.1)
    other = sqlite3.connect(tmp_path / "catalogue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogueError, match="locked") as caught:
        catalogue.acquire_lease(copy)
    assert caught.value.hint
    other.close()
    claimed(catalogue, copy)


def test_a_naive_time_cannot_be_stored(catalogue: Catalogue, copy: Copy) -> None:
    number = claimed(catalogue, copy)
    naive = attempt(Verdict.FAILED, datetime(2026, 1, 1))
    with pytest.raises(Exception, match="naive"):
        catalogue.record(number, naive, None)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_database, "network_file_system", lambda _path: "lustre")
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


# More of the catalogue


def test_the_claim_of_a_process_that_died_unreaped_is_taken_over(
    catalogue: Catalogue, copy: Copy, tmp_path: Path
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from asynchy.catalogue import Catalogue\n"
        "from asynchy.model.epn import Epn; from asynchy.model.experiment import Copy, Experiment\n"
        "p = Path(sys.argv[1])\n"
        "c = Copy(Experiment('mx', Epn('12282a')), 'ny79', '/data/mx/12282a', p / 'ny79', p / 'ny79' / '12282a' / 'data')\n"
        "Catalogue.open(p / 'catalogue.db').acquire_lease(c); os._exit(1)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet waited for
        assert record_of(catalogue, copy).claim is None
        claimed(catalogue, copy)


def elsewhere(tmp_path: Path, minutes: float) -> None:
    beat = (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M:%S.%f")
    connection = sqlite3.connect(tmp_path / "catalogue.db")
    connection.execute("UPDATE claims SET host = 'elsewhere', heartbeat = ?", [beat])
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("minutes", "stale"), [(0, False), (9.9, False), (10.1, True), (1e6, True)]
)
def test_a_claim_of_another_host_is_taken_over_once_it_is_stale(
    catalogue: Catalogue, copy: Copy, tmp_path: Path, minutes: float, stale: bool
) -> None:
    number = claimed(catalogue, copy)
    elsewhere(tmp_path, minutes)
    assert (record_of(catalogue, copy).claim is None) == stale
    (of_experiment,) = catalogue.overview.records()[0].copies
    assert (of_experiment.claim is None) == stale
    found = catalogue.acquire_lease(copy)
    assert (found == number) == stale
    verdicts = [one.verdict for _, one in catalogue.history.attempts_of("12282a")]
    assert verdicts == ([Verdict.INTERRUPTED] if stale else [])


def test_a_clock_that_was_set_back_makes_no_attempt_end_before_it_began(
    catalogue: Catalogue, copy: Copy, tmp_path: Path
) -> None:
    claimed(catalogue, copy)
    elsewhere(tmp_path, 11)
    later = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with sqlite3.connect(tmp_path / "catalogue.db") as connection:
        connection.execute("UPDATE claims SET since = ?", [later])
    connection.close()
    claimed(catalogue, copy)
    ((_, interrupted),) = catalogue.history.attempts_of("12282a")
    assert interrupted.ended >= interrupted.started


def test_of_many_at_once_one_gets_the_claim(catalogue: Catalogue, copy: Copy) -> None:
    gate = threading.Barrier(8)
    found: list[int | Claim] = []

    def claim() -> None:
        gate.wait()
        found.append(catalogue.acquire_lease(copy))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(one, int) for one in found) == [False] * 7 + [True]


def test_what_was_complete_stays_so_while_a_later_attempt_fails(
    catalogue: Catalogue, copy: Copy
) -> None:
    number = claimed(catalogue, copy)
    catalogue.record(number, attempt(Verdict.COMPLETE), SURVEY)
    later = dataclasses.replace(
        SURVEY, listed_at=NOW + timedelta(hours=1), files=4, fingerprint="g"
    )
    catalogue.record(number, attempt(Verdict.FAILED, NOW + timedelta(hours=1)), later)
    catalogue.record(number, attempt(Verdict.STOPPED, NOW + timedelta(hours=2)), None)
    record = record_of(catalogue, copy)
    assert (record.completed, record.listed) == (NOW + timedelta(minutes=5), NOW)
    assert (record.files, record.attempts, record.unfinished) == (4, 3, True)
    assert record.last is not None and record.last.verdict is Verdict.STOPPED
    catalogue.record(number, attempt(Verdict.COMPLETE, NOW + timedelta(hours=3)), later)
    record = record_of(catalogue, copy)
    assert (record.listed, record.unfinished) == (later.listed_at, False)


def test_an_attempt_comes_back_as_it_was_stored(catalogue: Catalogue, copy: Copy) -> None:
    melbourne = timezone(timedelta(hours=11))
    whole = dataclasses.replace(
        attempt(Verdict.FAILED, NOW.astimezone(melbourne)), files=10**7, bytes=10**16, exit_code=-9,
        listed_bytes=2**62, reason="it's \"so\"; DROP TABLE attempts", stderr="\u2603\nline",
    )  # fmt: skip
    nothing = dataclasses.replace(
        whole, exit_code=None, files=None, bytes=None, listed_at=None, listed_files=None, listed_bytes=None, reason=None,
    )  # fmt: skip
    number = claimed(catalogue, copy)
    for one in (whole, nothing):
        catalogue.record(number, one, None)
    found = catalogue.history.attempts_of("12282a")
    assert found == [(str(copy.destination), whole), (str(copy.destination), nothing)]
    assert {one.started.utcoffset() for _, one in found} == {timedelta(0)}


def test_every_time_that_is_read_has_a_zone(catalogue: Catalogue, copy: Copy) -> None:
    number = claimed(catalogue, copy)
    catalogue.record(number, attempt(Verdict.COMPLETE), SURVEY)
    record = record_of(catalogue, copy)
    assert record.claim is not None and record.last is not None
    moments = [
        record.completed, record.listed, record.claim.since, record.claim.heartbeat,
        record.last.ended, *(one.listed_at for _, one in catalogue.history.attempts_of("12282a")),
    ]  # fmt: skip
    assert all(one is not None and one.utcoffset() == timedelta(0) for one in moments)


def test_a_copy_is_known_by_beamline_epn_and_destination(
    catalogue: Catalogue, copy: Copy, tmp_path: Path
) -> None:
    catalogue.record(claimed(catalogue, copy), attempt(Verdict.COMPLETE), SURVEY)
    others = [
        dataclasses.replace(copy, experiment=Experiment("saxs", copy.epn)),
        dataclasses.replace(copy, experiment=Experiment("mx", Epn("12282b"))),
        dataclasses.replace(copy, destination=tmp_path / "elsewhere"),
    ]
    assert [catalogue.copy_record(other) for other in others] == [None, None, None]
    moved = dataclasses.replace(copy, source="/data/12282a", project="other")
    assert record_of(catalogue, moved).listed == NOW


def test_what_a_service_told_last_is_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    for doing in ("waiting", "asking"):
        catalogue.tell("mxsync", since=NOW, doing=doing, next_look=None, trouble=None)
    catalogue.tell("other", since=NOW, doing="x", next_look=NOW, trouble="portal down")
    first, second = Catalogue.open_readonly(tmp_path / "catalogue.db").services()
    assert (first.name, first.doing, first.pid, first.alive) == (
        "mxsync",
        "asking",
        os.getpid(),
        True,
    )
    assert (second.next_look, second.trouble) == (NOW, "portal down")


@pytest.mark.parametrize("name", ["a b.db", "a?b#c%20d.db", "\u00fc;&.db", "file:x.db"])
def test_a_catalogue_may_have_any_name(tmp_path: Path, copy: Copy, name: str) -> None:
    claimed(Catalogue.open(tmp_path / name), copy)
    assert len(Catalogue.open_readonly(tmp_path / name).overview.copies()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_empty_file_is_a_catalogue_without_anything(tmp_path: Path, copy: Copy) -> None:
    path = tmp_path / "catalogue.db"
    path.touch()  # what a kill in the middle of making it leaves
    assert Catalogue.open_readonly(path).overview.copies() == []
    assert path.read_bytes() == b""
    claimed(Catalogue.open(path), copy)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone/catalogue.db", "catalogue.db cannot be written: .*/gone does not exist"),
        (".", "is a folder, not a file"),
    ],
)
def test_a_catalogue_that_cannot_be_made_is_named(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(CatalogueError, match=words) as caught:
        Catalogue.open(tmp_path / name)
    assert str(tmp_path) in caught.value.message


def test_a_link_to_a_network_file_system_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("local", "network"):
        (tmp_path / folder).mkdir()
    (tmp_path / "local" / "catalogue.db").symlink_to(tmp_path / "network" / "catalogue.db")

    def kind(path: Path) -> str | None:
        return "nfs4" if path.resolve().is_relative_to(tmp_path / "network") else None

    monkeypatch.setattr(sqlite_database, "network_file_system", kind)
    with pytest.raises(CatalogueError, match="nfs4"):
        Catalogue.open(tmp_path / "local" / "catalogue.db")
    assert list((tmp_path / "network").iterdir()) == []


def test_a_torn_page_is_an_error_and_no_wrong_answer(tmp_path: Path, copy: Copy) -> None:
    path = tmp_path / "catalogue.db"
    claimed(Catalogue.open(path), copy)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    for opening in (Catalogue.open, Catalogue.open_readonly):
        with pytest.raises(CatalogueError) as caught:
            opening(path).overview.copies()
        assert str(path) in caught.value.message
    assert path.read_bytes() == bytes(data)


OVER = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
40 22 0:50 / /a rw - xfs /dev/a rw
41 40 0:51 / /a/b rw master:7 propagate_from:2 - nfs4 server:/b rw
42 40 0:52 / /a rw - ext4 /dev/c rw
43 22 0:53 / /d rw - nfs server:/d rw
44 43 0:54 / /d/e\\011f\\134g rw - btrfs /dev/e rw
45 44 0:55 / /d/e\\011f\\134g rw - gpfs fs1 rw
46 22 0:56 / /mnt/a\\040-\\040b rw - lustre x rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"), ("/a", "ext4"), ("/a/b/x", "ext4"), ("/d", "nfs"), ("/d/e", "nfs"),
        ("/d/e\tf\\g/x", "gpfs"), ("/mnt/a - b/x", "lustre"), ("/mnt", "ext4"), ("/dd", "ext4"),
    ],
)  # fmt: skip
def test_the_mount_that_is_on_top_counts(path: str, kind: str) -> None:
    assert kind_at(OVER, Path(path)) == kind


MOVED = """\
25 27 0:24 / /home rw - nfs4 server:/home rw
26 27 0:25 / /run rw - tmpfs tmpfs rw
27 1 254:0 / / rw - ext4 /dev/vda rw
63 64 0:39 / /b/a rw - lustre r rw
64 27 0:40 / /b rw - xfs t rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "nfs4"), ("/run/asynchy", "tmpfs"), ("/opt", "ext4"), ("/b/a/x", "lustre"), ("/b/x", "xfs"),
    ],
)  # fmt: skip
def test_the_order_of_the_table_does_not_matter(path: str, kind: str) -> None:
    # A mount that was moved, as initramfs does, is listed before the one that it lies on.
    assert kind_at(MOVED, Path(path)) == kind


@pytest.mark.parametrize("odd", ["\x0c", "\x1d", "\x85", "\u2028", "\udcff"])
def test_an_odd_mount_point_does_not_break_the_table(odd: str) -> None:
    line = f"50 22 0:60 / /media/x{odd}y rw - vfat /dev/sdz rw\n"
    assert kind_at(MOUNTS + line, Path("/projects")) == "lustre"
    assert kind_at(MOUNTS + line, Path(f"/media/x{odd}y/z")) == "vfat"


def test_without_a_mount_there_is_no_kind() -> None:
    assert kind_at("", Path("/x")) is None
