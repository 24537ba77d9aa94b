"""The config's `executor`: this machine, or a Dask cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynchy.model.cluster import ClusterAddress
from tests.unit.test_config import good, refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("local", None),
        ("{dask: 'tcp://head.example:8786'}", ClusterAddress("tcp://head.example:8786")),
        ("{dask: 'tcp://[fe80::1]:8786'}", ClusterAddress("tcp://[fe80::1]:8786")),
        (
            "{dask: {scheduler: 'tls://head:8786', ca: /c/ca.pem, cert: /c/me.pem, key: /c/me.key}}",
            ClusterAddress(
                "tls://head:8786", None, Path("/c/ca.pem"), Path("/c/me.pem"), Path("/c/me.key")
            ),
        ),
        (
            "{dask: {scheduler-file: /shared/scheduler.json}}",
            ClusterAddress(None, Path("/shared/scheduler.json")),
        ),
    ],
)
def test_an_executor_is_this_machine_or_a_scheduler(
    tmp_path: Path, text: str, expected: ClusterAddress | None
) -> None:
    assert good(tmp_path, f"executor: {text}").cluster == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dask", "found 'dask'; accepted is local, or a cluster such as {dask: tcp://head:8786}"),
        ("{slurm: x}", "accepted is local, or a cluster such as"),
        ("{dask: 'head:8786'}", "accepted is an address such as tcp://head:8786"),
        ("{dask: 'tcp://head:0'}", "accepted is an address such as tcp://head:8786"),
        ("{dask: {}}", "accepted is either an address (scheduler) or scheduler-file"),
        ("{dask: 'tls://head:8786'}", "accepted is all three of ca, cert and key"),
        ("{dask: {scheduler: 'tcp://h:1', ca: a, cert: b, key: c}}", "accepted is all three of"),
        ("{dask: {scheduler: 'tls://h:1', ca: a}}", "accepted is all three of ca, cert and key"),
        ("{dask: {schedular: 'tcp://h:1'}}", "unknown key; did you mean scheduler?"),
    ],
)
def test_another_executor_is_refused_with_what_is_accepted(
    tmp_path: Path, text: str, told: str
) -> None:
    message = refused(
        tmp_path,
        "beamline: mx\nignore: i\ndestination-root-path: /p\n"
        "equipment: [{id: 23, username: a, password: b, client_name: c, client_password: d}]\n"
        f"executor: {text}\n",
    )
    assert told in message
    assert message.count("\n") == 0
