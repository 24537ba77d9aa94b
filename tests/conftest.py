"""What every test may use: a place, a facility, and the program under test.

Where the tests run as root, the program runs as an ordinary user (nobody): as root, "not writable"
proves nothing. The facility's sshd runs as that user, too.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from asynchy.ssh import idle_pool
from asynchy.ssh.bandwidth_limit import place_of
from asynchy.ssh.server import Server
from simulator.compare import compare_trees
from simulator.config import write_config
from simulator.experiments import mx_experiment
from simulator.facility import Facility
from simulator.scratch import memory, new_folder, remove
from tests.tools import catalogues
from tests.tools.warm import WarmCommands

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # Under nohup(1), what we start would inherit that; what has a handler becomes the default.
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)

# A slow machine is no failure; CI tries the same examples each time, people new ones.
# `make test-unit` tries fewer than `make test` does: --hypothesis-profile quick.
settings.register_profile(
    "asynchy",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("asynchy"), max_examples=40)
settings.load_profile("asynchy")

# Databases wait for the disk at each commit; in memory, where there is plenty, they need not.
if "TMPDIR" not in os.environ and (_memory := memory()):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_memory))

ROOT = os.getuid() == 0
USER: tuple[int, int] | None = (65534, 65534) if ROOT else None
NOW = datetime.now(UTC).replace(microsecond=0)


def as_user() -> tuple[str, ...]:
    """What goes before a command line to run it as an ordinary user."""
    if USER is None:
        return ()
    setpriv = shutil.which("setpriv") or "setpriv"
    return (setpriv, f"--reuid={USER[0]}", f"--regid={USER[1]}", "--clear-groups", "--")


@functools.cache
def scripts() -> Path:
    """Where the console scripts are that an ordinary user can run.

    Where that user cannot enter the folder of this checkout, they are in a copy of it.
    """
    own = Path(sys.executable).parent
    probe = [*as_user(), "sh", "-c", f"'{own}/python' -c 'import asynchy.cli.main'"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return own
    copy = Path(tempfile.mkdtemp(prefix="asynchy-code-"))
    atexit.register(shutil.rmtree, copy)
    copy.chmod(0o755)
    shutil.copytree(sysconfig.get_path("purelib"), copy / "packages")
    shutil.copytree(Path(__file__).parents[1] / "src", copy / "src")
    for folder, _, files in os.walk(copy):  # whatever the umask was
        Path(folder).chmod(0o755)
        for name in files:
            (Path(folder) / name).chmod(0o755)
    for script in distribution("asynchy").entry_points:
        module, function = script.value.split(":")
        code = (
            f"import sys; sys.argv[0] = '{script.name}'; from {module} import {function}; "
            f"{function}()"
        )
        python = os.path.realpath(sys.executable)
        (copy / script.name).write_text(
            f"#!/bin/sh\nexport PYTHONPATH={copy}/src:{copy}/packages\n"
            f'exec {python} -c "{code}" "$@"\n'
        )
        (copy / script.name).chmod(0o755)
    return copy


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of modules for both databases on each."""
    definition = metafunc.definition
    if definition.get_closest_marker("both_databases") is None:
        return
    if definition.get_closest_marker("sqlite_only") is not None:
        return
    metafunc.fixturenames.insert(0, "database_kind")
    kinds = ["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.extra])]
    metafunc.parametrize("database_kind", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def database_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """The database in which `new_catalogue` makes catalogues meanwhile."""
    kind = getattr(request, "param", "sqlite")
    if kind == "postgresql":
        from tests.tools.postgres import new_postgres_catalogue  # noqa: PLC0415 - psycopg is slow

        catalogues.in_postgres = new_postgres_catalogue
    yield kind
    catalogues.in_postgres = None


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """No connection that a test has made in this process serves the next."""
    yield
    idle_pool.close_all()


def give(path: Path) -> Path:
    """Make a file, or a tree, the ordinary user's."""
    if USER is not None:
        for folder, folders, files in os.walk(os.fsencode(path)):
            for name in [b".", *folders, *files]:
                os.lchown(folder + b"/" + name, *USER)
        os.lchown(path, *USER)
    return path


def wait_until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for something to become true; fail where it does not in time.

    The time is for a machine that is slow and busy, where a command takes ten seconds to start.
    """
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def stop_between_writes(pid: int, catalogue: Path) -> None:
    """Stop a process with SIGSTOP while it does not write to the catalogue: others can, then."""

    def stopped() -> bool:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: "T (stopped)" in Path(f"/proc/{pid}/status").read_text())
        with (
            closing(sqlite3.connect(catalogue, timeout=0)) as db,
            suppress(sqlite3.OperationalError),
        ):
            db.execute("BEGIN IMMEDIATE")
            db.rollback()
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    wait_until(stopped)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


PYTHONS = (Path(sys.executable).name, Path(os.path.realpath(sys.executable)).name)
"""What the processes of streams are called."""


def comes_in_part(copy: Path, least: int = 2**24) -> bool:
    """Whether a large file of a copy is on its way, by either engine."""
    scratch = copy.parent / f".asynchy-{copy.name}"
    with suppress(FileNotFoundError):  # a file, or the folder, has just been put in its place
        return any(path.is_file() and path.stat().st_size > least for path in scratch.rglob("*"))
    return False


_OF_A_NEW_PROCESS = ("LD_", "PYTHON", "LANG", "LC_")
"""What begins the names of variables that count when a process starts, and not later."""


@functools.cache
def _code() -> dict[str, str]:
    """What a Python needs in its environment to find the code of a copy; its scripts set it, too."""
    is_copy = not (scripts() / "python").exists()
    return {"PYTHONPATH": f"{scripts()}/src:{scripts()}/packages"} if is_copy else {}


@functools.cache
def warm_commands(preloaded: str) -> WarmCommands:
    """The server of this process that runs commands; it ends with us.

    `preloaded`: a library that it, and so they, have preloaded; empty for none.
    """
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **_code()}
    if preloaded:
        environment["LD_PRELOAD"] = preloaded
    python = os.path.realpath(sys.executable) if _code() else str(scripts() / "python")
    warm = WarmCommands([*as_user(), python], environment)
    atexit.register(warm.close)
    return warm


@contextmanager
def originals_lock(kind: int) -> Iterator[None]:
    """LOCK_EX while a test runs an original program, LOCK_SH while another asks the doctor."""
    path = Path(tempfile.gettempdir()) / f"asynchy-test-originals-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, kind)
        yield


@dataclass
class Program:
    """The console scripts, run as a user would run them."""

    place: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a command; `asynchy` and `mxsync` are those of this environment.

        `around`: the beginning of a command line that runs it.
        """
        first, *rest = map(str, command)
        environment = self._environment(options.pop("environment", {}))
        around: list[str] = options.pop("around", [])
        return subprocess.Popen(
            [*as_user(), *around, str(scripts() / first), *rest],
            cwd=self.place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        found = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place),
            "LANG": "C.UTF-8",
            **self.environment,
            **more,
        }
        return {key: value for key, value in found.items() if value}

    def run(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """As `_run`; the doctor sees no original program that another test runs."""
        if "doctor" not in command:
            return self._run(*command, **options)
        with originals_lock(fcntl.LOCK_SH):
            return self._run(*command, **options)

    def _run(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its output never holds a traceback.

        In a process forked from one that has loaded it, unless it needs a new one.
        """
        limit = options.pop("limit", 100)
        environment = self._environment(options.get("environment", {}))
        special = [
            name
            for name, value in environment.items()
            if name.startswith(_OF_A_NEW_PROCESS)
            and name != "LD_PRELOAD"
            and (name, value) != ("LANG", "C.UTF-8")
        ]
        if options.keys() <= {"environment"} and not special:
            first, *rest = map(str, command)
            line = [str(scripts() / first), *rest]
            warm = warm_commands(environment.get("LD_PRELOAD", ""))
            done = warm.run(line, self.place, {**environment, **_code()}, limit)
            assert "Traceback" not in done.stdout + done.stderr, done.stderr
            return done
        with self.start(*command, **options) as process:
            try:
                out, err = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert "Traceback" not in out + err, err
        return subprocess.CompletedProcess(command, process.returncode, out, err)


@dataclass
class Home:
    """Everything on our side: config, state, logs, project folders."""

    place: Path
    facility: Facility
    program: Program
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.storage = self.place / "storage"
        self.storage.mkdir()
        (self.place / "logs").mkdir()
        self.project("ny79")
        self.configure()

    def configure(self, **keys: Any) -> Path:
        """Write the config file; given keys replace those of the simulator's."""
        mapping = keys.pop("epn_cap_map", {"12282": "ny79", "12283": "ny79", "8020": "ny79"})
        self.config = write_config(
            self.place / "config.yml",
            self.facility,
            destination=self.storage,
            epn_cap_map=mapping,
            **keys,
        )
        give(self.place)
        return self.config

    def project(self, name: str) -> Path:
        folder = self.storage / name
        folder.mkdir()
        folder.chmod(0o2775)
        give(folder)
        return folder

    def visit(
        self, epn: str | None, *, equipment: int = 23, ended: float = 24, hours: float = 8
    ) -> dict[str, Any]:
        """A visit that ended so many hours ago (or, where negative, ends in the future)."""
        end = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=ended)
        start = end - timedelta(hours=hours)
        return self.facility.portal.add_visit(equipment=equipment, epn=epn, start=start, end=end)

    def mxsync(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.program.run("mxsync", "--config", self.config, *arguments, **options)

    def once(self, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.mxsync("--execute", "--once", **options)

    def doctor(self, **options: Any) -> subprocess.CompletedProcess[str]:
        """asynchy doctor; it does not try the mail server of a config that names none of its own."""
        named = self.config.read_text()
        self.config.write_text(named.replace('epnalert-email-smtp: "localhost"\n', ""))
        return self.program.run("asynchy", "--config", self.config, "doctor", **options)

    @contextmanager
    def serving(self, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """mxsync --execute, as a service or as the arguments say; killed if it lives at the end."""
        command = ("mxsync", "--config", self.config, "--execute", *arguments)
        with self.program.start(*command, **options) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                process.communicate()

    def status(self, *arguments: str) -> list[dict[str, Any]]:
        answer = self.program.run(
            "asynchy", "--config", self.config, "status", *arguments, "--json"
        )
        assert answer.returncode == 0, answer.stderr
        told = json.loads(answer.stdout)
        rows: list[dict[str, Any]] = told["copies"] + told["without_copy"]
        return rows

    def copy(self, epn: str, project: str = "ny79") -> Path:
        return self.storage / project / epn / "data"

    def undisturbed(
        self, source: Path, epn: str = "12282a", *, beside: Collection[str] = ()
    ) -> dict[str, Any]:
        """One cycle without a fault: every byte equals the source's; its last attempt.

        `beside`: what else there is beside the data.
        """
        run = self.once()
        assert run.returncode == 0, run.stdout + run.stderr
        assert compare_trees(source, self.copy(epn)) == []
        assert epn in self.ignored
        names = {path.name for path in self.copy(epn).parent.iterdir()}
        assert names == {"data", *beside}
        (copy,) = self.status(epn)
        assert copy["claim"] is None and copy["completed"] is not None
        last: dict[str, Any] = copy["history"][-1]
        assert last["verdict"] == "complete"
        return last

    def fetched_once(self, source: Path, epn: str = "12282a") -> None:
        """Have all of it looked at again: it is there, and nothing is fetched a second time."""
        (self.place / "ignore.yml").write_text("previouslySynched: []\n")
        give(self.place / "ignore.yml")
        last = self.undisturbed(source, epn)
        assert (last["files"], last["bytes"]) == (0, 0)

    @property
    def ignored(self) -> str:
        """The text of ignore.yml; empty where there is none."""
        path = self.place / "ignore.yml"
        return path.read_text() if path.exists() else ""

    @property
    def log(self) -> str:
        path = self.place / "logs" / "sync.log"
        return path.read_text() if path.exists() else ""

    def children(self, process: subprocess.Popen[str], name: str) -> list[int]:
        """The processes of a name below a process."""
        listed = subprocess.run(
            ["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in listed.splitlines()]
        below = {process.pid}
        for _ in rows:
            more = {int(pid) for pid, parent, _ in rows if int(parent) in below}
            if more <= below:
                break
            below |= more
        return [int(pid) for pid, _, command in rows if int(pid) in below and command == name]


@dataclass
class Group:
    """A group with a config of as-walker, and a facility with experiments of several layouts."""

    place: Path
    facility: Facility
    program: Program

    def __post_init__(self) -> None:
        self.config = self.place / "walker.yml"
        self.configure()

    def configure(self, **keys: object) -> None:
        lines = {
            "hostname": self.facility.host,
            "port": self.facility.port,
            "user": self.facility.user,
            "key_path": self.facility.key_file,
            "known-hosts": self.facility.known_hosts,
            "walk-root": self.facility.data,
            "catalogue": "catalogue.db",
            **keys,
        }
        self.config.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
        give(self.place)

    def experiment(self, epn: str, beamline: str = "mx") -> Path:
        source = (self.facility.data / beamline / epn) if beamline else self.facility.data / epn
        source.mkdir(parents=True)
        mx_experiment(source, epn, frames=2, frame_bytes=3000)
        give(self.facility.data)
        return source

    def walk(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.program.run("as-walker", "--config", self.config, *arguments, **options)

    def asynchy(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.program.run("asynchy", "--config", self.config, *arguments, **options)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.place / "catalogue.db")) as db:
            return db.execute(query, values).fetchall()

    @property
    def files(self) -> dict[str, dict[bytes, tuple[int, int]]]:
        found: dict[str, dict[bytes, tuple[int, int]]] = {}
        query = (
            "SELECT source, path, f.size, f.modified FROM files f"
            " JOIN experiments ON experiments.id = experiment_id"
        )
        for source, path, size, modified in self.rows(query):
            found.setdefault(source, {})[path] = (size, modified)
        return found

    @property
    def listed(self) -> int:
        """Files in the catalogue so far; 0 where there is none yet."""
        try:
            with closing(
                sqlite3.connect(f"file:{self.place}/catalogue.db?mode=ro", uri=True)
            ) as db:
                return int(db.execute("SELECT count(*) FROM files").fetchone()[0])
        except sqlite3.Error:
            return 0

    def many_folders(self, epn: str, folders: int) -> Path:
        """An experiment that takes a few seconds to list."""
        source = self.facility.data / "mx" / epn
        for number in range(folders):
            folder = source / f"d{number % 20:02}" / f"e{number:05}"
            folder.mkdir(parents=True)
            (folder / "one.cbf").write_text("x")
        give(self.facility.data)
        return source


def with_small_disk(
    target: Path, options: str, place: Path, *commands: str
) -> subprocess.CompletedProcess[str]:
    """Run commands in a folder while another one is a tmpfs with these mount options.

    Commands that begin with a slash run as the ordinary user, the others as who runs the tests.
    """
    owner = f",uid={USER[0]},gid={USER[1]}" if USER else ""
    prefix = shlex.join(as_user())
    lines = [
        f"mount -t tmpfs -o {options}{owner} tmpfs {target}",
        *(f"{prefix} {command}" if command.startswith("/") else command for command in commands),
    ]
    return subprocess.run(
        ["unshare", "--mount", *([] if ROOT else ["--map-root-user"]), "sh", "-c", "\n".join(lines)],
        capture_output=True, text=True, cwd=place, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(place)},
    )  # fmt: skip


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the program under test may write, short enough for any path in it."""
    folder = new_folder("asynchy-test-")
    folder.chmod(0o755)
    give(folder)
    yield folder
    remove(folder)


COMPILED = frozenset({"clock_library", "refusing_library"})
"""Fixtures that need a compiler, which `make test` does not install."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if COMPILED & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.extra)


@pytest.fixture(scope="session")
def clock_library() -> Iterator[str]:
    """A library to preload: a program's clock is off by what a file says, see its source."""
    with preloaded_library("clock") as library:
        yield library


@pytest.fixture(scope="session")
def refusing_library() -> Iterator[str]:
    """A library to preload: the file system refuses what `REFUSES` says, see its source."""
    with preloaded_library("refusing") as library:
        yield library


@contextmanager
def preloaded_library(name: str) -> Iterator[str]:
    """A library of `tests/tools`, compiled."""
    folder = new_folder(f"asynchy-{name}-")
    folder.chmod(0o755)
    library = folder / f"{name}.so"
    source = Path(__file__).parent / "tools" / f"{name}.c"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source, "-ldl"],
        check=True,
    )
    yield str(library)
    remove(folder)


def quick_facility(folder: Path, run_as: tuple[int, int] | None) -> Facility:
    """A facility whose sshd agrees on keys with ssh in 5 ms of a processor, and not in 80.

    ssh's own choice is safe from quantum computers, and slow; a test that changes `sshd_settings` has it.
    """
    made = Facility(folder, run_as=run_as)
    made.sshd_settings = ["KexAlgorithms curve25519-sha256"]
    return made


@pytest.fixture
def facility(place: Path) -> Iterator[Facility]:
    folder = place / "facility"
    folder.mkdir()
    give(folder)
    with quick_facility(folder, USER) as running:
        yield running
    remote = Server(running.host, running.user, running.port)
    for user in {os.getuid(), *(USER or ())[:1]}:
        place_of(remote, user).unlink(missing_ok=True)


@pytest.fixture
def program(place: Path) -> Program:
    return Program(place)


@pytest.fixture
def home(place: Path, facility: Facility, program: Program) -> Iterator[Home]:
    folder = place / "home"
    folder.mkdir()
    home = Home(folder, facility, program)
    yield home
    with suppress(OSError):
        sys.stdout.write(home.log)  # pytest shows it if the test failed


@pytest.fixture
def group(place: Path, facility: Facility, program: Program) -> Group:
    folder = place / "us"
    folder.mkdir()
    return Group(folder, facility, program)


SOON = 20.0
"""Seconds within which a command ends that was told to stop, however busy the machine is: the five
that it gives its helpers, and what is left to do then. What it would wait for takes minutes."""


def interrupt(
    process: subprocess.Popen[str], number: signal.Signals, limit: float = 60
) -> tuple[int, float]:
    """Send a signal and wait for the end: the exit code and how long it took."""
    began = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=limit)
    return process.returncode, time.monotonic() - began
