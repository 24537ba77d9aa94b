"""What `asynchy catalogue rebuild` does; loaded when it is used."""

from __future__ import annotations

from asynchy.cli.bars import bars
from asynchy.cli.show import show_report
from asynchy.cli.tables import bullets
from asynchy.config import Settings
from asynchy.domain.stop import Stop
from asynchy.domain.text import count
from asynchy.errors import ExitCode
from asynchy.plan.outcome import Transfer
from asynchy.plan.safety import name_of
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
        begin(read_state_files(settings, write=True), made.unreadable)
    _show(made)
    open_ends = any(
        (made.incomplete, made.skipped, made.elsewhere, made.unreadable, made.running,
         made.unmatched)
    )  # fmt: skip
    return made.report.exit_code or (ExitCode.DUE if open_ends else ExitCode.OK)


def _show(made: Rebuilt) -> None:
    show_report(made.report)
    bullets(
        "Not complete at home; the next cycle fetches what is missing:",
        list(map(_missing, made.incomplete)),
    )
    bullets(
        "Not complete at home, and skipped by an entry of ignore.yml; remove it to have what is "
        "missing fetched:",
        list(map(_missing, made.skipped)),
    )
    bullets(
        "Not complete at the place of another project; the next cycle fetches all of it to where "
        "epn_cap_map says:",
        [f"{_missing(item)} in {item.copy.destination}" for item in made.elsewhere],
    )
    bullets(
        "Not compared, because a visit is running; run it again once it has ended:",
        [name_of(item.experiment) for item in made.running],
    )
    bullets(
        "Folders of projects that are missing, empty or cannot be read; until they are mounted, "
        "`mxsync --execute` ends with 5 (`--new-state` accepts it, if nothing was ever in them):",
        [str(path) for path in made.unreadable],
    )
    bullets(
        "At home and not at the facility, so nothing can be compared:",
        [str(path) for path in made.unmatched],
    )


def _missing(item: Transfer) -> str:
    files = count(item.survey.missing_files, "file")
    return f"{name_of(item.copy.experiment)}: {files} missing or different"
