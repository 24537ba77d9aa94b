"""Servers and ssh_configs that differ from OpenSSH's defaults, and what ssh itself has to say."""

from __future__ import annotations

import itertools
import os
import select
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.experiments import mx_experiment
from tests.conftest import Home, give
from tests.tools.proftpd import proftpd

REFUSED = "the server refused the SSH key"
ALARM = "Host key verification failed."
SFTP_SERVER = "/usr/lib/openssh/sftp-server"


def prepared(home: Home, *, files: int = 0) -> Path:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    for number in range(files):
        (source / f"small{number}").write_text(str(number))
    give(source)
    home.visit("12282a")
    return source


def restart(home: Home, *settings: str) -> None:
    """Have sshd run with these lines in its config, too."""
    home.facility.stop_sshd()
    home.facility.sshd_settings = [*settings]
    home.facility.start_sshd()


def script(home: Home, line: str) -> str:
    """An SFTP server that does something first, and tells no limits."""
    path = home.facility.folder / "server"
    path.write_text(f"#!/bin/sh\n{line}\nexec {SFTP_SERVER} -P limits\n")
    path.chmod(0o755)
    return str(path)


def new_key(home: Home) -> Path:
    key = home.place / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


def with_ssh_config(home: Home, text: str) -> dict[str, str]:
    """An environment in which ssh has this config, as a person's ~/.ssh/config is."""
    config = home.place / "ssh_config"
    config.write_text(f"Host *\n{text}\n")
    tools = home.place / "bin"
    tools.mkdir(exist_ok=True)
    script = tools / "ssh"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *"-F none"*) exec /usr/bin/ssh "$@";; esac\n'
        f'exec /usr/bin/ssh -F {config} "$@"\n'
    )
    script.chmod(0o755)
    give(home.place)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


def test_a_banner_that_speaks_of_host_keys_is_no_alarm(home: Home) -> None:
    source = prepared(home)
    banner = home.facility.folder / "banner"
    banner.write_text(
        f"Scheduled work: you may see\n{ALARM}\n@@@@@@@\n"
        "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n"
    )
    restart(home, f"Banner {banner}")
    good = home.facility.key_file
    home.configure(key_file=str(new_key(home)))
    run = home.once()
    assert run.returncode == 4
    assert REFUSED in run.stdout
    assert "host key" not in (run.stdout + run.stderr).lower()
    for engine in ("sftp", "rsync"):
        home.configure(key_file=str(good), engine=engine)
        run = home.once()
        assert run.returncode == 0, run.stderr
    assert compare_trees(source, home.copy("12282a")) == []


def broken_keys(home: Home) -> dict[str, tuple[Path, str]]:
    """Key files that ssh cannot use, with what is to be said of them."""
    text = home.facility.key_file.read_bytes()
    denied = "the key file {key} cannot be read: Permission denied"
    keys = {
        "denied": (text, 0, denied),
        "open": (text, 0o644, "others may read the key file {key} (mode 0644)"),
        "crlf": (text.replace(b"\n", b"\r\n"), 0o600, "ssh cannot use the key file {key}: "),
        "cut": (text[:-20], 0o600, "ssh cannot use the key file {key}: "),
    }
    made = {}
    for name, (content, mode, words) in keys.items():
        path = home.place / name
        path.write_bytes(content)
        path.chmod(mode)
        made[name] = (path, words.format(key=path))
    give(home.place)
    for name, (_, mode, _) in keys.items():
        made[name][0].chmod(mode)
    return made


@pytest.mark.parametrize("name", ["denied", "open", "crlf", "cut"])
def test_a_key_file_that_ssh_cannot_use_is_told_as_that(home: Home, name: str) -> None:
    prepared(home)
    key, words = broken_keys(home)[name]
    home.configure(key_file=str(key))
    run = home.once()
    assert run.returncode == 4
    assert words in run.stdout
    assert REFUSED not in run.stdout
    doctor = home.doctor()
    assert words in doctor.stdout


def test_a_server_that_asks_for_a_second_factor_is_told_as_that(home: Home) -> None:
    prepared(home)
    restart(home, "AuthenticationMethods publickey,password", "PasswordAuthentication yes")
    run = home.once()
    assert run.returncode == 4
    assert "the server asks for a password or a code" in run.stdout


