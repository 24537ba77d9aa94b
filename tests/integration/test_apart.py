"""An experiment in a process of its own: what its death costs."""

from __future__ import annotations

import base64
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.domain.attempt import Verdict
from asynchy.domain.stop import Stop
from asynchy.service import apart
from asynchy.service.board import Board
from asynchy.ssh.remote import Remote

EVENT = ("log", "asynchy", 20, "%s", "so far " * 1000)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_a_process_that_dies_while_it_tells_costs_its_experiment_alone(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    line = (base64.b64encode(pickle.dumps(EVENT)) + b".\n").decode()
    told = line[: int(share * len(line))]
    monkeypatch.setattr(apart, "_COMMAND", ("sh", "-c", 'printf "%s" "$1"; kill -9 $$', "sh", told))
    site: Any = SimpleNamespace(remote=Remote("host", "user"), stop=Stop(), board=Board())
    transfer: Any = SimpleNamespace(copy=SimpleNamespace(epn="12282a"))
    settings: Any = None
    outcome = apart.bring_apart(settings, settings, 0)(site, transfer, None)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason == "its process died (exit code -9)"
