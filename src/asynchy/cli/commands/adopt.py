"""`asynchy adopt`: copies that the original programs made count from now on."""

from __future__ import annotations

from pathlib import Path

import click

from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.cli.lazy import loaded
from asynchy.cli.options import epns_argument, layout_option, until_stopped
from asynchy.cli.signals import Signals
from asynchy.config import Settings, load_shared
from asynchy.model.cancellation import Stop


@click.command("adopt")
@epns_argument
@click.option(
    "--dest",
    help="Compare what is below this folder, as `asynchy sync --dest` would fill it; without it: "
    "what is at home for the projects of epn_cap_map.",
)
@layout_option
@click.option("--dry-run", is_flag=True, help="Compare and show; record nothing.")
@click.pass_obj
@handle_errors
def adopt_command(
    file: Path, /, epns: frozenset[str], dest: str | None, layout: str, *, dry_run: bool
) -> int:
    """Take over copies that other programs made. Without an EPN: all that are at home.

    Each is compared with the facility by size and time; no file is moved. What is complete is
    recorded at level size, so that audit, verify and receipt work on it; what is not complete is
    due, whatever the original program noted in ignore.yml. Resumes if interrupted.
    """
    settings = load_shared(file).settings
    if dest is None and not isinstance(settings, Settings):
        raise click.UsageError(f"{file} has no projects: name the folder of the copies with --dest")
    logging_setup.set_up(settings.log_level, settings.log_files.sync)

    def work(stop: Stop, signals: Signals) -> int:
        code: int = loaded("adopt_run.run")(settings, stop, epns, dest, layout, dry_run=dry_run)
        return code or (signals.exit_code if stop.requested else 0)

    return until_stopped(work)
