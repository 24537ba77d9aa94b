"""`asynchy copies`: a person decides about copies that are not where they should be."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.failing import fails_with_words
from asynchy.cli.running import epns_argument, named_epn
from asynchy.cli.show_copies import show_places
from asynchy.config import Settings, Shared, load_shared
from asynchy.domain.epn import Epn
from asynchy.domain.text import count
from asynchy.plan.safety import name_of
from asynchy.service import copies as service
from asynchy.service.presence import copies_with_presence

_epn = click.argument("epn", callback=named_epn)
_copy = click.option(
    "--copy",
    "place",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Which copy, if the EPN has several: its folder, as `copies list` shows it.",
)


@click.group("copies")
def copies_group() -> None:
    """List copies, and say what is to become of those that are not at their places.

    A copy whose folder at home is missing is never fetched again by itself: it may have been moved,
    or its file system may not be mounted.
    """


@copies_group.command("list")
@epns_argument
@click.pass_obj
@fails_with_words
def list_copies(config: Path, /, epns: frozenset[str]) -> None:
    """List copies, and whether each is at its place."""
    catalogue = Catalogue.peek(load_shared(config).settings.catalogue_path)
    show_places(copies_with_presence(catalogue.overview.copies(epns)))


@copies_group.command("move")
@_epn
@click.argument("folder", type=click.Path(path_type=Path))
@_copy
@click.pass_obj
@fails_with_words
def move_copy(config: Path, /, epn: str, folder: Path, place: Path | None) -> None:
    """Record that the copy of EPN is in FOLDER now.

    Move the files yourself before. Each must be there with the size and the time that it had.
    """
    settings = load_shared(config).settings
    catalogue = Catalogue.open(settings.catalogue_path)
    record = service.chosen_copy(catalogue, Epn(epn), _absolute(place))
    destination = folder.expanduser().absolute()
    moved = service.move(catalogue, record, destination, _project_folder(settings, destination))
    click.echo(
        f"{epn}: {count(moved.files, 'file')} found in {destination}, as they were in "
        f"{record.copy.destination}. The catalogue has the new place."
    )


@copies_group.command("forget")
@_epn
@click.option("--reason", required=True, help="Why; it is kept in the catalogue.")
@_copy
@click.option("--beamline", help="Which experiment, if the EPN is on several beamlines.")
@click.pass_obj
@fails_with_words
def forget_copy(
    config: Path, /, epn: str, reason: str, place: Path | None, beamline: str | None
) -> None:
    """Release EPN: its copy need not be at home, and it is not fetched again.

    Attempts and checks stay in the catalogue. A later visit makes it due again. No file is removed.
    """
    catalogue = Catalogue.open(load_shared(config).settings.catalogue_path)
    now = datetime.now(UTC)
    if place is None:
        chosen = service.chosen_experiment(catalogue, Epn(epn), beamline)
        if not any(copy.was_complete or copy.transfers for copy in chosen.copies):
            catalogue.decisions.release(chosen.experiment, reason, now)
            click.echo(f"{name_of(chosen.experiment)}: released. A later visit is due again.")
            return
        if len(chosen.copies) == 1:
            place = chosen.copies[0].copy.destination
    record = service.chosen_copy(catalogue, Epn(epn), _absolute(place))
    catalogue.decisions.forget(record, reason, now)
    click.echo(f"{epn}: the copy in {record.copy.destination} is forgotten. No file was removed.")


@copies_group.command("refetch")
@_epn
@_copy
@click.pass_obj
@fails_with_words
def refetch_copy(config: Path, /, epn: str, place: Path | None) -> None:
    """Have EPN fetched again: the next cycle, or sync, compares and fetches what is missing."""
    settings = load_shared(config).settings
    catalogue = Catalogue.open(settings.catalogue_path)
    record = service.chosen_copy(catalogue, Epn(epn), _absolute(place))
    service.refetch(catalogue, record)
    click.echo(f"{epn}: it is due again, to {record.copy.destination}.")


def _absolute(place: Path | None) -> Path | None:
    return None if place is None else place.expanduser().absolute()


def _project_folder(settings: Shared, destination: Path) -> Path:
    """The folder above a copy that asynchy never makes."""
    if isinstance(settings, Settings) and settings.destination_root_path in destination.parents:
        below = destination.relative_to(settings.destination_root_path)
        return settings.destination_root_path / below.parts[0]
    return destination.parent
