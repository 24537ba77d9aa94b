"""`make demo-web`: a facility on this machine, mxsync as a service, and the dashboard of it.

A new experiment ends its visit every minute or so, and the link is slow enough to see it come home.
One EPN belongs to nobody: assign it in the dashboard. Ctrl-C ends all of it, and removes it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from simulator.config import write_config
from simulator.experiments import many_small_files, mx_experiment
from simulator.facility import Facility
from simulator.portal.handle import OMIT
from simulator.scratch import new_folder, remove

_SCRIPTS = Path(sys.executable).parent
_PROJECTS = {"12282": "ny79", "8020": "ny79", "19754": "kx12", "12283": "ny79"}
_INTERVAL = 60.0  # seconds
"""Seconds between two new experiments."""
_LINK = "4 MB"
"""Bytes a second."""
_TITLES = {
    "12282a": "Fragment screening of <b>lysozyme</b> & friends",
    "8020l": "In situ diffraction of perovskite films",
    "19754a": "Structure of a membrane transporter",
    "20345b": "Time-resolved crystallography of photosystem II",
    "12283c": "Serial crystallography, second run",
}
_PERSON = {
    "id": 7, "first_names": "Ada", "last_name": "Bragg", "email": "ada.bragg@uni.example",
    "organisation": "A University",
}  # fmt: skip


@dataclass
class Scene:
    """A facility, a home, and the commands that run."""

    folder: Path
    facility: Facility
    config: Path

    def measured(self, epn: str, ended: timedelta, *, megabytes: int = 40) -> None:
        """An experiment is at the facility, and the portal reports its visit."""
        place = self.facility.experiment("mx", epn)
        mx_experiment(place, epn, frames=12)
        (place / "raw").mkdir(exist_ok=True)
        for number in range(megabytes // 4):
            (place / "raw" / f"image_{number:04}.h5").write_bytes(os.urandom(4_000_000))
        end = datetime.now(UTC).replace(microsecond=0) - ended
        proposal = {"title": _TITLES.get(epn, "Structures of things"), "type": {"name": "MX"}}
        self.facility.portal.add_visit(
            equipment=23, epn=epn, start=end - timedelta(hours=8), end=end, proposal=proposal,
            principal_scientist=_PERSON,
        )  # fmt: skip


def main() -> int:
    """Run it until Ctrl-C."""
    folder = new_folder("asynchy-demo-web-")
    try:
        with scene(folder) as made, contextlib.ExitStack() as stack:
            token = command(made.config, "web", "token", "add", "you", "--role", "operator").strip()
            stack.enter_context(running(made.config, "mxsync", "--execute"))
            stack.enter_context(running(made.config, "asynchy", "web"))
            print(f"\nThe token to log in with: {token}\nCtrl-C ends the demo.\n", flush=True)
            for epn in later_epns():
                time.sleep(_INTERVAL)
                if epn.endswith("a"):
                    command(made.config, "map", "add", epn, "kx12")
                # Before the visit that runs began: what was measured after that waits for its end.
                made.measured(epn, timedelta(hours=6))
                command(made.config, "now")
    except KeyboardInterrupt:
        print("\nThe demo ends.", flush=True)
    finally:
        remove(folder)
    return 0


def later_epns() -> Iterator[str]:
    """The EPNs of one new experiment after the other, without end; none of them twice."""
    for proposal in itertools.count(21007):
        yield from (f"{proposal}{letter}" for letter in ascii_lowercase)


@contextlib.contextmanager
def scene(folder: Path, **keys: Any) -> Iterator[Scene]:
    """A facility with some experiments, and a config for it; `keys`: further keys of the config."""
    home = folder / "home"
    (home / "logs").mkdir(parents=True)
    for project in set(_PROJECTS.values()):
        (home / "projects" / project).mkdir(parents=True)
    with Facility(folder / "facility") as facility:
        config = write_config(
            home / "config.yml", facility, destination=home / "projects", epn_cap_map=_PROJECTS,
            epnalert_template_folder=OMIT, epnalert_template_text=OMIT,
            epnalert_template_html=OMIT, retention_days={"mx": 14}, bandwidth_limit=_LINK,
            **keys,
        )  # fmt: skip
        made = Scene(folder, facility, config)
        made.measured("12282a", timedelta(days=3), megabytes=80)
        made.measured("19754a", timedelta(days=9), megabytes=120)
        made.measured("20345b", timedelta(days=11), megabytes=8)
        made.measured("12283c", -timedelta(hours=3), megabytes=8)
        many_small_files(facility.experiment("mx", "8020l"), 2000, seed=8020)
        end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=8)
        facility.portal.add_visit(
            equipment=23, epn="8020l", start=end - timedelta(hours=8), end=end
        )
        yield made


def command(config: Path, *arguments: str) -> str:
    """Run `asynchy` to its end; returns its output."""
    call = [str(_SCRIPTS / "asynchy"), "--config", str(config), *arguments]
    print(f"$ asynchy --config {config} {' '.join(arguments)}", flush=True)
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=False)
    return str(done.stdout)


@contextlib.contextmanager
def running(config: Path, program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program meanwhile; it is asked to stop at the end."""
    call: list[str | Path] = [_SCRIPTS / program, *arguments, "--config", config]
    print(f"$ {program} {' '.join(arguments)} --config {config} &", flush=True)
    with subprocess.Popen(call, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


if __name__ == "__main__":
    sys.exit(main())
