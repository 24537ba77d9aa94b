"""`as-walker`, which is `asynchy walk`: everything that is visible at the facility, catalogued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.cli.lazy import loaded
from asynchy.cli.legacy_options import FORMAT, zone
from asynchy.cli.options import config_option, together, until_stopped
from asynchy.cli.signals import Signals
from asynchy.config import load_shared
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import TIMEZONE
from asynchy.runtime import warm_up

_options = together(
    click.option(
        "--list",
        "listed",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File of EPNs: scan only these. Default: those in the spreadsheets of "
        "epns_path, or all that are visible.",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(["catalogue", FORMAT]),
        default="catalogue",
        show_default=True,
        metavar=f"[catalogue|{FORMAT}]",
        help=f"{FORMAT}: also write an SQLite file in the original's layout.",
    ),
    click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("as-walker.db"),
        show_default=True,
        help=f"With --format {FORMAT}: the file.",
    ),
    click.option(
        "--timezone",
        default=TIMEZONE,
        show_default=True,
        callback=zone,
        help=f"With --format {FORMAT}: the time zone of its times.",
    ),
)


@click.command("walk")
@_options
@click.pass_obj
@handle_errors
def walk_command(config: Path, /, **options: Any) -> int:
    """Scan the facility and record its files in the catalogue. Resumes an interrupted scan.

    The next scan finds what is new, changed or gone.
    """
    return _run(config, **options)


@click.command("as-walker", context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@_options
@click.version_option(package_name="asynchy")
@handle_errors
def as_walker(config: Path, **options: Any) -> int:
    """Scan the facility and record its files in the catalogue. Resumes an interrupted scan.

    The next scan finds what is new, changed or gone.
    """
    return _run(config, **options)


def _run(config: Path, **options: Any) -> int:
    settings = load_shared(config).settings
    logging_setup.set_up(settings.log_level, settings.log_files.sync)
    session = warm_up.connect(settings)

    def work(stop: Stop, _signals: Signals) -> int:
        code: int = loaded("walk_run.run")(settings, stop, session, **options)
        return code

    return until_stopped(work)
