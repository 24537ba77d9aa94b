"""What a site installs: systemd accepts the units, and what they start can work as they restrict it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from asynchy.web import server
from simulator.compare import compare_trees
from simulator.config import write_config
from simulator.experiments import mx_experiment
from simulator.mail import MailSink
from tests.conftest import ROOT, USER, Home, give, scripts, wait_until
from tests.tools import unit_sandbox

pytestmark = pytest.mark.extra

CHECKOUT = Path(__file__).parents[2]
DEPLOY = CHECKOUT / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("*.service")) + sorted(
    path.name for path in DEPLOY.glob("*.timer")
)
STARTS = {
    "mx_sync.service": "/opt/mx_sync/bin/mxsync --config /opt/mx_sync/etc/config.yml --execute",
    "epnalert.service": "/opt/mx_sync/bin/epnalert --config /opt/mx_sync/etc/config.yml",
    "epnalert.timer": "OnCalendar=*-*-* 01:00:00",
    "asynchy-audit.service": "/opt/mx_sync/bin/asynchy --config /opt/mx_sync/etc/config.yml audit",
    "asynchy-audit.timer": "OnCalendar=*-*-* 03:00:00",
    "asynchy-activity.service": "report activity --mail --if-needed",
    "asynchy-activity.timer": "OnCalendar=*-*-* 06:00:00",
    "asynchy-activity-weekly.service": "report activity --mail --since 7d",
    "asynchy-activity-weekly.timer": "OnCalendar=Mon *-*-* 06:30:00",
    "asynchy-scheduler.service": "/opt/mx_sync/bin/dask scheduler --port 8786 $SCHEDULER",
    "asynchy-worker@.service": "/opt/mx_sync/bin/asynchy worker --name %H-%i --folder /run/asynchy-worker-%i $WORKER",
    "asynchy-web.service": "/opt/mx_sync/bin/asynchy --config /opt/mx_sync/etc/config.yml web",
}


def unit_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STARTS)
def test_a_unit_starts_what_the_pages_say(name: str) -> None:
    assert STARTS[name] in unit_of(name)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_a_unit(tmp_path: Path, name: str) -> None:
    for unit in UNITS:  # a timer wants its service beside it
        text = unit_of(unit)
        for command in ("mxsync", "epnalert", "asynchy"):
            text = text.replace(f"/opt/mx_sync/bin/{command}", str(scripts() / command))
        text = text.replace("/opt/mx_sync/bin/dask", "/bin/true")  # Dask's own
        (tmp_path / unit.replace("@.", "@1.")).write_text(
            text.replace("User=mx_sync", "User=daemon")
        )
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / name.replace("@.", "@1.")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    stem = name.partition(".")[0]
    complaints = [line for line in answer.stderr.splitlines() if stem in line]
    assert (answer.returncode, complaints) == (0, [])


def test_a_worker_writes_into_the_projects_alone_and_a_scheduler_nowhere() -> None:
    worker = unit_sandbox.directives(DEPLOY / "asynchy-worker@.service")
    assert (worker["ProtectSystem"], worker["ReadWritePaths"]) == (["strict"], ["/projects"])
    scheduler = unit_sandbox.directives(DEPLOY / "asynchy-scheduler.service")
    assert scheduler["ProtectSystem"] == ["strict"]
    assert "ReadWritePaths" not in scheduler


def test_a_slurm_job_starts_a_worker_that_is_signalled_before_the_time_limit(
    tmp_path: Path,
) -> None:
    script = DEPLOY / "slurm" / "asynchy-workers.sbatch"
    assert "#SBATCH --signal=TERM@120\n" in script.read_text(encoding="utf-8")
    stand_in = tmp_path / "srun"  # Slurm's own is not to be had without a cluster
    stand_in.write_text('#!/bin/sh\nshift\nSLURM_PROCID=1 exec "$@"\n')
    asynchy = tmp_path / "asynchy"
    asynchy.write_text('#!/bin/sh\necho "$@"\n')
    for program in (stand_in, asynchy):
        program.chmod(0o755)
    done = subprocess.run(
        ["bash", script], capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "ASYNCHY": str(asynchy), "SLURM_JOB_ID": "7", "SCHEDULER": "tcp://h:1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"worker --scheduler tcp://h:1 --connections 16 --folder /tmp --name {socket.gethostname()}-7-1\n"
    )


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in UNITS
        if name.endswith(".service")
        and not name.startswith(("asynchy-worker", "asynchy-scheduler"))
    ],
)
def test_a_unit_writes_state_logs_and_projects_and_the_dashboard_alone_the_config(
    name: str,
) -> None:
    said = unit_sandbox.directives(DEPLOY / name)
    assert said["ProtectSystem"] == ["strict"]
    (writable,) = said["ReadWritePaths"]
    allowed = {"/opt/mx_sync/var", "/projects"}
    if name == "asynchy-web.service":
        allowed.add("/opt/mx_sync/etc")  # it assigns proposals to projects, as `map add` does
    assert set(writable.split()) <= allowed
    assert "/opt/mx_sync/var" in writable.split()


class Site:
    """The folders that a site has, below a folder of the test, and its units."""

    def __init__(self, home: Home, mails: MailSink) -> None:
        self.home = home
        self.place = home.place
        self.prefix = self.place / "opt" / "mx_sync"
        self.projects = self.place / "projects"
        for folder in ("etc", "var/log"):
            (self.prefix / folder).mkdir(parents=True)
        (self.projects / "ny79").mkdir(parents=True)
        (self.projects / "ny79").chmod(0o2775)
        self.mails = mails
        self.configure(ignore=self.prefix / "var" / "ignore.yml")

    def configure(self, *, ignore: Path) -> None:
        logs = self.prefix / "var" / "log"
        home = self.home
        write_config(
            self.prefix / "etc" / "config.yml", home.facility, destination=self.projects,
            epn_cap_map={"12282": "ny79"}, ignore=str(ignore),
            log_files={name: str(logs / f"{name}.log") for name in ("sync", "epnalert", "email")},
            epnalert_email_smtp=f"{self.mails.host}:{self.mails.port}",
            epnalert_template_folder=None, epnalert_template_text=None, epnalert_template_html=None,
        )  # fmt: skip
        give(self.place)

    def unit(self, name: str) -> Path:
        """A unit with the paths of this test and a user of this machine."""
        text = unit_of(name).replace("/opt/mx_sync/bin", str(scripts()))
        text = text.replace("/opt/mx_sync", str(self.prefix))
        text = text.replace(" /projects", f" {self.projects}")
        text = text.replace("User=mx_sync", f"User={USER[0] if USER else os.getuid()}")
        path = self.place / name
        path.write_text(text)
        return path

    def command(self, name: str) -> list[str]:
        """What the unit starts, within its restrictions."""
        tool = Path(shutil.copy(unit_sandbox.__file__, self.place))
        tool.chmod(0o644)
        unit = self.unit(name)
        (line,) = unit_sandbox.directives(unit)["ExecStart"]
        keep = [self.place.parent]
        keep += [path for path in (scripts(), CHECKOUT) if path.is_relative_to("/tmp")]
        found = unit_sandbox.command_line(
            unit, keep, line.replace("%%", "%").split(), root=ROOT, tool=tool
        )
        return list(map(str, found))

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name), capture_output=True, text=True, check=False, timeout=100, cwd="/",
            env=self.environment(),
        )  # fmt: skip

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **more}

    @contextmanager
    def service(self) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
        """mx_sync.service, and the socket on which it notifies systemd."""
        address = self.place / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(address))
            notify.settimeout(60)
            give(address)
            with subprocess.Popen(
                self.command("mx_sync.service"), text=True, cwd="/",
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=self.environment(NOTIFY_SOCKET=str(address), WATCHDOG_USEC="600000000"),
            ) as process:  # fmt: skip
                try:
                    yield process, notify
                except BaseException:
                    process.kill()
                    print(process.communicate()[0])  # noqa: T201 - pytest shows it
                    raise
                finally:
                    with suppress(ProcessLookupError):
                        process.kill()

    def snapshot(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.prefix / "etc").iterdir()}


@pytest.fixture
def site(home: Home, tmp_path: Path) -> Iterator[Site]:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=3, frame_bytes=5000)
    give(home.facility.data)
    home.visit("12282a")
    with MailSink(tmp_path / "mails") as mails:
        yield Site(home, mails)


def test_the_service_works_within_the_restrictions_of_its_unit(site: Site) -> None:
    before = site.snapshot()
    log = site.prefix / "var" / "log" / "sync.log"
    with site.service() as (process, notify):
        assert b"READY=1" in notify.recv(4096)
        wait_until(lambda: log.exists() and "next look in 24 h" in log.read_text())
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
        assert "CapEff:\t0000000000000000" in status
        inside = Path(f"/proc/{process.pid}/root")
        assert not os.statvfs(f"{inside}{site.prefix}/var").f_flag & os.ST_RDONLY
        for folder in (f"{site.prefix}/etc", "/usr", "/etc"):
            assert os.statvfs(f"{inside}{folder}").f_flag & os.ST_RDONLY, folder
        process.send_signal(signal.SIGHUP)  # as ExecReload does
        wait_until(lambda: log.read_text().count("next look in 24 h") == 2)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 0, said
    source = site.home.facility.data / "mx" / "12282a"
    assert compare_trees(source, site.projects / "ny79" / "12282a" / "data") == []
    assert "12282a" in (site.prefix / "var" / "ignore.yml").read_text()
    assert site.snapshot() == before


@pytest.mark.parametrize(
    ("name", "log", "expected"),
    [
        ("epnalert.service", "email.log", "took 'Unknown ownership of EPNs'"),
        ("asynchy-audit.service", "sync.log", "audit"),
        ("asynchy-activity.service", "email.log", "took 'asynchy: 1 thing needs a person"),
        ("asynchy-activity-weekly.service", "email.log", "took 'asynchy: 1 thing needs a person"),
    ],
)
def test_what_a_timer_starts_works_within_the_restrictions_of_its_unit(
    site: Site, name: str, log: str, expected: str
) -> None:
    config = site.prefix / "etc" / "config.yml"
    assert (
        site.home.program.run("mxsync", "--config", config, "--execute", "--once").returncode == 0
    )
    unknown = site.home.facility.experiment("mx", "20345b")
    mx_experiment(unknown, "20345b", frames=1, frame_bytes=10)
    give(site.home.facility.data)
    site.home.visit("20345b")
    again = site.home.program.run("mxsync", "--config", config, "--execute", "--once")
    assert again.returncode == 1, again.stderr  # it belongs to no project
    before = site.snapshot()
    done = site.run(name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in (site.prefix / "var" / "log" / log).read_text(), done.stdout
    assert site.snapshot() == before


def test_the_layout_of_the_originals_gets_a_message_that_says_what_to_move(site: Site) -> None:
    (site.prefix / "etc" / "ignore.yml").write_text("previouslySynched: [8020l]\n")
    site.configure(ignore=site.prefix / "etc" / "ignore.yml")
    done = site.run("mx_sync.service")
    assert done.returncode == 5
    etc = site.prefix / "etc"
    assert f"Error: {etc}/catalogue.db.service cannot be made: Read-only file system" in done.stderr
    hint = f"{etc} is read-only for this program: under systemd, move the file to a folder that"
    assert f"What to do: {hint} `ReadWritePaths` of the unit names" in done.stderr
    assert (etc / "ignore.yml").read_text() == "previouslySynched: [8020l]\n"


def test_pages_units_and_role_have_one_set_of_paths() -> None:
    files = [CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")]
    files += [path for path in DEPLOY.rglob("*") if path.is_file()]
    files = [path for path in files if not {"decisions", "_build"} & set(path.parts)]
    found = {
        f"{path.name}: {match}"
        for path in files
        for match in re.findall(
            r"(?<![\w}])/(?:opt|var/lib|var/log)/[\w-]+", path.read_text(encoding="utf-8")
        )
    }
    allowed = (
        "/opt/mx_sync", "/opt/assyncy", "/opt/asynchy-rehearsal", "/var/lib/apt",
        "/var/lib/node_exporter",
    )  # fmt: skip
    assert len(found) > 5
    assert [one for one in sorted(found) if not one.endswith(allowed)] == []


def test_the_alert_rules_fire_when_they_should_and_no_sooner() -> None:
    answer = subprocess.run(
        ["promtool", "test", "rules", "asynchy.test.yml"],
        cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_dashboard_may_open_more_files_than_it_takes_connections() -> None:
    unit = (DEPLOY / "asynchy-web.service").read_text(encoding="utf-8")
    limit = next(line for line in unit.splitlines() if line.startswith("LimitNOFILE="))
    assert int(limit.partition("=")[2]) >= 2 * server._CONNECTIONS
