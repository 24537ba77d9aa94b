"""The page "You run the old programs today", followed to the letter: there, and back again."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from simulator.compare import compare_trees
from simulator.config import write_config
from simulator.experiments import mx_experiment
from simulator.facility import Facility
from simulator.portal.handle import OMIT
from tests.conftest import as_user, give, originals_lock, wait_until

pytestmark = [pytest.mark.extra, pytest.mark.timeout(600)]

CHECKOUT = Path(__file__).parents[2]
TOOLS = CHECKOUT / "tests" / "tools"
PAGE = (CHECKOUT / "docs" / "how-to" / "switch-over.md").read_text(encoding="utf-8")
NEEDED = ("src", "requirements", "share", "pyproject.toml", "README.md", "LICENSE", "deploy")
"""What an installation takes from a checkout."""
UNIT = """[Unit]
Description=mx_sync: Australian Synchrotron MX Beamline data repatriation
[Service]
User=mx_sync
ExecStart=/opt/mx_sync/bin/mxsync --config /opt/mx_sync/etc/config.yml --execute
"""
SCRIPT = "#!/opt/mx_sync/bin/python3\nfrom ASSyncy.__main__ import main\nmain()\n"


def commands(heading: str) -> list[str]:
    """The command lines of a section of the page, in its order."""
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


class OldSite:
    """A site that runs the original mxsync, with its folders below one of the test's.

    Commands of the page are root's. Here they are those of whoever runs the tests: the folders
    that they name are the test's, and systemctl, the user mx_sync and ssh-keyscan have stand-ins.
    """

    def __init__(self, place: Path, facility: Facility) -> None:
        self.place = place
        self.facility = facility
        self.old = place / "opt" / "mx_sync"
        self.projects = place / "projects"
        self.units = place / "etc" / "systemd" / "system"
        self.checkout = place / "checkout"
        for folder in ("opt/mx_sync/etc", "opt/mx_sync/var/log", "opt/mx_sync/bin", "home",
                       "etc/systemd/system", "usr/local/bin", "projects/ny79", "stand-ins"):  # fmt: skip
            (place / folder).mkdir(parents=True)
        (self.projects / "ny79").chmod(0o2775)
        self._make_original()
        self._make_stand_ins()
        self._make_checkout()
        give(self.old)
        give(self.projects)

    def here(self, text: str) -> str:
        """A text of the page with the folders of this test."""
        return re.sub(
            r"(?<![\w.}])/(opt|projects|etc/systemd/system|usr/local/bin)\b",
            rf"{self.place}/\1",
            text,
        )

    def _make_original(self) -> None:
        etc = self.old / "etc"
        shutil.copy(self.facility.key_file, etc / "mx_key")
        (etc / "mx_key").chmod(0o600)
        (etc / "ignore.yml").write_text("previouslySynched: []\n")
        logs = {name: f"{self.old}/var/log/{name}.log" for name in ("sync", "epnalert", "email")}
        write_config(
            etc / "config.yml", self.facility, destination=self.projects,
            epn_cap_map={"12282": "ny79", "12283": "ny79", "8020": "ny79"},
            ignore=str(etc / "ignore.yml"), key_file=str(etc / "mx_key"), log_files=logs,
            user=OMIT, known_hosts=OMIT, epnalert_template_folder=OMIT,
            epnalert_template_text=OMIT, epnalert_template_html=OMIT,
            epnalert_email_smtp=OMIT,
        )  # fmt: skip
        (self.old / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
        script = self.old / "bin" / "mxsync"
        library = f"import sys\nsys.path.insert(0, {str(self.old / 'lib')!r})\n"
        script.write_text(self.here(SCRIPT).replace("from", f"{library}from", 1))
        script.chmod(0o755)
        package = self.old / "lib" / "ASSyncy"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        shutil.copy(TOOLS / "original_mxsync.py", package / "__main__.py")
        (self.units / "mx_sync.service").write_text(self.here(UNIT))

    def _make_stand_ins(self) -> None:
        python = os.path.realpath(sys.executable)
        number = as_user()[1].partition("=")[2] if as_user() else str(os.getuid())
        stand_ins = {
            "python3": f'exec {python} "$@"',
            "systemctl": f'exec {python} {TOOLS}/stand_in_systemctl.py "$@"',
            "runuser": f'shift 3; exec {" ".join(as_user())} "$@"',  # -u mx_sync --
            "id": f"echo {number}",
            "chown": 'for word; do shift; case $word in mx_sync:) word='
            f'{number};; esac; set -- "$@" "$word"; done; exec /bin/chown "$@"',
            "ssh-keyscan": f"cat {self.facility.known_hosts}",
        }  # fmt: skip
        for name, line in stand_ins.items():
            path = self.place / "stand-ins" / name
            path.write_text(f"#!/bin/sh\n{line}\n")
            path.chmod(0o755)

    def _make_checkout(self) -> None:
        self.checkout.mkdir()
        for name in NEEDED:
            source = CHECKOUT / name
            ignored = shutil.ignore_patterns("__pycache__")
            if source.is_dir():
                shutil.copytree(source, self.checkout / name, ignore=ignored)
            else:
                shutil.copy(source, self.checkout / name)
        for unit in (self.checkout / "deploy").glob("*.service"):
            unit.write_text(self.here(unit.read_text()))

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """A command line of the page, as root would type it in a checkout."""
        stand_ins = self.place / "stand-ins"
        done = subprocess.run(
            ["sh", "-c", self.here(line)], cwd=self.checkout, capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": f"{stand_ins}:{self.place}/usr/local/bin:/usr/bin:/bin",
                 "HOME": str(self.place / "home"), "UNITS": str(self.units), "LANG": "C.UTF-8",
                 "KNOWN_HOSTS": str(self.facility.known_hosts)},
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def follow(self, heading: str, **codes: int) -> dict[str, str]:
        """Follow a section of the page; what each command printed.

        `codes`: words of commands that end with another code than 0.
        """
        said = {}
        for line in commands(heading):
            done = self.run(line)
            expected = next((code for word, code in codes.items() if f" {word}" in f" {line}"), 0)
            assert done.returncode == expected, f"{line}\n{done.stdout}{done.stderr}"
            said[line.rpartition(".yml ")[2]] = done.stdout + done.stderr
        return said

    def measured(self, epn: str) -> Path:
        source = self.facility.experiment("mx", epn)
        mx_experiment(source, epn, frames=2, frame_bytes=3000)
        give(self.facility.data)
        end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        start = end - timedelta(hours=8)
        self.facility.portal.add_visit(equipment=23, epn=epn, start=start, end=end)
        return source

    def copy(self, epn: str) -> Path:
        return self.projects / "ny79" / epn / "data"

    def log(self, prefix: Path) -> str:
        path = prefix / "var" / "log" / "sync.log"
        return path.read_text() if path.exists() else ""

    def inodes(self, epn: str) -> dict[Path, tuple[int, int]]:
        files = [path for path in self.copy(epn).rglob("*") if path.is_file()]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    def everything(self) -> dict[Path, int]:
        """Each file and folder of the old programs and of the projects, and when it was changed."""
        found = [path for top in (self.old, self.projects) for path in [top, *top.rglob("*")]]
        return {path: path.lstat().st_ctime_ns for path in found}


@pytest.fixture
def old_site(place: Path, facility: Facility) -> Iterator[OldSite]:
    site = OldSite(place / "site", facility)
    with originals_lock(fcntl.LOCK_EX):
        yield site
        site.run("systemctl stop mx_sync")


def test_the_page_leads_there_and_back_again(old_site: OldSite) -> None:
    site = old_site
    site.measured("12282a")
    site.run("systemctl start mx_sync")
    wait_until(lambda: "the original waits" in site.log(site.old))
    fetched = site.inodes("12282a")
    assert len(fetched) > 10

    before = site.everything()
    said = site.follow("Rehearse beside the running service", doctor=1, diff=1)
    failed = [line for line in said["doctor"].splitlines() if line.startswith("FAIL")]
    assert len(failed) == 1 and f"is the original program, {site.old}/bin/mxsync" in failed[0]
    assert "1 experiment complete, 0 recorded before, 0 not complete" in said["adopt --dry-run"]
    (differences,) = (text for line, text in said.items() if line.startswith("diff"))
    assert all(line.startswith(f"Only in {site.projects}") for line in differences.splitlines())
    after = site.everything()
    changed = [path for path in before | after if before.get(path) != after.get(path)]
    assert changed == [site.projects / "ny79"]  # doctor has made a file in it, and removed it

    second = site.measured("8020l")
    said = site.follow("Switch")
    assert "FAIL" not in said["doctor"] and "All checks passed" in said["doctor"]
    assert "1 experiment complete" in said["adopt"]
    (plan,) = (text for line, text in said.items() if "/mxsync --config" in line)
    assert "8020l" in plan and "12282a" not in plan
    new = site.old
    wait_until(lambda: "next look in 24 h" in site.log(new))
    assert compare_trees(second, site.copy("8020l")) == []
    assert site.inodes("12282a") == fetched
    assert "8020l" in (new / "var" / "ignore.yml").read_text()
    assert not (new / "etc" / "ignore.yml").exists()
    status = site.run("/opt/mx_sync/bin/asynchy --config /opt/mx_sync/etc/config.yml status")
    assert status.stdout.count("complete") == 2, status.stdout
    assert site.run("epnalert --version").stdout.startswith("epnalert, version ")

    ours = site.inodes("8020l")
    third = site.measured("12283b")
    site.follow("Back again")
    wait_until(lambda: site.log(site.old).count("the original waits") == 2)
    assert site.copy("12283b").is_dir()
    assert (site.inodes("12282a"), site.inodes("8020l")) == (fetched, ours)
    text = (site.old / "etc" / "ignore.yml").read_text()
    assert text == "previouslySynched:\n- 12282a\n- 12283b\n- 8020l\n"
    assert site.run("command -v mxsync").returncode != 0

    site.run("systemctl stop mx_sync")
    for line in ("mv /opt/mx_sync /opt/mx_sync.original", "mv /opt/mx_sync.asynchy /opt/mx_sync"):
        assert site.run(line).returncode == 0
    site.follow("Remove the old programs")
    done = site.run(
        "runuser -u mx_sync -- "
        "/opt/mx_sync/bin/mxsync --config /opt/mx_sync/etc/config.yml --execute --once"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 experiment completed, 0 still due" in done.stdout
    differences = compare_trees(third, site.copy("12283b"), modes=False)
    assert all(one.startswith("not in the source: ") for one in differences)  # its links and FIFO
