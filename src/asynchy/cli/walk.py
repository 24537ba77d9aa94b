"""`as-walker`, which is `asynchy walk`: everything that is visible at the facility, catalogued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asynchy.cli import logs
from asynchy.cli.failing import fails_with_words
from asynchy.cli.loading import loaded
from asynchy.cli.originals import FORMAT, zone
from asynchy.cli.running import config_option, together, until_stopped
from asynchy.cli.signals import Signals
from asynchy.config import load_shared
from asynchy.domain.experiment import TIMEZONE
from asynchy.domain.stop import Stop
from asynchy.service import ahead

_options = together(
    click.option(
        "--list",
        "listed",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A file of EPNs, one a line: these alone. Default: those in the spreadsheets of "
        "epns_path, or all that are visible.",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(["catalogue", FORMAT]),
        default="catalogue",
        show_default=True,
        help=f"{FORMAT}: write an SQLite file of the original's layout, too.",
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
        help=f"With --format {FORMAT}: the zone of its naive times.",
    ),
)


@click.command("walk")
@_options
@click.pass_obj
@fails_with_words
def walk_command(config: Path, /, **options: Any) -> int:
    """Find out what lies at the facility, into the catalogue.

    Goes on where it was stopped. The next walk finds what is new, changed or gone.
    """
    return _run(config, **options)


@click.command("as-walker", context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@_options
@click.version_option(package_name="asynchy")
@fails_with_words
def as_walker(config: Path, **options: Any) -> int:
    """Find out what lies at the facility, into the catalogue.

    Goes on where it was stopped. The next walk finds what is new, changed or gone.
    """
    return _run(config, **options)


def _run(config: Path, **options: Any) -> int:
    settings = load_shared(config).settings
    logs.set_up(settings.log_level, settings.log_files.sync)
    ahead.connect(settings)

    def work(stop: Stop, _signals: Signals) -> int:
        code: int = loaded("walking.run")(settings, stop, **options)
        return code

    return until_stopped(work)
