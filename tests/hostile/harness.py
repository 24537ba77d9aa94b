"""What every test of a hostile facility does: one run, several experiments, what must hold after it.

In one run each hostile experiment has a fault of its own, and an honest one is among them: each of
the former ends in a reason of its own, the latter comes home.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asynchy.ssh.rsync.fetcher import PARTIAL_DIR
from simulator.compare import compare_trees
from simulator.experiments import mx_experiment
from tests.conftest import Group, Home, give

TOOLS = Path(__file__).parents[1] / "tools"
PYTHON = f"{os.path.realpath(sys.executable)} -I -S"
"""Python as everybody may run it, quickly started."""
HONEST = "30000a"
MOST = 200 << 20
"""Bytes of memory that no process of ours takes, whatever the facility says."""
TIMEOUT = 3
"""Seconds of silence after which a connection is given up."""

_OURS = r"^(catalogue\.db.*|\.?ignore\.yml(\.lock)?|config\.yml|logs|storage|\.ssh)$"

HOME = None
"""Of an experiment that comes home although the facility is odd: as it is there."""


@dataclass
class Hostile:
    """Experiments at a facility that misbehaves, and one run that is to bring them home."""

    home: Home
    epns: dict[str, str] = field(default_factory=dict)
    """What goes wrong -> the EPN that it goes wrong with."""

    def __post_init__(self) -> None:
        place = self.home.place.parent
        self.outside = place / "outside"
        self.outside.mkdir()
        (self.outside / "evil").write_text("as it was")
        (self.outside / "secret").write_text("nobody else's")
        give(self.outside)
        self.spare = place / "tmp"  # of the program: nothing stays in it
        self.spare.mkdir()
        give(self.spare)
        self.tools = place / "tools"
        shutil.copytree(TOOLS, self.tools, ignore=shutil.ignore_patterns("__pycache__"))
        give(self.tools)
        self.experiment(HONEST)

    def experiment(self, epn: str, scenario: str = "") -> Path:
        """An experiment with a few files, and what goes wrong with it."""
        source = self.home.facility.experiment("mx", epn)
        mx_experiment(source, epn, frames=1, frame_bytes=3000)
        (source / "sub").mkdir()
        (source / "sub" / "secret").write_text("everyone's...")
        (source / "zz.h5").write_bytes(b"0123456789" * 1000)
        if scenario:
            (source / ".scenario").write_text(scenario)
        give(source)
        self.home.visit(epn)
        return source

    def prepare(self, scenarios: Iterable[str]) -> None:
        """An experiment for each scenario."""
        for number, scenario in enumerate(scenarios):
            epn = f"{20000 + number}a"
            self.epns[scenario] = epn
            self.experiment(epn, scenario)

    def configure(self, **keys: Any) -> None:
        epns = [HONEST, *self.epns.values()]
        self.home.configure(
            epn_cap_map=dict.fromkeys((epn[:-1] for epn in epns), "ny79"),
            **{
                "max_tasks": 12,
                "streams": 1,
                "timeout": TIMEOUT,
                "max_entries": 2000,
                "max_connections": 60,
                **keys,
            },
        )

    def once(self, limit: float = 100) -> Run:
        """One run of `mxsync`; what must hold after any."""
        before = dict(self._outside())
        peak = self.home.place.parent / "peak"
        began = time.monotonic()
        done = self.home.once(
            limit=limit,
            environment={"TMPDIR": str(self.spare)},
            around=[*PYTHON.split(), str(self.tools / "measured.py"), str(peak)],
        )
        run = Run(self, done, time.monotonic() - began, int(peak.read_text()) << 10)
        after = dict(self._outside())
        changed = [path for path in {*before, *after} if before.get(path) != after.get(path)]
        assert not changed, [(path, before.get(path), after.get(path)) for path in changed]
        names = [path.name for path in self.home.place.iterdir()]
        odd = [name for name in names if not re.search(_OURS, name)]
        assert not odd, odd
        assert {path.name for path in self.home.storage.iterdir()} == {"ny79"}
        projects = {path.name for path in (self.home.storage / "ny79").iterdir()}
        assert projects <= {HONEST, *self.epns.values()}
        run.nothing_worse()
        sys.stdout.write(f"{run.seconds:.0f} s, at most {run.peak >> 20} MiB a process\n")  # -rP
        return run

    def told_by_walk(self, group: Group) -> str:
        """What a walk could not list, a line each: the folder, and why."""
        query = (
            "SELECT source, path, frontier.problem FROM frontier"
            " JOIN experiments ON experiments.id = experiment_id"
            " WHERE frontier.problem IS NOT NULL"
        )
        return "\n".join(f"{source}: {problem}" for source, _, problem in group.rows(query))

    def _outside(self) -> Iterator[tuple[str, object]]:
        """What lies beside the destination, and must not change."""
        for folder in (self.outside, self.spare, self.tools, self.home.facility.folder / "ssh"):
            for path in [folder, *folder.rglob("*")]:
                found = path.lstat()
                seen: tuple[object, ...] = (found.st_mode, found.st_ino)
                if stat.S_ISREG(found.st_mode):
                    seen += (found.st_mtime_ns, path.read_bytes())
                if path.name != "sshd.log":
                    yield str(path), seen


@dataclass
class Run:
    """What came of one run."""

    hostile: Hostile
    done: subprocess.CompletedProcess[str]
    seconds: float
    peak: int
    """Bytes of memory that the largest of its processes took."""

    def __post_init__(self) -> None:
        self.rows = {row["epn"]: row for row in self.hostile.home.status()}

    def nothing_worse(self) -> None:
        """Nothing strange is shown, and nothing is left in an experiment's folder."""
        home = self.hostile.home
        for text in (self.done.stdout, self.done.stderr, home.log):
            assert "Traceback" not in text, text
            assert not set(re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)), text
        assert self.done.returncode in (0, 1, 4), self.done.stderr
        assert self.peak < MOST
        assert compare_trees(home.facility.data / "mx" / HONEST, home.copy(HONEST)) == []
        assert self.rows[HONEST]["completed"] is not None
        for epn in self.hostile.epns.values():
            for folder, folders, files in os.walk(os.fsencode(home.copy(epn).parent)):
                for name in [*folders, *files]:
                    found = os.lstat(folder + b"/" + name)
                    assert stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode), name
                    never = stat.S_ISUID | stat.S_ISVTX
                    if not stat.S_ISDIR(found.st_mode):
                        never |= stat.S_ISGID
                    assert not found.st_mode & never, name
                    assert PARTIAL_DIR.encode() not in name

    def reason(self, scenario: str) -> str:
        """Why an experiment stays due, as the log and the catalogue tell it."""
        epn = self.hostile.epns[scenario]
        told = [line for line in self.hostile.home.log.splitlines() if f"{epn}: " in line]
        found = [line for line in told if "could not be listed" in line or "stays due" in line]
        found += [line for line in self.done.stdout.splitlines() if line.startswith(epn)]
        return found[0] if found else "nothing is told of it"

    def check(self, cases: Mapping[str, str | None]) -> None:
        """Each came home as it is, or is due for a reason with these words (a pattern)."""
        wrong = []
        for what, words in cases.items():
            try:
                if words is HOME:
                    self.is_home(what)
                else:
                    self.ends(what, words)
            except AssertionError as error:
                wrong.append(f"{what}: {error}")
        assert not wrong, "\n".join(wrong)

    def is_home(self, scenario: str, *, as_it_is: bool = True) -> None:
        """It is complete at home, as the facility has it."""
        home, epn = self.hostile.home, self.hostile.epns[scenario]
        assert epn in self.rows and self.rows[epn]["completed"] is not None, self.reason(scenario)
        if as_it_is:
            differing = compare_trees(home.facility.data / "mx" / epn, home.copy(epn))
            assert not differing, differing

    def ends(self, scenario: str, words: str) -> None:
        """It is not called complete, and the reason holds these words (a pattern)."""
        epn = self.hostile.epns[scenario]
        assert epn not in self.rows or self.rows[epn]["completed"] is None, "it is complete"
        assert re.search(words, self.reason(scenario)), self.reason(scenario)
        assert epn not in self.hostile.home.ignored, "it is in ignore.yml"
