"""`asynchy doctor` finds what the original programs left, with a real pip in real environments."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from asynchy.doctor.leftovers import is_original, running_originals

ROOT = Path(__file__).parents[2]
LOOK = """
import json
from asynchy.doctor.leftovers import leftovers
print(json.dumps([[found.good, found.found, found.to_do] for found in leftovers(None)]))
"""


def wheel(folder: Path, name: str, version: str, commands: dict[str, str]) -> Path:
    """A wheel of a package that has nothing but commands, as another program's would have."""
    package = commands[min(commands)].partition(".")[0].partition(":")[0]
    info = f"{name}-{version}.dist-info"
    points = "".join(f"{command} = {where}\n" for command, where in commands.items())
    files = {
        f"{package}/__init__.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{points}",
    }
    record = io.StringIO()
    csv.writer(record).writerows([[path, "", ""] for path in [*files, f"{info}/RECORD"]])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for inside, text in [*files.items(), (f"{info}/RECORD", record.getvalue())]:
            made.writestr(inside, text)
    return path


class Environment:
    """A virtual environment with asynchy in it; pip is that of the environment of the tests."""

    def __init__(self, place: Path) -> None:
        self.place = place
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        packages = next(place.glob("lib/python3*/site-packages"))
        # What asynchy needs is found, but not the distribution of it that the tests run with.
        needs = place / "needs"
        needs.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if "asynchy" not in path.name:
                (needs / path.name).symlink_to(path)
        (packages / "needs.pth").write_text(f"{needs}\n")
        commands = ("asynchy", "mxsync", "epnalert", "as-walker")
        self.ours = wheel(
            place, "asynchy", "1.0.0",
            {name: f"asynchy.cli.main:{name.replace('-', '_')}" for name in commands},
        )  # fmt: skip
        self.pip("install", self.ours)

    def pip(self, command: str, *arguments: str | Path) -> None:
        options = (
            ["--no-deps", "--no-index", "--force-reinstall"] if command == "install" else ["-y"]
        )
        subprocess.run(
            [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check",
             "--python", self.place / "bin" / "python", command, *options, *arguments],
            check=True, env={**os.environ, "PIP_NO_INDEX": "1"},
        )  # fmt: skip

    def leftovers(self, path: str = "/usr/bin:/bin") -> list[tuple[bool, str, str]]:
        """What the doctor finds, without the processes that other tests may have."""
        found = subprocess.run(
            [self.place / "bin" / "python", "-c", LOOK], capture_output=True, text=True, check=True,
            env={"PATH": path, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        rows = [tuple(row) for row in json.loads(found.stdout)]
        return [row for row in rows if not row[1].startswith("process ")]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


def original(folder: Path) -> Path:
    commands = {"mxsync": "ASSyncy.__main__:main", "epnalert": "ASSyncy.epngroupmap:main"}
    return wheel(folder, "ASSyncy", "0.0.2", commands)


def test_an_environment_without_an_original_has_no_leftovers(environment: Environment) -> None:
    assert environment.leftovers() == []


def test_an_original_in_the_same_environment_is_found_until_asynchy_is_whole_again(
    environment: Environment, tmp_path: Path
) -> None:
    place = environment.place
    again = "then install asynchy again"
    both = [
        (False, f"{place}/bin/{name} starts the original program",
         f"remove the original from {place}, {again}")
        for name in ("mxsync", "epnalert")
    ]  # fmt: skip
    beside = (
        True,
        f"ASSyncy 0.0.2 is in the same environment, {place}",
        "`pip uninstall ASSyncy` removes mxsync and epnalert: install asynchy again after it",
    )
    environment.pip("install", original(tmp_path))
    assert sorted(environment.leftovers()) == sorted([*both, beside])
    environment.pip("install", environment.ours)
    assert environment.leftovers() == [beside]
    environment.pip("uninstall", "ASSyncy")
    gone = "it went with an original that was removed: install asynchy again"
    assert sorted(environment.leftovers()) == [
        (False, f"{place}/bin/{name} is missing", gone) for name in ("epnalert", "mxsync")
    ]
    environment.pip("install", environment.ours)
    assert environment.leftovers() == []


def test_an_original_that_is_first_on_path_is_found(
    environment: Environment, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    script = folder / "asynchy"
    script.write_text("#!/usr/bin/python3\nfrom asynchy.cli.base import cli\ncli()\n")
    script.chmod(0o755)
    bin_folder = environment.place / "bin"
    assert environment.leftovers(f"{folder}:{bin_folder}") == [
        (
            True,
            f"the first asynchy on PATH is the original program, {script}",
            f"remove it, or put {bin_folder} before it on PATH",
        )
    ]
    assert environment.leftovers(f"{bin_folder}:{folder}") == []


def test_a_running_original_is_found_unless_its_data_go_elsewhere(tmp_path: Path) -> None:
    old, new = tmp_path / "old" / "mxsync", tmp_path / "new" / "mxsync"
    for script, module in ((old, "ASSyncy.__main__"), (new, "asynchy.cli.main")):
        script.parent.mkdir()
        script.write_text(f"#!/usr/bin/python3\nfrom {module} import main\n")
    ours, others = tmp_path / "ours", tmp_path / "others"
    for folder in (ours, others):
        folder.mkdir()
        (tmp_path / f"{folder.name}.yml").write_text(
            f"---\ndestination-root-path: '{folder}'  # {ours}\n"
        )
    processes = tmp_path / "proc"
    for number, words in enumerate(
        [["python3.6", old, "--config", tmp_path / "ours.yml", "--execute"],
         ["python3.6", old, "--config", "ours.yml", "--execute"],
         ["python3.6", old, "--config", "others.yml", "--execute"],
         ["python3.6", old, "--config", "gone.yml", "--execute"],
         ["python3.6", old],
         ["python3", new, "--config", "ours.yml"],
         ["vi", "mxsync"], ["less", tmp_path / "gone" / "mxsync"], []],
        start=5,
    ):  # fmt: skip
        (processes / str(number)).mkdir(parents=True)
        line = "".join(f"{word}\0" for word in words)
        (processes / str(number) / "cmdline").write_text(line)
        (processes / str(number) / "cwd").symlink_to(tmp_path)
    (processes / "99").mkdir()  # it has ended
    found = list(running_originals(ours, processes))
    assert [one.found for one in found] == [
        f"process {number} is the original program, {old}" for number in (5, 6, 8, 9)
    ]
    assert not any(one.good for one in found)
    assert len(list(running_originals(None, processes))) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from ASSyncy.__main__ import main", True),
        ("from asynchy.cli.base import cli", True),
        ("# EASY-INSTALL-ENTRY-SCRIPT: 'asynchy','console_scripts','asynchy'", True),
        ("__requires__ = 'ASSyncy==0.0.2'", True),
        ("from asynchy.cli.main import mxsync", False),
        ("exec /opt/mx_sync/bin/asynchy", False),
    ],
)
def test_a_script_says_whose_it_is(tmp_path: Path, text: str, expected: bool) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\n{text}\n")
    assert is_original(script) == expected