@pytest.mark.parametrize("session", ["none", "subsystem"])
@pytest.mark.parametrize("engine", ["sftp", "rsync"])
def test_settings_for_log_ins_by_hand_do_no_harm(home: Home, engine: str, session: str) -> None:
    source = prepared(home)
    home.configure(engine=engine, verify="source")
    environment = with_ssh_config(
        home,
        " RemoteCommand tmux new -A\n StdinNull yes\n RequestTTY yes\n LogLevel QUIET\n"
        f" ForkAfterAuthentication yes\n SessionType {session}\n",
    )
    run = home.once(environment=environment)
    assert run.returncode == 0, run.stderr
    assert compare_trees(source, home.copy("12282a")) == []
    assert home.status("12282a")[0]["level"] == "source"


def test_the_cause_is_told_though_ssh_config_asks_for_quiet(home: Home) -> None:
    prepared(home)
    environment = with_ssh_config(home, " LogLevel QUIET\n")
    home.configure(key_file=str(new_key(home)))
    assert REFUSED in home.once(environment=environment).stdout
    empty = home.place / "known_hosts"
    empty.write_text("")
    home.configure(known_hosts=str(empty))
    assert "host key is not in known_hosts" in home.once(environment=environment).stdout


@pytest.mark.parametrize("engine", ["auto", "rsync"])
def test_a_key_that_is_for_rsync_alone_brings_everything_home(home: Home, engine: str) -> None:
    source = prepared(home)
    rrsync = shutil.which("rrsync")
    assert rrsync is not None, "rrsync is missing: install rsync"
    restart(home, f"ForceCommand {rrsync} -ro /")
    home.configure(engine=engine)
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert compare_trees(source, home.copy("12282a")) == []


def doctor(home: Home) -> subprocess.CompletedProcess[str]:
    return home.doctor()


def test_doctor_is_content_with_a_key_for_rsync_alone_if_rsync_may_be_used(home: Home) -> None:
    prepared(home)
    restart(home, f"ForceCommand {shutil.which('rrsync')} -ro /")
    for engine in ("auto", "rsync"):
        home.configure(engine=engine)
        found = doctor(home)
        assert found.returncode == 0, found.stdout
        assert "127.0.0.1 offers no SFTP; rsync takes its place" in found.stdout
    home.configure(engine="sftp")
    found = doctor(home)
    assert (found.returncode, "use `engine: auto`" in found.stdout) == (1, True)


def test_doctor_finds_that_rsync_is_needed_and_cannot_be_used(home: Home) -> None:
    prepared(home)
    restart(home, "ForceCommand /bin/false")
    found = doctor(home)
    assert found.returncode == 1
    assert "ok    SFTP service" in found.stdout and "FAIL  rsync there" in found.stdout


@pytest.mark.extra
def test_doctor_is_content_with_sftp_alone_if_sftp_is_all_that_is_needed(home: Home) -> None:
    prepared(home)
    with proftpd(home.facility):
        for engine in ("auto", "sftp"):
            home.configure(engine=engine)
            found = doctor(home)
            assert found.returncode == 0, found.stdout
            assert "it offers SFTP alone; not needed: " in found.stdout
        home.configure(symlinks=True)
        found = doctor(home)
        assert found.returncode == 1
        assert "it offers SFTP alone (symlinks: true needs rsync)" in found.stdout
        assert "without what needs rsync: `symlinks`" in found.stdout


def test_a_shell_that_greets_is_named_with_its_first_words(home: Home) -> None:
    prepared(home)
    home.facility.sftp_server = script(home, "echo Welcome to the facility")
    restart(home)
    run = home.once()
    assert run.returncode == 4
    assert (
        f"the login shell of {home.facility.user} at 127.0.0.1 prints text where SFTP is to begin: "
        '"Welcome to the facility" (ask the facility' in run.stderr
    )


def test_a_server_that_opens_few_files_gives_all_of_them(home: Home) -> None:
    source = prepared(home, files=300)
    home.facility.sftp_server = script(home, "ulimit -n 40")
    home.facility.programs = {}  # no shell command: the second read has to do
    restart(home)
    home.configure(engine="sftp", verify="source")
    run = home.once()
    assert run.returncode == 0, run.stderr
    assert compare_trees(source, home.copy("12282a")) == []


