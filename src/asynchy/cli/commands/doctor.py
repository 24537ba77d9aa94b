"""`asynchy doctor`: is everything right for the first cycle, or the first walk?"""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.errors import handle_errors
from asynchy.config import Settings, Shared, load_shared
from asynchy.doctor.checks import examine
from asynchy.errors import AsynchyError, ExitCode
from asynchy.localfs import process_identity
from asynchy.model.diagnostic_result import DiagnosticResult, DoctorRun
from asynchy.model.formatting import count, escaped, printable


@click.command()
@click.pass_obj
@handle_errors
def doctor(file: Path) -> int:
    """Test everything that a transfer needs: one line per test, with what to do if it fails."""
    logging.getLogger("asynchy").setLevel(logging.CRITICAL)  # each finding says it in its own words
    loaded = load_shared(file)
    settings = loaded.settings
    if isinstance(settings, Settings):
        entries = count(len(settings.equipment), "equipment entry", "equipment entries")
        _say(DiagnosticResult("config", True, f"{file}, {entries}"))
        ready = "Ready for the first cycle."
    else:
        _say(DiagnosticResult("config", True, f"{file}, for walks and `asynchy sync`"))
        ready = "Ready: `asynchy walk` finds what is there, `asynchy sync` brings it home."
    for warning in loaded.warnings:
        click.echo(f"note  {escaped(warning)}")
    results: list[DiagnosticResult] = []
    for finding in examine(settings):
        _say(finding)
        results.append(finding)
    good = all(finding.good for finding in results)
    _keep(settings, results)
    said = f"All checks passed. {ready}" if good else "Not ready: see FAIL above."
    click.echo(f"\n{said}")
    return ExitCode.OK if good else ExitCode.INCOMPLETE


def _keep(settings: Shared, results: list[DiagnosticResult]) -> None:
    """Have the catalogue keep what was found, for the dashboard; none is made or changed for it."""
    path = settings.catalogue_address
    with contextlib.suppress(AsynchyError):  # if it is of no use, a finding says so
        if not Catalogue.exists(path):
            return
        Catalogue.open_readonly(path)  # of our version: to open it does not upgrade it
        run = DoctorRun(datetime.now(UTC), process_identity.host(), tuple(results))
        Catalogue.open(path).health.note_doctor(run)


def _say(finding: DiagnosticResult) -> None:
    sign = click.style("FAIL", fg="red")
    if finding.skipped:
        sign = click.style("skip", fg="yellow")
    elif finding.is_note:
        sign = click.style("note", fg="yellow")
    elif finding.good:
        sign = click.style("ok  ", fg="green")
    click.echo(f"{sign}  {printable(finding.what)}: {printable(finding.found)}")
    if finding.to_do:
        click.echo(f"      {printable(finding.to_do)}")
