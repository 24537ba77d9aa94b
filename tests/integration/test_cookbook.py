"""The pages "Cookbook" and "A second beamline": each of their commands is run, and answers."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from simulator.experiments import mx_experiment
from simulator.portal.handle import OMIT
from tests.conftest import Home, as_user, give, scripts
from tests.integration.test_reports import measured

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
ANSWERS = {  # what the answer to a question has; questions without an answer here have a quiet one
    "What is due, and why?": "8020l: mount the project folder, make it",
    "What came home this week?": "12282a\n12283a\n",
    "What failed?": "INFO 12282a: complete",
    "What does the facility delete next?": "77a\t8\tada@uni.example\tbelongs to no project",
    "Which EPNs belong to no project?": "77a\n",
    "Which experiments are the biggest?": "12282a   48K 28\n",
    "Where is one file?": "12282a,mx,frames/ada/lysozyme 1/lyso_1_master.h5,20000,",
    "Where are all copies of a project?": "/ny79/12282a/data\n",
    "Is one experiment whole and unharmed?": "  data/frames/ada/lysozyme 1/lyso_1_master.h5",
    "Which copies are proven by size and time alone?": "12283a\n",
    "May the facility's files be deleted?": "12282a",
    "Is the service alive? (for a monitoring system)": "mxsync does not run\n",
    "When is all of it home, and does it fit?": "2 experiments are due: ",
    "Have a copy somewhere else": "12283a",
    "It need not come home": "8020l",
    "Keep what is known": "catalogue.db.backups/",
}
NEEDS_A_PERSON = ("report activity --since 7d --format csv", "report activity --month")
"""What ends with 1: something needs a person."""


def sections(page: str) -> dict[str, list[str]]:
    """The command lines of a page, by heading."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    text = (PAGES / page).read_text(encoding="utf-8")
    for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif match := re.match(r" {4,7}(\S.*)", line):
            found.setdefault(heading, []).append(match[1])
    return found


def run(home: Home, line: str) -> subprocess.CompletedProcess[str]:
    """A command line of a page, with the folders of this test, as the user of the service."""
    for theirs, ours in {
        "/opt/mx_sync/etc/config.yml": home.config,
        "--config config.yml": f"--config {home.config}",
        "/projects": home.storage,
        "/archive": home.place / "archive",
    }.items():
        line = line.replace(theirs, str(ours))
    return subprocess.run(
        [*as_user(), "bash", "-c", line], capture_output=True, text=True, check=False, timeout=100,
        cwd=home.place,
        env={
            "PATH": f"{scripts()}:{os.environ['PATH']}", "HOME": str(home.place),
            "LANG": "C.UTF-8", "ASYNCHY_CONFIG": str(home.config),
        },
    )  # fmt: skip


@pytest.mark.extra
def test_each_line_of_the_cookbook_answers_its_question(home: Home) -> None:
    """One is at home and proven, one at home, one due without a project folder, one nobody's."""
    home.configure(
        retention_days={"mx": 10},
        epn_cap_map={"12282": "ny79", "12283": "ny79", "8020": "kx12"},
    )
    measured(home, "12282a", 2)
    measured(home, "12283a", 1)
    measured(home, "8020l", 1)
    measured(home, "77a", 1)
    (home.place / "archive" / "receipts").mkdir(parents=True)
    give(home.place)
    assert home.once().returncode == 1
    found = sections("cookbook.md")
    assert set(ANSWERS) == {heading for heading in found if heading}
    for heading, lines in found.items():
        said = ""
        for line in lines:
            done = run(home, line)
            code = 1 if any(one in line for one in NEEDS_A_PERSON) else 0
            assert (done.returncode, done.stderr) == (code, ""), f"{line}\n{done}"
            said += done.stdout
        assert ANSWERS.get(heading, "") in said, f"{heading}\n{said}"
    assert (home.place / "week.csv").read_text().count("came home") == 2
    assert (home.place / "month.csv").read_text().startswith("epn,beamline")


def blocks(page: str) -> list[Any]:
    """The YAML of a page."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return [
        YAML(typ="safe").load(re.sub(r"^ {3}", "", block, flags=re.MULTILINE))
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    ]


@pytest.mark.extra
def test_a_second_beamline_is_added_as_its_page_says(home: Home) -> None:
    measured(home, "12282a", 2)
    assert home.once().returncode == 0
    mx_experiment(home.facility.experiment("saxs", "20345b"), "20345b", frames=2, frame_bytes=3000)
    give(home.facility.data)
    home.visit("20345b", equipment=31, ended=24)
    home.project("kx12")

    equipment, places = blocks("second-beamline.md")
    entries = [
        {key: value for key, value in one.items() if key in ("id", "beamline")}
        for one in equipment.pop("equipment")
    ]
    home.configure(
        equipment=entries, epn_cap_map={"12282": "ny79"}, epnalert_template_text=OMIT,
        epnalert_template_html=OMIT, epnalert_email_smtp=OMIT,
        **{name.replace("-", "_"): value for name, value in {**equipment, **places}.items()},
    )  # fmt: skip
    said = {}
    for line in sections("second-beamline.md")[""]:
        done = run(home, line)
        assert (done.returncode, done.stderr) == (0, ""), f"{line}\n{done}"
        said[line.rpartition("config.yml ")[2]] = done.stdout
    assert "portal, equipment 31: credentials accepted" in said["doctor"]
    assert f"source {home.facility.data}/saxs: 1 entry" in said["doctor"]
    assert (home.storage / "kx12" / "saxs" / "20345b" / "data" / "frames").is_dir()
    assert (home.storage / "ny79" / "12282a" / "data" / "frames").is_dir()
    assert not (home.storage / "ny79" / "mx").exists()
    assert re.search(r"saxs +1 +1 ", said["report usage --by beamline"])
