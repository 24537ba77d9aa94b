"""An experiment in a process of its own: what its death costs."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.config import Shared
from asynchy.domain.attempt import Verdict
from asynchy.domain.stop import Stop
from asynchy.errors import CatalogueError
from asynchy.plan.engine import Means
from asynchy.service import apart
from asynchy.service.board import Board
from asynchy.ssh.remote import Remote

SITE: Any = SimpleNamespace(remote=Remote("host", "user"), stop=Stop(), board=Board())
TRANSFER: Any = SimpleNamespace(copy=SimpleNamespace(epn="12282a"))
EVENT = ("log", "asynchy", 20, "%s", "so far " * 1000)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_a_process_that_dies_while_it_tells_costs_its_experiment_alone(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    line = (base64.b64encode(pickle.dumps(EVENT)) + b".\n").decode()
    told = line[: int(share * len(line))]
    monkeypatch.setattr(apart, "_COMMAND", ("sh", "-c", 'printf "%s" "$1"; kill -9 $$', "sh", told))
    settings: Any = None
    outcome = apart.bring_apart(settings, settings, 0)(SITE, TRANSFER, None)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason == "its process died (exit code -9)"


def test_a_process_that_stands_still_is_ended_after_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart, "_COMMAND", ("sh", "-c", "kill -STOP $$"))
    settings: Any = None
    site: Any = SimpleNamespace(
        remote=Remote("host", "user", timeout=1), stop=Stop(), board=Board()
    )
    outcome = apart.bring_apart(settings, settings, 0)(site, TRANSFER, None)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason is not None and "stood still for 3 s, and was ended" in outcome.reason


def test_a_catalogue_that_it_cannot_use_is_an_error_in_words(tmp_path: Path) -> None:
    settings = Shared(catalogue=tmp_path)
    with pytest.raises(CatalogueError, match=f"{tmp_path} is a folder"):
        apart.bring_apart(settings, Means(), 0)(SITE, TRANSFER, None)
