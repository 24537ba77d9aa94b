"""`asynchy status`: what the catalogue knows."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from asynchy.catalogue import Catalogue
from asynchy.catalogue.rows import CopyStatus
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import named_epn
from asynchy.cli.show import show_attempts, show_checks, show_services, show_status
from asynchy.config import load_shared
from asynchy.errors import AsynchyError


class NotInCatalogue(AsynchyError):
    """The catalogue has never heard of an EPN."""


@click.command()
@click.argument("epn", required=False, callback=named_epn)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@fails_with_words
def status(file: Path, epn: str | None, as_json: bool) -> None:
    """Show the copies that are known, or one EPN with all attempts."""
    catalogue = Catalogue.peek(load_shared(file).settings.catalogue_path)
    copies = catalogue.status(epn)
    attempts = [] if epn is None else catalogue.history_of(epn)
    checks = [] if epn is None else catalogue.checks_of(epn)
    if epn is not None and not copies:
        raise NotInCatalogue(
            f"the catalogue knows no copy of {epn}", hint="`asynchy status` lists those it knows"
        )
    if as_json:
        rows = [_row(copy) for copy in copies]
        if epn is not None:
            for row in rows:
                row["history"] = [asdict(a) for d, a in attempts if d == row["destination"]]
                row["checks"] = [asdict(c) for d, c in checks if d == row["destination"]]
        click.echo(json.dumps(rows, indent=2, default=_plain))
        return
    show_services(catalogue.services())
    show_status(copies)
    if epn is not None:
        show_attempts(attempts)
        show_checks(checks)


def _row(copy: CopyStatus) -> dict[str, Any]:
    return {**asdict(copy), "level": copy.level.word if copy.level else None}


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
