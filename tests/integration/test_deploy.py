"""What a site installs: the units are accepted by systemd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import scripts

pytestmark = pytest.mark.extra

DEPLOY = Path(__file__).parents[2] / "deploy"
STARTS = {
    "mx_sync.service": "/opt/mx_sync/bin/mxsync --config /opt/mx_sync/etc/config.yml --execute",
    "epnalert.service": "/opt/mx_sync/bin/epnalert --config /opt/mx_sync/etc/config.yml",
    "epnalert.timer": "OnCalendar=*-*-* 01:00:00",
    "asynchy-audit.service": "/opt/mx_sync/bin/asynchy --config /opt/mx_sync/etc/config.yml audit",
    "asynchy-audit.timer": "OnCalendar=*-*-* 03:00:00",
}


@pytest.mark.parametrize("name", STARTS)
def test_systemd_accepts_the_units(tmp_path: Path, name: str) -> None:
    assert STARTS[name] in (DEPLOY / name).read_text(encoding="utf-8")
    for unit in STARTS:  # a timer wants its service beside it
        text = (DEPLOY / unit).read_text(encoding="utf-8")
        for command in ("mxsync", "epnalert", "asynchy"):
            text = text.replace(f"/opt/mx_sync/bin/{command}", str(scripts() / command))
        (tmp_path / unit).write_text(text.replace("User=mx_sync", "User=daemon"))
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    stem = name.partition(".")[0]
    complaints = [line for line in answer.stderr.splitlines() if stem in line]
    assert (answer.returncode, complaints) == (0, [])
