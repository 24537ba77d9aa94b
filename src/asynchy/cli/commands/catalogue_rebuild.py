"""What `asynchy catalogue rebuild` does; loaded when it is used."""

from __future__ import annotations

from asynchy.cli.output.plans import show_report
from asynchy.cli.output.progress import bars
from asynchy.cli.output.tables import bullets
from asynchy.config import Settings
from asynchy.errors import ExitCode
from asynchy.model.cancellation import Stop
from asynchy.model.plan import PlannedTransfer
from asynchy.model.safety import name_of
from asynchy.repatriation.home_comparison import difference_words
from asynchy.repatriation.lost_state import begin, read_state_files
from asynchy.repatriation.rebuild import RebuildResult, rebuild
from asynchy.runtime.cycle_context import cycle_context
from asynchy.runtime.instance_lock import service_stopped
from asynchy.runtime.periodic import log_transfers, reporting
from asynchy.runtime.progress import ProgressBoard


def run(settings: Settings, stop: Stop) -> int:
    """Rebuild and report; the exit code.

    Raises:
        AsynchyError: as `rebuild`.
    """
    board = ProgressBoard()
    with service_stopped(settings.catalogue_address):
        context = cycle_context(settings, stop, board, write=True)
        with bars(board), reporting([log_transfers(board)]):
            made = rebuild(context)
        begin(read_state_files(settings, write=True), made.unreadable, made.unlisted)
    _show(made)
    open_ends = any(
        (made.incomplete, made.skipped, made.elsewhere, made.absent, made.unreadable, made.running,
         made.unmatched, made.odd, made.unlisted)
    )  # fmt: skip
    return made.report.exit_code or (ExitCode.INCOMPLETE if open_ends else ExitCode.OK)


def _show(made: RebuildResult) -> None:
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
        "Complete once, as ignore.yml says, and not at home; `fetch-visible: true` has them "
        "fetched, `asynchy copies forget` releases them:",
        [name_of(item.experiment) for item in made.absent],
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
        "Not everything was compared; run it again, until then `mxsync --execute` ends with 5 if "
        "the catalogue is new:",
        list(made.unlisted),
    )
    bullets("At home, and passed over:", list(map(str, made.odd)))
    bullets(
        "At home and not at the facility, so nothing can be compared:",
        [str(path) for path in made.unmatched],
    )


def _missing(item: PlannedTransfer) -> str:
    return f"{name_of(item.copy.experiment)}: {difference_words(item.listing_diff)}"
