"""Figures for Prometheus, from the newest states and from what runs.

`/metrics` serves them, and `asynchy metrics` writes them for node_exporter's textfile collector.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from asynchy.model.diagnostic_result import DoctorRun
from asynchy.model.experiment_state import State
from asynchy.reporting.failure_causes import FailureCause
from asynchy.web.history import deadlines
from asynchy.web.snapshot import StateView
from asynchy.web.views import LiveView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_text(live: LiveView, states: StateView | None, doctor: DoctorRun | None) -> bytes:
    """The figures; without states, those that follow from them are left out."""
    registry = CollectorRegistry()
    registry.register(_Collector(live, states, doctor))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, live: LiveView, states: StateView | None, doctor: DoctorRun | None) -> None:
        self._live, self._states, self._doctor = live, states, doctor

    def collect(self) -> Iterable[Metric]:
        yield from _of_live(self._live)
        if self._doctor is not None:
            yield from _of_doctor(self._doctor)
        if self._states is not None:
            yield from _of_states(self._states)
            yield _errors(self._states)
            yield from _of_forecast(self._states)


def _of_live(live: LiveView) -> Iterable[Metric]:
    running = live.service is not None and live.service.alive
    yield _gauge("asynchy_service_up", "Whether mxsync runs as a service.", running)
    yield _gauge("asynchy_paused", "Whether mxsync is paused.", live.pause is not None)
    if live.service is not None:
        yield _gauge(
            "asynchy_service_heartbeat_timestamp_seconds",
            "When mxsync last said that it is alive.",
            live.service.heartbeat.timestamp(),
        )
        troubled = bool(live.service.trouble)
        yield _gauge(
            "asynchy_service_trouble", "Whether something went wrong in the latest cycle.", troubled
        )
    if live.complete_cycle is not None:
        yield _gauge(
            "asynchy_complete_cycle_timestamp_seconds",
            "When the latest cycle ended in which portal and facility told all.",
            live.complete_cycle.timestamp(),
        )
    yield _gauge(
        "asynchy_connections",
        "Connections of this machine to the facility's server.",
        live.connections,
    )
    yield _gauge(
        "asynchy_connections_limit", "How many it may have at a time.", live.most_connections
    )
    yield _gauge("asynchy_transfers_running", "Transfers that run.", len(live.running))
    yield _gauge(
        "asynchy_transfer_rate_bytes_per_second", "Bytes that arrive each second now.", live.rate
    )
    yield _gauge(
        "asynchy_received_last_hour_bytes", "Bytes that arrived in the last hour.", live.hour_bytes
    )


def _of_doctor(run: DoctorRun) -> Iterable[Metric]:
    yield _gauge(
        "asynchy_doctor_timestamp_seconds",
        "When `asynchy doctor` last ran.",
        run.at.timestamp(),
    )
    yield _gauge("asynchy_doctor_failed_checks", "What it found wrong.", len(run.failed))


def _errors(states: StateView) -> Metric:
    failed = GaugeMetricFamily(
        "asynchy_errors", "Attempts that failed in the last 24 hours, by cause.", labels=["cause"]
    )
    found = {one["name"]: one["lately"] for one in states.facts["errors"]}
    for cause in FailureCause:
        name = cause.name.lower()
        failed.add_metric([name], found.get(name, 0))
    return failed


def _of_states(states: StateView) -> Iterable[Metric]:
    yield _gauge(
        "asynchy_states_timestamp_seconds", "Of when the states are.", states.at.timestamp()
    )
    counts = states.snapshot.counts("state")
    by_state = GaugeMetricFamily("asynchy_experiments", "Experiments by state.", labels=["state"])
    for state in State:
        name = state.name.lower()
        by_state.add_metric([name], counts.get(name, 0))
    yield by_state
    needs = GaugeMetricFamily(
        "asynchy_experiments_needing_person", "Experiments that need a person.", labels=["cause"]
    )
    for cause, number in states.snapshot.counts("cause").items():
        needs.add_metric([cause], number)
    yield needs
    totals = states.snapshot.totals("beamline")
    home = GaugeMetricFamily("asynchy_home_bytes", "Bytes at home.", labels=["beamline"])
    left = GaugeMetricFamily(
        "asynchy_left_bytes", "Bytes still to come, as far as known.", labels=["beamline"]
    )
    unknown = GaugeMetricFamily(
        "asynchy_left_unknown_size_experiments",
        "Experiments still to come of unknown size, which those bytes leave out.",
        labels=["beamline"],
    )
    for one in totals:
        home.add_metric([one.name], one.bytes)
        left.add_metric([one.name], one.left_bytes)
        unknown.add_metric([one.name], one.unknown)
    yield from (home, left, unknown)
    yield from _at_risk(states)
    yield _gauge(
        "asynchy_damaged_files",
        "Files at home that are missing or damaged.",
        states.snapshot.damaged_files(),
    )
    oldest = states.snapshot.oldest_obligation()
    if oldest is not None:
        yield _gauge(
            "asynchy_oldest_obligation_timestamp_seconds",
            "When the oldest experiment was measured that is due or has no project.",
            oldest.timestamp(),
        )
    if states.facts["portal"] is not None:
        yield _gauge(
            "asynchy_portal_timestamp_seconds",
            "When the portal last told of a visit.",
            _seconds(states.facts["portal"]),
        )


def _at_risk(states: StateView) -> Iterable[Metric]:
    found = deadlines(states)
    assert found is not None
    number = GaugeMetricFamily(
        "asynchy_at_risk_experiments",
        "Experiments that the facility may delete before they are safe at home, by days left.",
        labels=["within"],
    )
    size = GaugeMetricFamily(
        "asynchy_at_risk_bytes", "Their bytes, as far as known.", labels=["within"]
    )
    unknown = GaugeMetricFamily(
        "asynchy_at_risk_unknown_size_experiments",
        "Those of them of unknown size, which those bytes leave out.",
        labels=["within"],
    )
    for band in found.bands:
        number.add_metric([band.name], band.experiments)
        size.add_metric([band.name], band.bytes)
        unknown.add_metric([band.name], band.unknown)
    yield from (number, size, unknown)


def _of_forecast(states: StateView) -> Iterable[Metric]:
    expected = states.facts["forecast"]
    yield _gauge(
        "asynchy_backlog_experiments", "Experiments to be fetched.", expected["experiments"]
    )
    yield _gauge("asynchy_backlog_bytes", "Bytes to be fetched.", expected["bytes"])
    yield _gauge(
        "asynchy_late_experiments",
        "Experiments that the facility may delete before they are fetched, at the present rate.",
        expected["number_late"],
    )
    if expected["done"] is not None:
        yield _gauge(
            "asynchy_backlog_done_timestamp_seconds",
            "When all of it is at home, at the present rate.",
            _seconds(expected["done"]),
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