@pytest.mark.extra
def test_a_server_that_runs_no_commands_is_compared_by_a_second_read(home: Home) -> None:
    source = prepared(home, files=20)
    home.configure(verify="source")
    with proftpd(home.facility):
        run = home.once()
        assert run.returncode == 0, run.stderr
        assert compare_trees(source, home.copy("12282a")) == []
        (row,) = home.status("12282a")
        assert row["level"] == "source"
        verify = home.program.run("asynchy", "--config", home.config, "verify", "--again", "12282a")
        assert verify.returncode == 0, verify.stderr
        assert "second read over SFTP" in verify.stdout
        home.configure(engine="rsync")
        (source / "late.log").write_text("late")
        give(source)
        (home.place / "ignore.yml").write_text("previouslySynched: []\n")
        run = home.once()
        assert run.returncode == 1
        assert "the server runs no commands for us, it offers SFTP alone" in run.stdout


@pytest.mark.parametrize("gone", [True, False], ids=["no server", "a key that is refused"])
def test_a_fault_of_the_whole_server_is_told_once(home: Home, gone: bool) -> None:
    for number in range(12282, 12288):
        source = home.facility.experiment("mx", f"{number}a")
        (source / "a").write_text("a")
        home.visit(f"{number}a")
    give(home.facility.data)
    key = str(home.facility.key_file if gone else new_key(home))
    home.configure(epn_cap_map={str(n): "ny79" for n in range(12282, 12288)}, key_file=key)
    if gone:
        home.facility.stop_sshd()
    run = home.once()
    assert run.returncode == 4
    fault = "127.0.0.1: the server refused the "
    assert run.stdout.count(fault) == 1
    assert run.stderr.count(fault) == 1
    assert "6 still due" in run.stdout
    walk = home.program.run("asynchy", "--config", home.config, "walk")
    assert walk.returncode == 4
    assert (walk.stdout + walk.stderr).count(fault) == 1


class _Relay(socketserver.BaseRequestHandler):
    """Closes some connections as OpenSSH 9.8 does of a machine that it penalises; others lead to
    sshd."""

    server: _Server
    request: socket.socket

    def handle(self) -> None:
        if self.server.closes(next(self.server.numbers)):
            self.request.sendall(b"Not allowed at this time\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.server.sshd)) as other:
            ends = {self.request: other, other: self.request}
            while ends:
                for end in select.select([*ends], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    def __init__(self, sshd: int, closes: Callable[[int], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.sshd, self.closes = sshd, closes
        self.numbers = itertools.count()


@contextmanager
def held_back(home: Home, closes: Callable[[int], bool], **keys: str) -> Iterator[None]:
    """Configured for a port that leads to sshd, but closes some connections, by their number."""
    with _Server(home.facility.port, closes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            port = server.server_address[1]
            key = home.facility.known_hosts.read_text().split()[1:]
            known = home.place / "known_hosts"
            known.write_text(f"[127.0.0.1]:{port} {' '.join(key)}\n")
            home.configure(port=port, known_hosts=str(known), **keys)
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("times", [2, 1000], ids=["for some seconds", "for long"])
def test_a_server_that_holds_this_machine_back_is_waited_for_and_named(
    home: Home, times: int
) -> None:
    prepared(home)
    with held_back(home, lambda number: number < times):
        run = home.once(limit=200)
    if times == 2:
        assert run.returncode == 0, run.stderr
        return
    assert run.returncode == 4
    assert "the server closed the connection before the login" in run.stdout
    assert "PerSourcePenalties" in run.stdout


def test_the_rsync_engine_waits_for_a_server_that_closes_connections_early(home: Home) -> None:
    prepared(home)
    with held_back(home, lambda number: number % 2 == 1, engine="rsync"):
        run = home.once(limit=100)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "the server closed the connection before the login; trying again in" in home.log


def test_a_server_whose_program_ends_at_once_comes_with_what_to_do(home: Home) -> None:
    prepared(home)
    program = home.facility.folder / "server"
    program.write_text("#!/bin/sh\necho maintenance until Monday >&2\nexit 255\n")
    program.chmod(0o755)
    home.facility.sftp_server = str(program)
    restart(home)
    run = home.once()
    assert run.returncode == 4
    said = "127.0.0.1: the SFTP connection was ended (`ssh USER@HOST true` may show why"
    assert said in run.stdout.replace("\n", " ")
