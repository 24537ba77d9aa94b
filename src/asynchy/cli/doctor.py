"""`asynchy doctor`: is everything right for the first cycle, or the first walk?"""

from __future__ import annotations

import logging
from pathlib import Path

import click

from asynchy.cli.failing import fails_with_words
from asynchy.config import Settings, load_shared
from asynchy.domain.text import count, shown
from asynchy.errors import ExitCode
from asynchy.service.doctor import Finding, examine


@click.command()
@click.pass_obj
@fails_with_words
def doctor(file: Path) -> int:
    """Try everything that is needed, one line each, with what to do where it is not right."""
    logging.getLogger("asynchy").setLevel(logging.CRITICAL)  # each finding says it in its own words
    loaded = load_shared(file)
    settings = loaded.settings
    if isinstance(settings, Settings):
        entries = count(len(settings.equipment), "equipment entry", "equipment entries")
        _say(Finding("config", True, f"{file}, {entries}"))
        ready = "Ready for the first cycle."
    else:
        _say(Finding("config", True, f"{file}, for walks and `asynchy sync`"))
        ready = "Ready: `as-walker` finds what lies there, `asynchy sync` brings it home."
    for warning in loaded.warnings:
        click.echo(f"note  {shown(warning)}")
    good = True
    for finding in examine(settings):
        _say(finding)
        good = good and finding.good
    click.echo(f"\n{ready}" if good else "\nNot ready: see FAIL above.")
    return ExitCode.OK if good else ExitCode.DUE


def _say(finding: Finding) -> None:
    sign = click.style("ok  ", fg="green") if finding.good else click.style("FAIL", fg="red")
    click.echo(f"{sign}  {shown(finding.what)}: {shown(finding.found)}")
    if finding.to_do:
        click.echo(f"      {shown(finding.to_do)}")
