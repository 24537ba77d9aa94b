from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

import asynchy.catalogue
from asynchy.catalogue import Catalogue, IgnoreList, database, process
from asynchy.catalogue.database import Database
from asynchy.catalogue.filesystem import kind_at
from asynchy.catalogue.schema import REVISION, metadata
from asynchy.config.edit import edit
from asynchy.config.tree import parse
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


@pytest.mark.parametrize(
    "text", ["#ours\n", "## ours\n", "#   ours\n", "#\n# ours\n", "#1a\n\n  #2b\n", "#!/x\n"]
)
def test_a_file_of_comments_of_any_style_can_be_added_to(ignore: IgnoreList, text: str) -> None:
    ignore.path.write_text(text)
    ignore.add(Epn("9a"))
    assert ignore.read() == {"9a"}
    assert [
        w for w in text.split() if w.strip("#") and w.strip("#") not in ignore.path.read_text()
    ] == []


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
    def add(at: int) -> None:
        for x in range(10):
            ignore.add(Epn(f"{at}{x}a"))

    threads = [threading.Thread(target=add, args=[at]) for at in (1, 2, 3)]
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
        assert other.wait(60) == 0
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
        chosen="engine: rsync", check="transport", compare="time", verdict=verdict, exit_code=0, files=3, bytes=99,
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
    with Database.open(tmp_path / "catalogue.db").transaction() as connection:
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
        before = path.read_bytes()
        with pytest.raises(CatalogueError, match=r"another version of asynchy.*9999") as caught:
            opening(path)
        assert caught.value.hint
        assert path.read_bytes() == before
        assert not list(tmp_path.glob("catalogue.db.*"))


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


# More of the ignore list


def comments_lost(before: str, after: str) -> list[str]:
    return [part for part in before.split("#")[1:] if part.split("\n")[0] not in after]


@pytest.mark.parametrize(
    "text",
    [
        "previouslySynched:\n- 1a # why\n- 2b\n# why not\n",
        "previouslySynched: # why\n- 1a\n\n# why not\n\n- 2b\nother: x\n",
        "# why\n\npreviouslySynched: [1a, 2b]\n",
        "previouslySynched: [1a, 2b]\n# why\n",
        "previouslySynched: [1a, 2b] # why\n",
        "#why\n\n  # why not\nother: 1 # or so\npreviouslySynched:\n    # first\n    - 1a\n    - 2b\n",
    ],
)
def test_every_comment_and_entry_is_kept(ignore: IgnoreList, text: str) -> None:
    ignore.path.write_text(text)
    for epn in ("9a", "10a"):
        ignore.add(Epn(epn))
    assert ignore.read() == {"1a", "2b", "9a", "10a"}
    assert comments_lost(text, ignore.path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "previouslySynched: [1a, # why\n  2b]\n",
        "previouslySynched: [1a,\n  2b # why\n  ]\n",
        "previouslySynched: [\n  1a, # why\n  2b, # or not\n]\n",
        "previouslySynched: [ # why\n  1a, 2b]\n",
    ],
)
def test_a_comment_within_brackets_is_kept_or_the_file_is_refused(
    ignore: IgnoreList, text: str
) -> None:
    ignore.path.write_text(text)
    try:
        ignore.add(Epn("9a"))
    except IgnoreListError as error:
        assert "comment" in error.message
        assert ignore.path.read_text() == text
    else:
        assert ignore.read() == {"1a", "2b", "9a"}
        assert comments_lost(text, ignore.path.read_text()) == []


@pytest.mark.parametrize(
    "entry", ["0123", "1_000", "0x1F", "0o17", "12e5", "1.50", "yes", "2026-01-01", "'123'", '"1a"']
)
def test_an_entry_of_any_look_is_kept_to_the_letter(ignore: IgnoreList, entry: str) -> None:
    ignore.path.write_text(f"previouslySynched:\n- {entry}\n")
    ignore.add(Epn("9a"))
    assert ignore.path.read_text() == f"previouslySynched:\n- {entry}\n- 9a\n"


