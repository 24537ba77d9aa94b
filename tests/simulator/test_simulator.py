"""The simulated facility does what the tests of asynchy rely on."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from simulator.compare import compare_trees, mode_at_home
from simulator.experiments import (
    AWKWARD,
    awkward_names,
    big_sparse_file,
    many_small_files,
    mx_experiment,
)
from simulator.facility import Facility
from simulator.portal.handle import PortalHandle
from simulator.portal.state import ACCOUNT
from simulator.supervise import descendants
from tests.conftest import is_alive, wait_until

NOW = datetime.now(UTC).replace(microsecond=0)


def ssh(facility: Facility, *command: str) -> list[str]:
    return [
        "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={facility.known_hosts}",
        "-i", str(facility.key_file), "-p", str(facility.port), "-l", facility.user, facility.host, *command,
    ]  # fmt: skip


def test_sshd_lets_the_user_with_an_at_sign_in_and_offers_rsync_and_sftp(place: Path) -> None:
    with Facility(place / "facility") as facility:
        answer = subprocess.run(
            ssh(facility, "id -un; rsync --version"), capture_output=True, text=True, check=True
        )
        assert "rsync  version" in answer.stdout
        command = [*ssh(facility)[:-1], "-s", facility.host, "sftp"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sftp:
            assert sftp.stdin and sftp.stdout
            sftp.stdin.write(b"\0\0\0\5\1\0\0\0\3")  # SSH_FXP_INIT 3
            sftp.stdin.flush()
            assert sftp.stdout.read(9)[4:] == b"\2\0\0\0\3"  # SSH_FXP_VERSION 3
        assert "Accepted publickey" in facility.sshd_log()


def test_it_can_be_gone_and_come_back_on_the_same_port(place: Path) -> None:
    with Facility(place / "facility") as facility:
        port = facility.port
        facility.stop_sshd()
        assert (
            subprocess.run(ssh(facility, "true"), capture_output=True, check=False).returncode
            == 255
        )
        facility.start_sshd()
        assert facility.port == port
        assert (
            subprocess.run(ssh(facility, "true"), capture_output=True, check=False).returncode == 0
        )


def test_nothing_is_left_behind_a_session_that_runs_neither(place: Path) -> None:
    with (
        Facility(place / "facility") as facility,
        subprocess.Popen(ssh(facility, "sleep 1000")) as session,
    ):
        below = wait_until(lambda: sleeping(os.getpid()))
        facility.stop_sshd()
        session.wait(10)
    wait_until(lambda: not any(map(is_alive, below)))


def sleeping(root: int) -> set[int]:
    """The processes below one, once a `sleep` of a session is among them."""
    below = descendants(root)
    names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in below if is_alive(pid)}
    return below if "sleep" in names.values() else set()


def test_nothing_is_left_behind_where_the_parent_is_killed(place: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from simulator.facility import Facility\n"
        "with Facility(Path(sys.argv[1])): print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(place / "facility")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    ) as parent:  # fmt: skip
        assert parent.stdout is not None and parent.stdout.readline() == b"up\n"
        below = descendants(parent.pid)
        assert len(below) >= 3
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, below)))


@pytest.fixture
def portal() -> object:
    handle = PortalHandle()
    handle.start()
    yield handle
    handle.stop()


def log_in(portal: PortalHandle, **changes: str) -> dict[str, dict[str, str]]:
    account = {**ACCOUNT, **changes}
    form = {
        "grant_type": "password",
        "username": account["username"],
        "password": account["password"],
    }
    request = urllib.request.Request(
        f"{portal.url}/api/v1/oauth/token", urllib.parse.urlencode(form).encode()
    )
    basic = f"{account['client_name']}:{account['client_password']}".encode()
    request.add_header("Authorization", "Basic " + base64.b64encode(basic).decode())
    answer: dict[str, dict[str, str]] = json.load(urllib.request.urlopen(request))
    return answer


def visits(
    portal: PortalHandle, token: str, start: datetime, end: datetime, equipment: int = 23
) -> list[str]:
    query = urllib.parse.urlencode(
        {"access_token": token, "start_time": start.isoformat(), "end_time": end.isoformat()}
    )
    answer = json.load(
        urllib.request.urlopen(f"{portal.url}/api/v1/equipment/{equipment}/visits?{query}")
    )
    return [visit["epn"] for visit in answer["data"]["visits"]]


def test_the_portal_speaks_the_contract(portal: PortalHandle) -> None:
    for epn, start, end in (("1a", -60, -50), ("2b", -30, -20), ("3c", -5, 5)):
        portal.add_visit(
            equipment=23,
            epn=epn,
            start=NOW + timedelta(hours=start),
            end=NOW + timedelta(hours=end),
        )
    assert "invalid" in log_in(portal, password="wrong")["meta"]["error_message"]
    token = log_in(portal)["data"]["access_token"]
    ago = [NOW - timedelta(hours=hours) for hours in (25, 0)]
    assert visits(portal, token, *ago) == ["2b", "3c"]
    assert visits(portal, token, *ago, equipment=24) == []
    portal.filter_by("start")
    assert visits(portal, token, *ago) == ["3c"]
    assert [request.status for request in portal.requests()][-1] == 200


@pytest.mark.parametrize(
    ("start", "end", "status"),
    [
        (NOW - timedelta(days=40), NOW, 400),
        (NOW.replace(tzinfo=None) - timedelta(days=1), NOW, 400),
    ],
)
def test_the_portal_is_strict_with_times(
    portal: PortalHandle, start: datetime, end: datetime, status: int
) -> None:
    token = log_in(portal)["data"]["access_token"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        visits(portal, token, start, end)
    assert caught.value.code == status
    caught.value.close()


def test_tokens_expire(portal: PortalHandle) -> None:
    token = log_in(portal)["data"]["access_token"]
    portal.expire_tokens()
    with pytest.raises(urllib.error.HTTPError) as caught:
        visits(portal, token, NOW, NOW)
    assert caught.value.code == 401
    caught.value.close()


def test_made_experiments_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        mx_experiment(tmp_path / name, "12282a", frames=3, frame_bytes=1000)
        many_small_files(tmp_path / name / "small", 250, seed=5)
    shutil.copytree(
        tmp_path / "one",
        tmp_path / "copy",
        symlinks=True,
        ignore=lambda _folder, names: [n for n in names if n == "pipe"],
    )
    listed = [
        sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*"))
        for name in ("one", "two")
    ]
    assert listed[0] == listed[1] and len(listed[0]) > 270
    for relative in listed[0]:
        one, two = tmp_path / "one" / relative, tmp_path / "two" / relative
        if one.is_file() and not one.is_symlink():
            assert one.read_bytes() == two.read_bytes()


def test_awkward_names_are_all_there(tmp_path: Path) -> None:
    awkward_names(tmp_path)
    found = os.listdir(os.fsencode(tmp_path / "awkward"))
    assert set(AWKWARD) < set(found)
    assert max(map(len, found)) == 255


def test_a_big_file_is_sparse(tmp_path: Path) -> None:
    big_sparse_file(tmp_path / "image.sqfs")
    status = (tmp_path / "image.sqfs").stat()
    assert status.st_size > 4 * 2**30
    assert status.st_blocks * 512 < 10**6


def pair(folder: Path) -> tuple[Path, Path]:
    for name in ("source", "copy"):
        (folder / name / "d").mkdir(parents=True)
        (folder / name / "d" / "f").write_bytes(b"abc")
        (folder / name / "d" / "f").chmod(0o664)
        (folder / name / "d").chmod(0o2774)
        (folder / name).chmod(0o2774)
        for path in (folder / name / "d" / "f", folder / name / "d", folder / name):
            os.utime(path, (1000, 1000))
    return folder / "source", folder / "copy"


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda copy: (copy / "d" / "f").write_bytes(b"abX"), "other bytes"),
    (lambda copy: (copy / "d" / "f").write_bytes(b"ab"), "3 bytes there, 2 here"),
    (lambda copy: (copy / "d" / "f").unlink(), "missing"),
    (lambda copy: (copy / "g").write_bytes(b""), "not in the source"),
    (lambda copy: (copy / ".g").write_bytes(b""), "not in the source"),
    (lambda copy: (copy / "d" / "f").chmod(0o600), "mode 600 and not 664"),
    (lambda copy: (copy / "d").chmod(0o774), "mode 774 and not 2774"),
    (lambda copy: os.utime(copy / "d" / "f", (1001, 1001)), "modified at"),
]


@pytest.mark.parametrize(("change", "word"), CHANGES, ids=[word for _, word in CHANGES])
def test_every_difference_is_found(
    tmp_path: Path, change: Callable[[Path], object], word: str
) -> None:
    source, copy = pair(tmp_path)
    assert compare_trees(source, copy) == []
    change(copy)
    assert any(word in line for line in compare_trees(source, copy))


def test_what_is_not_brought_home_is_no_difference(tmp_path: Path) -> None:
    source, copy = pair(tmp_path)
    (source / "d" / ".hidden").write_bytes(b"x")
    (source / "d" / "link").symlink_to("f")
    os.mkfifo(source / "d" / "pipe")
    os.utime(source / "d", (1000, 1000))
    assert compare_trees(source, copy) == []
    (source / ".info").write_bytes(b"x")
    assert any(".info" in line for line in compare_trees(source, copy))


@pytest.mark.parametrize(
    ("there", "here"),
    [(0o100400, 0o620), (0o100444, 0o664), (0o104755, 0o774), (0o102755, 0o774), (0o100001, 0o220),
     (0o040555, 0o2774), (0o041777, 0o2774), (0o040700, 0o2730)],
)  # fmt: skip
def test_modes_at_home(there: int, here: int) -> None:
    assert mode_at_home(there) == here
