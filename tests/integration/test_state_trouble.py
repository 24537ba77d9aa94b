"""Our own state in trouble, and secrets: refused with words, nothing overwritten, nothing told."""

from __future__ import annotations

import os
from pathlib import Path

from simulator.experiments import mx_experiment
from tests.conftest import Home, give


def prepared(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    give(source)
    home.visit("12282a")


def test_a_damaged_catalogue_is_refused_and_stays_as_it_is(home: Home) -> None:
    prepared(home)
    damaged = home.place / "catalogue.db"
    damaged.write_bytes(b"this is no database, but somebody's notes" * 100)
    give(damaged)
    run = home.once()
    assert run.returncode == 5
    assert str(damaged) in run.stderr and "What to do:" in run.stderr
    assert damaged.read_bytes() == b"this is no database, but somebody's notes" * 100
    assert not home.copy("12282a").exists()


def test_a_log_folder_that_is_not_there_is_a_clear_error(home: Home) -> None:
    prepared(home)
    (home.place / "logs").rmdir()
    run = home.once()
    assert run.returncode == 3
    assert "log-files" in run.stderr and "No such file" in run.stderr


def test_no_secret_is_written_or_shown_anywhere(home: Home) -> None:
    prepared(home)
    home.configure(log_level="logging.DEBUG")
    shown = []
    home.facility.portal.expire_tokens_after(1)
    for arguments in ((), ("--execute", "--once")):
        run = home.mxsync(*arguments)
        shown.append(run.stdout + run.stderr)
    home.facility.portal.set_fault("status", code=500, path="visits", times=1)
    run = home.mxsync()
    shown.append(run.stdout + run.stderr)
    answer = home.program.run("asynchy", "--config", home.config, "config", "show")
    shown.append(answer.stdout + answer.stderr)
    tokens = {
        item.query["access_token"]
        for item in home.facility.portal.requests()
        if "access_token" in item.query
    }
    secrets = {"portal-password-canary", "client-password-canary", *tokens}
    assert len(tokens) >= 2
    for secret in secrets:
        assert not any(secret in text for text in shown)
        for folder, _, files in os.walk(home.place):
            for name in files:
                path = Path(folder, name)
                if path != home.config:
                    assert secret.encode() not in path.read_bytes(), path
