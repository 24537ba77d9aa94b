"""An experiment in a process of its own: what its death costs."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asynchy.config import Shared
from asynchy.errors import CatalogueError
from asynchy.model.attempt import Verdict
from asynchy.model.cancellation import Stop
from asynchy.model.transfer_options import TransferOptions
from asynchy.repatriation import fetch_subprocess
from asynchy.runtime.progress import ProgressBoard
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession


def site(timeout: int = 600) -> Any:
    session = ServerSession(Server("host", "user", timeout=timeout))
    return SimpleNamespace(
        session=session, remote=session.server, stop=Stop(), board=ProgressBoard()
    )


TRANSFER: Any = SimpleNamespace(copy=SimpleNamespace(epn="12282a"))
EVENT = ("log", "asynchy", 20, "%s", "so far " * 1000)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_a_process_that_dies_while_it_tells_costs_its_experiment_alone(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    line = (base64.b64encode(pickle.dumps(EVENT)) + b".\n").decode()
    told = line[: int(share * len(line))]
    monkeypatch.setattr(
        fetch_subprocess, "_COMMAND", ("sh", "-c", 'printf "%s" "$1"; kill -9 $$', "sh", told)
    )
    settings: Any = None
    outcome = fetch_subprocess.fetch_in_subprocess(settings, settings, 0)(site(), TRANSFER, None)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason == "its process died (exit code -9)"


def test_a_process_that_stands_still_is_ended_after_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch_subprocess, "_COMMAND", ("sh", "-c", "kill -STOP $$"))
    settings: Any = None
    outcome = fetch_subprocess.fetch_in_subprocess(settings, settings, 0)(
        site(timeout=1), TRANSFER, None
    )
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason is not None and "stood still for 3 s, and was ended" in outcome.reason


def test_a_catalogue_that_it_cannot_use_is_an_error_in_words(tmp_path: Path) -> None:
    settings = Shared(catalogue=tmp_path)
    with pytest.raises(CatalogueError, match=f"{tmp_path} is a folder"):
        fetch_subprocess.fetch_in_subprocess(settings, TransferOptions(), 0)(site(), TRANSFER, None)
