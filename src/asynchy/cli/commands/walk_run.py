"""What `as-walker` does; loaded while ssh connects."""

from __future__ import annotations

import logging
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from asynchy.catalogue.export import check_original, write_original
from asynchy.cli.epn_lists import epns_in_spreadsheets, listed_epns
from asynchy.cli.legacy_options import FORMAT
from asynchy.cli.lost_state import require_catalogue
from asynchy.cli.output.catalogue import show_walk
from asynchy.cli.output.progress import experiments_bar
from asynchy.config import Shared
from asynchy.errors import ExitCode, SpreadsheetError, Stopped
from asynchy.facility.epn_sources import EpnList
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import count
from asynchy.runtime.context import run_context
from asynchy.runtime.progress import ProgressBoard
from asynchy.scanning.progress import ScanProgress
from asynchy.scanning.scan import WantedEpns, scan
from asynchy.ssh.session import ServerSession

log = logging.getLogger(__name__)


def run(  # noqa: PLR0913 - the options of the command
    settings: Shared,
    stop: Stop,
    session: ServerSession,
    *,
    listed: Path | None,
    form: str,
    output: Path,
    timezone: ZoneInfo,
) -> int:
    """Walk and report; the exit code.

    Raises:
        StateLost: the catalogue is missing although there was one.
        AsynchyError: as `scan`; or the list, or the file to write, cannot be used.
    """
    require_catalogue(settings)
    if form == FORMAT:
        check_original(settings.catalogue_address, output)
    found, wanted = _wanted(settings, listed, stop)
    progress = ScanProgress()
    context = run_context(settings, stop, ProgressBoard(), write=True, session=session)
    try:
        with experiments_bar(progress):
            walked = scan(context, settings.walk_root, wanted, progress)
    except Stopped:
        raise Stopped("stopped", hint="start it again: it goes on where it was") from None
    show_walk(walked)
    if form == FORMAT:
        written = write_original(settings.catalogue_address, output, timezone)
        click.echo(f"{count(written, 'file')} written to {output}")
    if not found.is_whole and walked.exit_code is ExitCode.OK:
        return SpreadsheetError.exit_code
    return walked.exit_code


def _wanted(settings: Shared, listed: Path | None, stop: Stop) -> tuple[EpnList, WantedEpns | None]:
    """What the spreadsheets or the list say, and what a walk is for; None: all that is visible."""
    if listed is not None:
        found, origin = listed_epns(listed), f"EPNs of {listed}"
    elif settings.epns_path is not None:
        found = epns_in_spreadsheets(settings.epns_path, stop)
        origin = f"EPNs of {settings.epns_path}"
    else:
        return EpnList(), None
    return found, WantedEpns(frozenset(found.epns), origin)
