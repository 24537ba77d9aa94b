"""What a site installs: the unit is accepted by systemd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import SCRIPTS

pytestmark = pytest.mark.extra

UNIT = Path(__file__).parents[2] / "deploy" / "mx_sync.service"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert "/opt/mx_sync/bin/mxsync --config /opt/mx_sync/etc/config.yml --execute" in text
    unit = tmp_path / "mx_sync.service"
    unit.write_text(
        text.replace("/opt/mx_sync/bin/mxsync", str(SCRIPTS / "mxsync")).replace(
            "User=mx_sync", "User=daemon"
        )
    )
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    complaints = [line for line in answer.stderr.splitlines() if "mx_sync" in line]
    assert (answer.returncode, complaints) == (0, [])
