"""The EPNs of a list or of spreadsheets, with what is wrong in them reported."""

from __future__ import annotations

import logging
from pathlib import Path

from asynchy.cli.errors import say
from asynchy.errors import SpreadsheetError
from asynchy.facility.epn_sources import EpnList, read_list, read_spreadsheets
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped

log = logging.getLogger(__name__)

_NAMED = 10


def listed_epns(path: Path) -> EpnList:
    """The EPNs in a text file, one a line.

    Raises:
        SpreadsheetError: it cannot be read, or names none.
    """
    return _reported(read_list(path), path)


def epns_in_spreadsheets(folder: Path, stop: Stop) -> EpnList:
    """The EPNs in the spreadsheets of a folder.

    Raises:
        SpreadsheetError: none of them can be read, or they name none.
        Stopped: a stop was requested meanwhile.
    """
    return _reported(read_spreadsheets(folder, stop), folder)


def _reported(found: EpnList, where: Path) -> EpnList:
    for row in found.odd[:_NAMED]:
        log.warning("no EPN: %s", escaped(row))
    more = len(found.odd) + found.more_odd - _NAMED
    if more > 0:
        log.warning("%d more rows begin with no EPN", more)
    for error in found.refused:
        say(error)
    if not found.epns:
        raise SpreadsheetError(
            f"there is no EPN in {where}",
            hint="the first column of a spreadsheet, and each line of a list, begins with an EPN,"
            " such as 12282a",
        )
    return found
