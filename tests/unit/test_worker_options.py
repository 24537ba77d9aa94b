"""`asynchy worker`: which scheduler it works for."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from asynchy.cli.commands.worker import worker_command
from tests.unit.test_config import MINIMAL


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--scheduler", "head:8786"], "accepted is an address such as tcp://head:8786"),
        (["--scheduler", "tls://h:1", "--ca", "a.pem"], "--ca, --cert and --key belong together"),
        (
            ["--scheduler", "tcp://h:1", "--scheduler-file", "s"],
            "either --scheduler or --scheduler-file",
        ),
    ],
)
def test_a_worker_without_one_scheduler_is_refused(options: list[str], told: str) -> None:
    done = CliRunner().invoke(worker_command, options, obj=Path("no-config"))
    assert (done.exit_code, told in done.output) == (2, True)


@pytest.mark.parametrize("there", [True, False])
def test_a_worker_whose_config_names_no_scheduler_says_how_to_name_one(
    tmp_path: Path, there: bool
) -> None:
    config = tmp_path / "config.yml"
    if there:
        config.write_text(MINIMAL)
    done = CliRunner().invoke(worker_command, [], obj=config)
    assert (done.exit_code, "name the scheduler with --scheduler" in done.output) == (2, True)
    assert ("`executor` is local" in done.output) == there
