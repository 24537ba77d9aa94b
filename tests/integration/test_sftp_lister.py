"""Listing over SFTP: few round trips, and a clear word whatever the server does."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from asynchy.errors import (
    HostKeyRefused,
    ListingError,
    ListingRefused,
    SftpNotOffered,
    Stopped,
)
from asynchy.facility.folder_queue import Folder, FolderError
from asynchy.facility.lister import list_experiment
from asynchy.facility.sftp_lister import MAX_DEPTH, crawl
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Entry, EntryKind
from asynchy.ssh import idle_pool
from asynchy.ssh.rsync import runner
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerFacts, ServerSession
from asynchy.ssh.sftp import connection
from simulator.experiments import awkward_names, mx_experiment
from simulator.facility import Facility
from tests.conftest import give, wait_until

SERVER = Path(__file__).parents[1] / "tools" / "sftp_server.py"
TOP = Folder(7, b"/top")


class Heard:
    """Keeps what a crawl tells."""

    def __init__(self) -> None:
        self.found: list[Entry] = []
        self.listed: list[bytes] = []
        self.refused: dict[bytes, FolderError] = {}
        self.lock = threading.Lock()

    def enters(self, path: bytes) -> bool:
        return True

    def top(self, folder: Folder, entry: Entry) -> None:
        assert (folder.path, entry.path, entry.kind) == (b".", b".", EntryKind.FOLDER)

    def entries(self, folder: Folder, entries: Sequence[Entry]) -> None:
        assert folder.tag == TOP.tag
        with self.lock:
            self.found += entries

    def ended(self, folder: Folder) -> None:
        with self.lock:
            self.listed.append(folder.path)

    def failed(self, folder: Folder, refused: FolderError) -> None:
        with self.lock:
            self.refused[folder.path] = refused

    @property
    def files(self) -> int:
        return sum(entry.kind is EntryKind.FILE for entry in self.found)


Scripted = Callable[..., Server]


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """A server that does as a scenario says, reached as ssh would reach one."""

    def make(scenario: str, timeout: int = 20, **numbers: int | Path) -> Server:
        idle_pool.close_all()  # of another scenario
        (tmp_path / "ssh").unlink(missing_ok=True)
        (tmp_path / "ssh").symlink_to(SERVER)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        for name, value in {"SCENARIO": scenario, **numbers}.items():
            monkeypatch.setenv(name, str(value))
        return Server(host="scripted", user="nobody", timeout=timeout)

    return make


def listed(remote: Server, *, connections: int = 1, stop: Stop | None = None) -> Heard:
    heard = Heard()
    crawl(ServerSession(remote), [TOP], heard, stop or Stop(), connections=connections)
    return heard


def test_round_trips_go_with_the_depth_and_not_with_the_folders(
    scripted: Scripted, tmp_path: Path
) -> None:
    rounds = {}
    for folders in (200, 2000):
        told = tmp_path / f"rounds-{folders}"
        remote = scripted("invented", FOLDERS=folders, FILES=50, ROUNDS=told)
        heard = listed(remote)
        assert (heard.files, len(heard.listed)) == (50 * folders, folders + 1)
        rounds[folders] = int(told.read_text())
    # hello, limits, open, the top's entries (20 answers of 100), then open and read in two batches
    # (a server that is as near as this one may find nothing to do while more is on its way)
    assert rounds[2000] <= 24
    assert rounds[2000] - rounds[200] <= 16


def test_several_connections_share_the_work(scripted: Scripted) -> None:
    heard = listed(scripted("invented", FOLDERS=300, FILES=5), connections=3)
    assert (heard.files, len(heard.listed), heard.refused) == (1500, 301, {})
    assert len({entry.path for entry in heard.found}) == len(heard.found)


def test_a_connection_that_is_still_being_made_holds_up_no_end(
    scripted: Scripted, tmp_path: Path
) -> None:
    remote = scripted("invented", timeout=600, FOLDERS=5, FILES=5)
    connecting = tmp_path / "connecting"

    class Slow(Heard):
        def ended(self, folder: Folder) -> None:
            """The next connection gets nowhere; go on once it is being made."""
            if not connecting.exists():
                script = tmp_path / "slow"
                script.write_text(f"#!/bin/sh\ntouch {connecting}\nexec sleep 900\n")
                script.chmod(0o755)
                script.rename(tmp_path / "ssh")
                wait_until(connecting.exists)
            super().ended(folder)

    heard = Slow()
    crawl(ServerSession(remote), [TOP], heard, Stop(), connections=2)
    assert heard.files == 25


@pytest.mark.parametrize("scenario", ["shuffled", "no limits"])
def test_answers_in_any_order_and_without_limits_are_fine(
    scripted: Scripted, scenario: str
) -> None:
    heard = listed(scripted(scenario, FOLDERS=5, FILES=250))
    assert heard.files == 5 * 250


def test_a_server_that_can_open_few_folders_is_asked_for_fewer(scripted: Scripted) -> None:
    heard = listed(scripted("no limits", FOLDERS=300, FILES=3, MOST_OPEN=20))
    assert (heard.files, heard.refused) == (900, {})


def test_a_folder_that_cannot_be_opened_is_told_and_the_rest_listed(scripted: Scripted) -> None:
    heard = listed(scripted("broken folder", FOLDERS=30, FILES=3))
    assert heard.files == 90
    assert list(heard.refused) == [b"broken"]
    assert heard.refused[b"broken"].reason == "the server reports: input/output error (4)"


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("truncated", "scripted: the SFTP connection was ended"),
        ("4 GiB", "an invalid SFTP response: a packet of 4,294,967,295 bytes"),
        ("twice", "which waits for none"),
        ("death", "scripted: the connection to the server was lost"),
        ("odd death", "scripted: the SFTP connection was ended: the tape has run out"),
        ("wrong type", "Data in answer to a question about a folder"),
        ("banner", "the login shell of nobody at scripted prints text where SFTP is to begin"),
        ("old version", "no SFTP of version 3"),
        ("silence", "the server sent nothing for 1 s"),
        ("mute", "the server sent nothing for 1 s"),
    ],
)
def test_a_server_that_speaks_no_proper_sftp_is_an_error_in_words(
    scripted: Scripted, scenario: str, words: str
) -> None:
    remote = scripted(scenario, timeout=1 if scenario in ("silence", "mute") else 20)
    with pytest.raises(ListingError) as raised:
        listed(remote)
    assert words in str(raised.value)
    assert raised.value.transient


def test_one_connection_that_breaks_ends_the_others(scripted: Scripted) -> None:
    with pytest.raises(ListingError):
        listed(scripted("death", FOLDERS=100), connections=3)


def test_names_that_lead_out_are_refused_with_their_folder(scripted: Scripted) -> None:
    heard = listed(scripted("odd names"))
    assert [entry.path for entry in heard.found] == [b"good"]
    assert "leads out of the experiment" in heard.refused[b"."].reason


def test_a_file_without_a_size_is_not_of_size_0(scripted: Scripted) -> None:
    heard = listed(scripted("no attributes"))
    assert heard.found == []
    assert heard.refused[b"."].reason == "the server does not report what file is"


def test_file_of_which_the_server_says_nothing_keeps_its_folder_back_alone(
    scripted: Scripted,
) -> None:
    heard = listed(scripted("one without attributes", FOLDERS=3, FILES=2))
    (refused,) = heard.refused.items()
    assert refused[0] == b"d00001"
    assert (refused[1].alone, refused[1].reason) == (
        True,
        "the server does not report what file is",
    )
    assert heard.files == 5


def test_an_endless_tree_ends(scripted: Scripted) -> None:
    heard = listed(scripted("endless"))
    (deepest,) = heard.refused
    assert deepest.count(b"/") + 1 == MAX_DEPTH
    assert "more than 128 folders" in heard.refused[deepest].reason


def test_a_stop_is_heard_while_the_server_is_silent(scripted: Scripted) -> None:
    stop = Stop()
    threading.Timer(0.3, stop.request).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        listed(scripted("mute"), stop=stop)
    assert time.monotonic() - began < 15  # of the 20 after which the server is given up


def test_a_server_without_sftp_is_told_apart_from_one_that_is_gone(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SftpNotOffered):
        listed(scripted("no subsystem"))
    monkeypatch.undo()
    with socket.socket() as unused, pytest.raises(ListingError) as raised:
        unused.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        port = unused.getsockname()[1]
        listed(Server(host="127.0.0.1", user="nobody", port=port))
    assert not isinstance(raised.value, SftpNotOffered)
    assert "the server refused the connection" in str(raised.value)


def remote_of(facility: Facility) -> Server:
    return Server(
        host=facility.host,
        user=facility.user,
        port=facility.port,
        key_file=facility.key_file,
        known_hosts=facility.known_hosts,
    )


def session_of(facility: Facility) -> ServerSession:
    return ServerSession(remote_of(facility))


def both_ways(
    session: ServerSession, source: Path, *, dot_files: bool = False
) -> tuple[list[Entry], list[Entry]]:
    """An experiment as SFTP and as rsync list it, without what only folders differ in."""
    by_sftp: list[Entry] = []
    by_rsync: list[Entry] = []
    list_experiment(session, str(source), by_sftp.append, Stop(), dot_files=dot_files)
    runner.list_tree(session.server, str(source), by_rsync.append, Stop(), dot_files=dot_files)

    def comparable(entries: list[Entry]) -> list[Entry]:
        folderless = [
            Entry(e.kind, e.path, 0, 0, 0) if e.kind is not EntryKind.FILE else e for e in entries
        ]
        return sorted(folderless, key=lambda entry: entry.path)

    return comparable(by_sftp), comparable(by_rsync)


def test_sftp_and_rsync_list_the_same(facility: Facility) -> None:
    session = session_of(facility)
    source = facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=3000)
    awkward_names(source)
    os.mkfifo(source / "a-fifo")
    (source / "a-link").symlink_to("frames")
    (source / "a-loop").symlink_to(".")
    (source / "empty").mkdir()
    (source / ".hidden-folder").mkdir()
    (source / ".hidden-folder" / "file").write_text("of no worth")
    (source / ".hidden-folder" / ".info").mkdir()
    (source / ".asynchy-data").mkdir()
    (source / ".asynchy-data" / "file").write_text("named like our own")
    (source / "frames" / ".link").symlink_to("a")
    (source / ".hidden").write_text("of no worth")
    os.utime(source / "frames" / ".info", (1, 2**31 + 5))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(source / "a-socket"))
    give(source)
    all_by_sftp, all_by_rsync = both_ways(session, source, dot_files=True)
    assert all_by_sftp == all_by_rsync
    left_out = {entry.path for entry in all_by_sftp if entry.kind is EntryKind.DOT_FILE}
    assert left_out == {b".asynchy-data"}
    assert {b".hidden-folder/file", b".hidden-folder/.info"} <= {one.path for one in all_by_sftp}

    (source / ".hidden-folder").chmod(0)  # it is not looked into
    by_sftp, by_rsync = both_ways(session, source)
    (source / ".hidden-folder").chmod(0o755)
    assert by_sftp == by_rsync
    paths = {entry.path for entry in by_sftp}
    assert {b"a-fifo", b"a-link", b"a-loop", b"a-socket", b"empty", b"frames/.info"} <= paths
    left_out = {entry.path for entry in by_sftp if entry.kind is EntryKind.DOT_FILE}
    assert left_out == {
        b".asynchy-data", b".hidden", b".hidden-folder", b"frames/.link",
        b"home/ada/.cache", b"home/ada/.bash_history",
    }  # fmt: skip
    assert not any(path.startswith((b".hidden-folder/", b".asynchy-data/")) for path in paths)
    assert session.facts.offers_sftp


@pytest.mark.parametrize("way", ["sftp", "rsync"])
def test_a_folder_that_may_not_be_read_is_named_and_the_rest_listed(
    facility: Facility, way: str
) -> None:
    session = ServerSession(remote_of(facility), ServerFacts(offers_sftp=way == "sftp"))
    source = facility.experiment("mx", "12282a")
    modes = {"closed": 0, "not-listed": 0o300, "not-searched": 0o400, "open": 0o500}
    for name in modes:
        (source / "a" / name).mkdir(parents=True)
        (source / "a" / name / "file").write_text("x")
    give(source)
    for name, mode in modes.items():
        (source / "a" / name).chmod(mode)
    found: list[Entry] = []
    unlisted = list_experiment(session, str(source), found.append, Stop())
    reasons = {folder.path: folder.reason for folder in unlisted}
    assert reasons[b"a/closed"] == reasons[b"a/not-listed"] == "it may not be read (EACCES)"
    assert reasons.keys() == {b"a/closed", b"a/not-listed", b"a/not-searched"}
    assert [e.path for e in found if e.kind is EntryKind.FILE] == [b"a/open/file"]
    folders = {e.path for e in found if e.kind is EntryKind.FOLDER}
    assert folders == {b".", b"a", *(f"a/{name}".encode() for name in modes)}
    source.chmod(0)
    with pytest.raises(ListingRefused):
        list_experiment(session, str(source), found.append, Stop())
    source.chmod(0o755)


def test_without_sftp_rsync_lists(facility: Facility, caplog: pytest.LogCaptureFixture) -> None:
    session = session_of(facility)
    facility.stop_sshd()
    facility.offers_sftp = False
    facility.start_sshd()
    source = facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=300)
    give(source)
    with caplog.at_level("INFO"):
        by_sftp, by_rsync = both_ways(session, source)
        both_ways(session, source)
    assert by_sftp == by_rsync
    said = [record for record in caplog.records if "offers no SFTP" in record.message]
    assert len(said) == 1


def logins(facility: Facility) -> int:
    return facility.sshd_log().count("Accepted publickey")


def test_a_listing_goes_on_with_the_connection_of_the_one_before(facility: Facility) -> None:
    source = facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=3000)
    before = logins(facility)
    session = session_of(facility)
    for _ in range(3):
        list_experiment(session, str(source), lambda _entry: None, Stop())
    assert logins(facility) == before + 1


def test_a_connection_that_was_lost_while_nobody_used_it_is_made_anew(
    facility: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_PROBE_AFTER", 0.0)
    source = facility.experiment("mx", "12282a")
    session = session_of(facility)
    list_experiment(session, str(source), lambda _entry: None, Stop())
    facility.stop_sshd()
    facility.start_sshd()
    found: list[Entry] = []
    list_experiment(session, str(source), found.append, Stop())
    assert found


def test_a_connection_that_was_begun_is_the_one_that_lists(facility: Facility) -> None:
    source = facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    give(source)
    before = facility.sshd_log().count("Accepted publickey")
    session = session_of(facility)
    session.begin()
    found: list[Entry] = []
    list_experiment(session, str(source), found.append, Stop())
    assert found
    assert session.facts.round_trip is not None
    assert facility.sshd_log().count("Accepted publickey") - before == 1


def test_what_is_wrong_with_a_connection_that_was_begun_is_heard_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = tmp_path / "tries"
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f'#!/bin/sh\ncase "$*" in *-G*) exit;; esac\necho >> {tries}\n'
        "echo 'Host key verification failed.' >&2\nexit 255\n"
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    session = ServerSession(Server(host="begun", user="nobody"))
    session.begin()
    wait_until(tries.exists)
    with pytest.raises(HostKeyRefused):
        list_experiment(session, "/data/mx/12282a", lambda _entry: None, Stop())
    assert tries.read_text() == "\n"


def test_where_nobody_asks_what_was_begun_is_closed(facility: Facility) -> None:
    session = session_of(facility)
    session.begin()
    idle_pool.close_all()
    wait_until(lambda: "ssh" not in children())


def children() -> list[str]:
    """The names of the processes of this one."""
    found = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(OSError):  # a thread, or a process, has just ended
            for pid in (task / "children").read_text().split():
                with suppress(OSError):
                    found.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return found
