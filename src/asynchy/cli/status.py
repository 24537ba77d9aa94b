"""`asynchy status`: what is at home, what is not, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import named_epn
from asynchy.cli.show_copies import show_attempts, show_checks, show_services, show_status
from asynchy.cli.show_state import show_experiment, show_states
from asynchy.cli.status_json import print_json
from asynchy.cli.tables import line
from asynchy.config import Settings, Shared, load_shared
from asynchy.domain.epn import Epn
from asynchy.errors import AsynchyError, IgnoreListError, NothingKnown
from asynchy.plan.experiment_state import ExperimentState
from asynchy.plan.policy import Origin
from asynchy.service.lost_state import lost_error, read_state_files
from asynchy.service.presence import copies_with_presence
from asynchy.service.reports import ignore_entries, notices, states


@click.command()
@click.argument("epn", required=False, callback=named_epn)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@fails_with_words
def status(file: Path, epn: str | None, as_json: bool) -> None:
    """Show what is at home, what is not and why; with an EPN, its whole story."""
    wanted = Epn(epn) if epn is not None else None
    settings = load_shared(file).settings
    catalogue = Catalogue.peek(settings.catalogue_path)
    epns = [wanted.text] if wanted else []
    found: list[ExperimentState] = []
    besides: list[str] = []
    problem: AsynchyError | None = None
    if isinstance(settings, Settings):  # otherwise nobody says which experiments are wanted
        now = datetime.now(UTC)
        try:
            files = read_state_files(settings, write=False)
            found, policy = states(settings, catalogue, files.entries, now, epns)
            besides = notices(settings, catalogue, found, policy)
            problem = lost_error(files)  # then what is shown is not all
        except IgnoreListError as error:  # what is known without it is shown all the same
            problem = error
    if found:
        copies = [copy for item in found for copy in item.record.copies]
    else:
        copies = copies_with_presence(catalogue.overview.copies(epns))
    if as_json:
        print_json(catalogue, found, copies, wanted, str(file))
        return
    if wanted is None:
        show_services(catalogue.services())
        show_status(copies)
        show_states(found, besides)
        if problem is not None:
            raise problem
        return
    if not found and not copies:
        _explain_unseen(settings, catalogue, wanted, f"asynchy --config {file}")
        return
    show_experiment(found, str(file))
    show_status(copies)
    show_attempts(catalogue.history_of(wanted.text))
    show_checks(catalogue.checks_of(wanted.text))


def _explain_unseen(settings: Shared, catalogue: Catalogue, epn: Epn, call: str) -> None:
    """Print what the config and `ignore.yml` have about an EPN without an experiment.

    Raises:
        NothingKnown: neither names it.
    """
    unseen = "no visit was told, and no walk or cycle has seen it"
    project, entry = None, None
    if isinstance(settings, Settings):
        project = settings.epn_cap_map.get(epn.proposal)
        entry = ignore_entries(settings, catalogue, datetime.now(UTC)).get(epn.text)
    if project is None and entry is None:
        raise NothingKnown(
            f"{epn} is unknown: {unseen}",
            hint="check the spelling; `asynchy walk` and `mxsync` find what is at the facility",
        )
    skips = entry is not None and entry.origin in (Origin.PERSON, Origin.ORIGINAL)
    line(f"{epn}: {'skipped' if skips else 'not seen yet'}")
    listed = f"listed in ignore.yml ({entry.origin.value}); " if entry is not None else ""
    line(f"  why: {listed}{unseen}")
    if project is not None:
        line(f"  project: {project}")
    step = "nothing; to have it fetched, take it out of ignore.yml"
    if not skips:
        step = f"it is fetched after its visit; {call} walk looks for it at the facility now"
    line(f"  next step: {step}")
