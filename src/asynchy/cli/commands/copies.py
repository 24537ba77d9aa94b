"""`asynchy copies`: a person decides about copies that are not where they should be."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.errors import handle_errors
from asynchy.cli.lost_state import explains_loss, loss_of
from asynchy.cli.options import epn_argument, epns_argument
from asynchy.cli.output.copies import show_places
from asynchy.config import Settings, Shared, load_shared
from asynchy.model.cancellation import Stop
from asynchy.model.epn import Epn
from asynchy.model.formatting import count, escaped
from asynchy.model.safety import name_of
from asynchy.reporting.presence import copies_with_presence
from asynchy.reporting.reports import destination_rules
from asynchy.runtime.portal_clock import require_right_clock
from asynchy.verification import moved_copies as service

_copy = click.option(
    "--copy",
    "place",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Which copy, if the EPN has several: its folder, as `copies list` shows it.",
)


def _named_reason(
    context: click.Context, parameter: click.Parameter, reason: str | None
) -> str | None:
    if reason is None:
        if context.params.get("undo"):
            return ""
        raise click.MissingParameter(ctx=context, param=parameter)
    if not reason.strip():
        raise click.BadParameter("say why; it is kept in the catalogue")
    return reason.strip()


@click.group("copies")
def copies_group() -> None:
    """List copies, and record what became of those that are not in place.

    A copy whose folder at home is missing is never fetched again by itself: it may have been moved,
    or its file system may not be mounted.
    """


@copies_group.command("list")
@epns_argument
@click.pass_obj
@handle_errors
@explains_loss
def list_copies(config: Path, /, epns: frozenset[str]) -> None:
    """List copies, and whether each is in place."""
    settings = load_shared(config).settings
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    found = copies_with_presence(catalogue.overview.copies(epns), catalogue.overview.places_below)
    lost = loss_of(settings)
    if found or lost is None:
        show_places(found)
    if lost is not None:
        raise lost


@copies_group.command("move")
@epn_argument
@click.argument("folder", type=click.Path(path_type=Path))
@_copy
@click.pass_obj
@handle_errors
@explains_loss
def move_copy(config: Path, /, epn: str, folder: Path, place: Path | None) -> None:
    """Record that the copy of EPN is in FOLDER now.

    Move the files yourself before. Each must be there with the size and the time that it had.
    """
    settings = load_shared(config).settings
    catalogue = Catalogue.open(settings.catalogue_address)
    record = service.chosen_copy(catalogue, Epn(epn), _named(place))
    destination = _absolute(folder)
    moved = service.move(catalogue, record, destination, _project_folder(settings, destination))
    click.echo(
        f"{epn}: {count(moved.files, 'file')} found in {destination}, as they were in "
        f"{record.copy.destination}. The catalogue has the new place."
    )


@copies_group.command("forget")
@epn_argument
@click.option(
    "--reason",
    callback=_named_reason,
    help="Why; it is kept in the catalogue. Needed without --undo.",
)
@click.option(
    "--undo",
    is_flag=True,
    is_eager=True,
    help="Take a release back: EPN is due again. The release stays in the history.",
)
@_copy
@click.option("--beamline", help="Which experiment, if the EPN is on several beamlines.")
@click.pass_obj
@handle_errors
@explains_loss
def forget_copy(  # noqa: PLR0913, PLR0917 - the options of the command
    config: Path, /, epn: str, reason: str, undo: bool, place: Path | None, beamline: str | None
) -> None:
    """Release EPN: its copy need not be at home, and it is not fetched again.

    Attempts and checks stay in the catalogue. A later visit makes it due again. No file is removed.
    """
    settings = load_shared(config).settings
    if not undo:
        require_right_clock(settings, Stop())
    catalogue = Catalogue.open(settings.catalogue_address)
    now = datetime.now(UTC)
    if undo:
        if place is not None:
            raise click.UsageError("--undo takes no --copy: it takes back the release of an EPN")
        chosen = service.chosen_experiment(catalogue, Epn(epn), beamline)
        service.take_back(catalogue, chosen, reason, now)
        click.echo(f"{name_of(chosen.experiment)}: due again. Files that are at home are compared.")
        return
    click.echo(service.release(catalogue, Epn(epn), beamline, _named(place), reason, now))


@copies_group.command("refetch")
@epn_argument
@_copy
@click.pass_obj
@handle_errors
@explains_loss
def refetch_copy(config: Path, /, epn: str, place: Path | None) -> None:
    """Fetch EPN again: the next cycle or sync compares its files and fetches what is missing."""
    settings = load_shared(config).settings
    catalogue = Catalogue.open(settings.catalogue_address)
    record = service.chosen_copy(catalogue, Epn(epn), _named(place))
    rules = destination_rules(settings) if isinstance(settings, Settings) else None
    destination = service.refetch(catalogue, record, datetime.now(UTC), rules)
    click.echo(f"{epn}: it is due again, to {escaped(str(destination))}.")
    if destination != record.copy.destination:
        click.echo(f"The copy in {escaped(str(record.copy.destination))} is forgotten.")


def _named(place: Path | None) -> Path | None:
    return None if place is None else _absolute(place)


def _absolute(place: Path) -> Path:
    """A place without `..` and links to itself; a link before a `..` is followed."""
    given = place.expanduser().absolute()
    plain = Path(os.path.normpath(given))
    is_same = not given.exists() or (plain.exists() and plain.samefile(given))
    return plain if is_same else given.resolve()


def _project_folder(settings: Shared, destination: Path) -> Path:
    """The folder above a copy that asynchy never makes."""
    if isinstance(settings, Settings) and settings.destination_root_path in destination.parents:
        below = destination.relative_to(settings.destination_root_path)
        return settings.destination_root_path / below.parts[0]
    return destination.parent