@pytest.mark.parametrize(
    ("there", "added"), [("0123", "123"), ("0123", "0123"), ("1234", "1234"), ("'1234'", "1234"), ("' 1a '", "1a")]
)  # fmt: skip
def test_an_epn_is_in_the_list_exactly_once_after_it_was_added(
    ignore: IgnoreList, there: str, added: str
) -> None:
    ignore.path.write_text(f"previouslySynched: [{there}]\n")
    ignore.add(Epn(added))
    assert added in ignore.read()
    once = ignore.path.read_text()
    ignore.add(Epn(added))
    assert ignore.path.read_text() == once
    read = parse(once).data
    assert isinstance(read, dict) and isinstance(read["previouslySynched"], list)
    assert len(read["previouslySynched"]) == len(ignore.read())


@pytest.mark.parametrize(
    "text",
    [
        "previouslySynched: {}\n",
        'previouslySynched: ""\n',
        "previouslySynched: [1a]\npreviouslySynched: [2b]\n",
        "previouslySynched: [1a, ~]\n",
        "previouslySynched: {1a: 2b}\n",
        "previouslySynched: &x [*x]\n",
        "previouslySynched: [*nobody]\n",
        "previouslySynched: [1a]\n---\nprevious: [2b]\n",
        "\tpreviouslySynched: [1a]\n",
    ],
)
def test_reading_and_adding_refuse_the_same_files(ignore: IgnoreList, text: str) -> None:
    ignore.path.write_text(text)
    found = []
    for action in (ignore.read, lambda: ignore.add(Epn("9a"))):
        try:
            action()
        except IgnoreListError as error:
            assert str(ignore.path) in error.message
            found.append("refused")
    assert found in ([], ["refused", "refused"])
    if found:
        assert ignore.path.read_text() == text


def test_an_ignore_list_that_is_no_text_is_refused_and_stays(ignore: IgnoreList) -> None:
    ignore.path.write_bytes(b"previouslySynched: [\xff]\n")
    for action in (ignore.read, lambda: ignore.add(Epn("9a"))):
        with pytest.raises(IgnoreListError, match="not UTF-8"):
            action()
    assert ignore.path.read_bytes() == b"previouslySynched: [\xff]\n"


def test_an_ignore_list_that_is_a_folder_is_refused(ignore: IgnoreList) -> None:
    ignore.path.mkdir()
    for action in (ignore.read, lambda: ignore.add(Epn("9a"))):
        with pytest.raises(IgnoreListError, match="Is a directory"):
            action()


def test_an_ignore_list_in_no_folder_is_empty_and_cannot_be_written(tmp_path: Path) -> None:
    ignore = IgnoreList(tmp_path / "gone" / "ignore.yml")
    assert ignore.read() == frozenset()
    with pytest.raises(IgnoreListError, match="cannot be written: No such file") as caught:
        ignore.add(Epn("9a"))
    assert caught.value.hint and str(tmp_path / "gone") in caught.value.hint


def test_a_link_that_leads_nowhere_yet_is_written_through(
    ignore: IgnoreList, tmp_path: Path
) -> None:
    ignore.path.symlink_to("real.yml")
    assert ignore.read() == frozenset()
    ignore.add(Epn("9a"))
    assert ignore.path.is_symlink()
    assert (tmp_path / "real.yml").read_text() == "previouslySynched:\n- 9a\n"


