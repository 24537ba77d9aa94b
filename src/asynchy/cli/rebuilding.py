"""What `asynchy catalogue rebuild` does; loaded when it is used."""

from __future__ import annotations

from asynchy.cli.bars import bars
from asynchy.cli.show import show_report
from asynchy.cli.tables import bullets
from asynchy.config import Settings
from asynchy.domain.stop import Stop
from asynchy.domain.text import count
from asynchy.errors import ExitCode
from asynchy.service.alone import alone
from asynchy.service.board import Board
from asynchy.service.cycle_site import cycle_site_of
from asynchy.service.lost_state import begin, read_state_files
from asynchy.service.rebuild import Rebuilt, rebuild
from asynchy.service.reporter import log_transfers, reporting


def run(settings: Settings, stop: Stop) -> int:
    """Rebuild and report; the exit code.

    Raises:
        AsynchyError: as `rebuild`.
    """
    board = Board()
    with alone(settings.catalogue_path, "service"):
        site = cycle_site_of(settings, stop, board, write=True)
        with bars(board), reporting([log_transfers(board)]):
            made = rebuild(site)
        begin(read_state_files(settings, write=True))
    _show(made)
    open_ends = made.incomplete or made.unmatched
    return made.report.exit_code or (ExitCode.DUE if open_ends else ExitCode.OK)


def _show(made: Rebuilt) -> None:
    show_report(made.report)
    bullets(
        "Not complete at home; the next cycle fetches what is missing:",
        [
            f"{item.copy.epn}: {count(item.survey.missing_files, 'file')} missing or different"
            for item in made.incomplete
        ],
    )
    bullets(
        "At home and not at the facility, so nothing can be compared:",
        [str(path) for path in made.unmatched],
    )
