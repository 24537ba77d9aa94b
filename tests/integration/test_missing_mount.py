"""A file system at home that is not mounted, in a mount namespace of its own.

What is missing is named once, whichever folder is the mount point, and nothing is fetched to the
disk below it.
"""

from __future__ import annotations

import pytest

from simulator.experiments import mx_experiment
from simulator.scratch import remove
from tests.conftest import Home, give, scripts, with_small_disk

pytestmark = pytest.mark.extra

MAPPING = {"12282": "ny79", "12283": "kx12"}


def measured(home: Home, *epns: str) -> None:
    for epn in epns:
        source = home.facility.experiment("mx", epn)
        mx_experiment(source, epn, frames=1, frame_bytes=3000)
        give(source)
        home.visit(epn, ended=48)


@pytest.mark.parametrize(
    ("mount", "layout"),
    [
        ("storage", "{project}/{epn}/data"),  # that of all projects
        ("storage/ny79", "{project}/{epn}/data"),  # a project's own folder
        ("storage/ny79/mx", "{project}/mx/{epn}/data"),  # one below it
    ],
)
def test_a_missing_mount_is_named_once_and_nothing_is_fetched_below_it(
    home: Home, mount: str, layout: str
) -> None:
    projects = ["ny79", "kx12"] if mount == "storage" else ["ny79", "ny79"]
    home.configure(epn_cap_map=dict(zip(MAPPING, projects, strict=True)), destination_path=layout)
    measured(home, "12282a", "12283b")
    target = home.place / mount
    if mount == "storage":
        remove(home.storage / "ny79")
    else:
        (home.storage / "ny79" / "notes").mkdir()
    target.mkdir(exist_ok=True)
    give(home.storage)
    command = f"{scripts()}/mxsync --config {home.config} --execute --once"
    make = [f"/bin/mkdir -p {home.storage}/{name}" for name in projects]
    first = with_small_disk(
        target, "size=20m,mode=2775", home.place,
        *make,
        command, "echo $? > first",
        f"umount {target}",
        command, "echo $? > second",
        f"{scripts()}/asynchy --config {home.config} status > shown",
    )  # fmt: skip
    said = first.stdout + first.stderr
    assert (home.place / "first").read_text() == "0\n", said
    assert (home.place / "second").read_text() == "1\n", said
    shown = (home.place / "shown").read_text()
    rows = [
        line for line in shown.splitlines() if "cannot be reached" in line and "its place" in line
    ]
    assert len(rows) == 1 and f": {target}" in rows[0] and "and 1 more" in rows[0], shown
    # A new experiment does not go to the disk below.
    measured(home, "12282c")
    run = home.once()
    assert run.returncode == 1
    place = home.storage / layout.format(project=projects[0], epn="12282c")
    assert not place.exists(), run.stdout