def test_nothing_but_the_lock_stays_beside_the_ignore_list(
    ignore: IgnoreList, tmp_path: Path
) -> None:
    ignore.add(Epn("9a"))
    ignore.add(Epn("9a"))
    ignore.path.write_text("previouslySynched: {broken\n")
    with pytest.raises(IgnoreListError):
        ignore.add(Epn("10a"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ignore.yml.lock", "ignore.yml"]


def test_a_change_that_fails_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("previouslySynched: [1a]\n")

    def change(data: dict[str, list[str]]) -> bool:
        data["previouslySynched"].clear()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        edit(path, change)
    assert path.read_text() == "previouslySynched: [1a]\n"
    assert edit(path, lambda _data: False) is False


def test_a_file_that_never_stops_changing_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("n: []\n")
    calls = []

    def change(data: dict[str, list[str]]) -> bool:
        calls.append(data)
        path.write_text("n: [" + "x, " * len(calls) + "]\n")
        return True

    with pytest.raises(TimeoutError, match="kept changing"):
        edit(path, change)
    assert path.read_text().count("x") == len(calls) < 100
    assert sorted(one.name for one in tmp_path.iterdir()) == [".ignore.yml.lock", "ignore.yml"]


def test_a_file_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("previouslySynched: [1a]\n")
    seen = []

    def change(data: dict[str, list[str]]) -> bool:
        seen.append(dict(data))
        path.unlink(missing_ok=True)
        data["previouslySynched"] = ["9a"]
        return True

    assert edit(path, change)
    assert seen == [{"previouslySynched": ["1a"]}, {}]
    assert path.read_text() == "previouslySynched:\n- 9a\n"


def test_a_lock_that_is_never_given_up_is_named(
    ignore: IgnoreList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynchy.config.edit._LOCK_WAIT", 0.1)
    ignore.add(Epn("1a"))
    with (tmp_path / ".ignore.yml.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(IgnoreListError, match=r"another process keeps .* locked"):
            ignore.add(Epn("9a"))
    assert ignore.read() == {"1a"}


entries_ = st.lists(
    st.from_regex(r"[0-9]{1,6}[A-Za-z]{0,2}", fullmatch=True), max_size=5, unique=True
)
comments_ = st.sampled_from(["", "  # why", "\n", "\n# between\n\n"])


@settings(max_examples=25)
@given(
    entries_,
    st.data(),
    st.sampled_from(["", "  ", "    "]),
    st.from_regex(r"[0-9]{1,6}[A-Za-z]{1,2}", fullmatch=True),
)
def test_adding_to_any_list_adds_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[str],
    data: st.DataObject,
    indent: str,
    epn: str,
) -> None:
    ignore = IgnoreList(tmp_path_factory.getbasetemp() / "any-ignore.yml")
    lines = [f"{indent}- {entry}{data.draw(comments_)}" for entry in found]
    ignore.path.write_text("\n".join(["# ours", "previouslySynched:", *lines, ""]))
    before = [line.strip() for line in ignore.path.read_text().splitlines() if line.strip()]
    ignore.add(Epn(epn))
    after = [line.strip() for line in ignore.path.read_text().splitlines() if line.strip()]
    assert ignore.read() == {*found, epn}
    added = [] if epn in found else [f"- {epn}"]
    assert sorted(line.replace("'", "") for line in after) == sorted(before + added)


# More of the catalogue


def test_the_claim_of_a_process_that_died_unreaped_is_taken_over(
    catalogue: Catalogue, copy: Copy, tmp_path: Path
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from asynchy.catalogue import Catalogue\n"
        "from asynchy.domain.epn import Epn; from asynchy.domain.experiment import Copy, Experiment\n"
        "p = Path(sys.argv[1])\n"
        "c = Copy(Experiment('mx', Epn('12282a')), 'ny79', '/data/mx/12282a', p / 'ny79', p / 'ny79' / '12282a' / 'data')\n"
        "Catalogue.open(p / 'catalogue.db').claim(c); os._exit(1)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet waited for
        assert catalogue.history(copy).claim is None
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
    assert (catalogue.history(copy).claim is None) == stale
    assert (catalogue.status()[0].claim is None) == stale
    found = catalogue.claim(copy)
    assert (found == number) == stale
    verdicts = [one.verdict for _, one in catalogue.history_of("12282a")]
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
    ((_, interrupted),) = catalogue.history_of("12282a")
    assert interrupted.ended >= interrupted.started


def test_of_many_at_once_one_gets_the_claim(catalogue: Catalogue, copy: Copy) -> None:
    gate = threading.Barrier(8)
    found: list[int | Claim] = []

    def claim() -> None:
        gate.wait()
        found.append(catalogue.claim(copy))

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
    assert catalogue.history(copy).completed_listing == NOW
    (status,) = catalogue.status()
    assert (status.completed, status.files, status.attempts) == (NOW + timedelta(minutes=5), 4, 3)
    assert status.last is not None and status.last.verdict is Verdict.STOPPED
    catalogue.record(number, attempt(Verdict.COMPLETE, NOW + timedelta(hours=3)), later)
    assert catalogue.history(copy).completed_listing == later.listed_at


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
    found = catalogue.history_of("12282a")
    assert found == [(str(copy.destination), whole), (str(copy.destination), nothing)]
    assert {one.started.utcoffset() for _, one in found} == {timedelta(0)}


def test_every_time_that_is_read_has_a_zone(catalogue: Catalogue, copy: Copy) -> None:
    number = claimed(catalogue, copy)
    catalogue.record(number, attempt(Verdict.COMPLETE), SURVEY)
    (status,) = catalogue.status()
    assert status.claim is not None and status.last is not None and status.completed is not None
    moments = [status.completed, status.claim.since, status.claim.heartbeat, status.last.listed_at]
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
    assert [catalogue.history(other).attempts for other in others] == [0, 0, 0]
    moved = dataclasses.replace(copy, source="/data/12282a", project="other")
    assert catalogue.history(moved).completed_listing == NOW


def test_what_a_service_told_last_is_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    for doing in ("waiting", "asking"):
        catalogue.tell("mxsync", since=NOW, doing=doing, next_look=None, trouble=None)
    catalogue.tell("other", since=NOW, doing="x", next_look=NOW, trouble="portal down")
    first, second = Catalogue.peek(tmp_path / "catalogue.db").services()
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
    assert len(Catalogue.peek(tmp_path / name).status()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_empty_file_is_a_catalogue_without_anything(tmp_path: Path, copy: Copy) -> None:
    path = tmp_path / "catalogue.db"
    path.touch()  # what a kill in the middle of making it leaves
    assert Catalogue.peek(path).status() == []
    assert path.read_bytes() == b""
    claimed(Catalogue.open(path), copy)


@pytest.mark.parametrize("name", ["gone/catalogue.db", "."])
def test_a_catalogue_that_cannot_be_made_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogueError, match="unable to open database file") as caught:
        Catalogue.open(tmp_path / name)
    assert str(tmp_path) in caught.value.message


def test_a_catalogue_of_an_older_version_is_backed_up_and_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    config = Config()
    folder = Path(asynchy.catalogue.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO experiments VALUES (1, 'mx', '12282a', '12282', '/d', '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
        )
        connection.exec_driver_sql(
            "INSERT INTO copies VALUES (1, 1, 'ny79', '/p/data', NULL, '2026-01-02 03:04:05', 7, 8, 'f')"
        )
    engine.dispose()
    with pytest.raises(CatalogueError, match=r"schema 0001"):
        Catalogue.peek(path)
    (status,) = Catalogue.open(path).status()
    assert (status.epn, status.files, status.bytes) == ("12282a", 7, 8)
    old = sqlite3.connect(tmp_path / "catalogue.db.0001")
    assert old.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    assert old.execute("SELECT epn FROM experiments").fetchall() == [("12282a",)]
    old.close()


def test_a_link_to_a_network_file_system_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("local", "network"):
        (tmp_path / folder).mkdir()
    (tmp_path / "local" / "catalogue.db").symlink_to(tmp_path / "network" / "catalogue.db")

    def kind(path: Path) -> str | None:
        return "nfs4" if path.resolve().is_relative_to(tmp_path / "network") else None

    monkeypatch.setattr(database, "network_file_system", kind)
    with pytest.raises(CatalogueError, match="nfs4"):
        Catalogue.open(tmp_path / "local" / "catalogue.db")
    assert list((tmp_path / "network").iterdir()) == []


def test_a_torn_page_is_an_error_and_no_wrong_answer(tmp_path: Path, copy: Copy) -> None:
    path = tmp_path / "catalogue.db"
    claimed(Catalogue.open(path), copy)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    for opening in (Catalogue.open, Catalogue.peek):
        with pytest.raises(CatalogueError) as caught:
            opening(path).status()
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
