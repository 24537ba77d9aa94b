"""The metrics, and that what reads them names none that is not there."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynchy.catalogue.state_snapshot import StateSnapshot, write_state_snapshot
from asynchy.model.attempt import ServiceState
from asynchy.model.diagnostic_result import DiagnosticResult, DoctorRun
from asynchy.web.metrics import metrics_text
from asynchy.web.snapshot import StateView
from asynchy.web.views import LiveView
from tests.unit.test_state_snapshot import ROWS

NOW = datetime.now(UTC)
DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE = ServiceState("mxsync", "node7", 1, NOW, NOW, "waiting", None, None, alive=True)
LIVE = LiveView(NOW, SERVICE, (), None, (), (), NOW, connections=3, most_connections=16)
DOCTOR = DoctorRun(NOW, "node7", (DiagnosticResult("clock", good=False, found="a day behind"),))


@pytest.fixture
def states(tmp_path: Path) -> StateView:
    expected = {"experiments": 1, "bytes": 30, "number_late": 0,
                "done": (NOW + timedelta(hours=1)).isoformat()}  # fmt: skip
    facts = {"at": NOW.isoformat(), "portal": NOW.isoformat(), "forecast": expected,
             "errors": [{"name": "connection", "lately": 4}]}  # fmt: skip
    write_state_snapshot(tmp_path / "states.db", ROWS, facts)
    return StateView(StateSnapshot(tmp_path / "states.db"), facts, None)


def values(text: bytes) -> dict[str, float]:
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_say_what_the_states_say(states: StateView) -> None:
    found = values(metrics_text(LIVE, states, DOCTOR))
    assert found['asynchy_experiments{state="at_home"}'] == 3
    assert found['asynchy_experiments{state="gone"}'] == 0
    assert found['asynchy_experiments_needing_person{cause="no project"}'] == 1
    assert found['asynchy_home_bytes{beamline="mx"}'] == 40
    assert found["asynchy_service_up"] == 1
    assert found["asynchy_backlog_bytes"] == 30
    assert found['asynchy_errors{cause="connection"}'] == 4
    assert found['asynchy_errors{cause="no_room"}'] == 0
    assert found["asynchy_connections"] == 3
    assert found["asynchy_complete_cycle_timestamp_seconds"] == NOW.timestamp()
    assert found["asynchy_doctor_failed_checks"] == 1


def test_experiments_of_unknown_size_are_counted_beside_the_bytes(states: StateView) -> None:
    found = values(metrics_text(LIVE, states, DOCTOR))
    assert found['asynchy_at_risk_bytes{within="past"}'] == 30, "of another one"
    assert found['asynchy_at_risk_unknown_size_experiments{within="past"}'] == 1
    assert found['asynchy_left_bytes{beamline="mx"}'] == 0
    assert found['asynchy_left_unknown_size_experiments{beamline="mx"}'] == 1


def test_what_is_not_known_is_left_out_and_not_zero() -> None:
    live = LiveView(NOW, None, (), None, (), ())
    found = values(metrics_text(live, None, None))
    assert found["asynchy_service_up"] == 0
    assert not any(name.startswith("asynchy_experiments") for name in found)
    assert "asynchy_states_timestamp_seconds" not in found
    assert not any("doctor" in name or "errors" in name or "cycle" in name for name in found)


def named(text: str) -> set[str]:
    return set(re.findall(r"\basynchy_[a-z_]+", text))


@pytest.mark.parametrize("file", ["prometheus/asynchy.rules.yml", "grafana/asynchy.json"])
def test_rules_and_dashboards_name_metrics_that_exist(states: StateView, file: str) -> None:
    text = (DEPLOY / file).read_text(encoding="utf-8")
    if file.endswith("json"):
        panels = json.loads(text)["panels"]
        text = " ".join(one["expr"] for panel in panels for one in panel["targets"])
    assert len(named(text)) > 5
    assert named(text) - named(metrics_text(LIVE, states, DOCTOR).decode()) == set()
