"""A command that finds nothing in the catalogue says so if the catalogue is lost."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from asynchy.config import Settings, Shared, load_shared
from asynchy.errors import IgnoreListError, NothingKnown, StateLost
from asynchy.repatriation.home_places import data_at_home
from asynchy.repatriation.lost_state import (
    lost_catalogue,
    lost_error,
    lost_without_ignore_file,
    read_state_files,
)
from asynchy.reporting.reports import destination_rules

_P = ParamSpec("_P")
_R = TypeVar("_R")


def explains_loss(
    command: Callable[Concatenate[Path, _P], _R],
) -> Callable[Concatenate[Path, _P], _R]:
    """A command function that ends with what is lost instead of saying that nothing is known."""

    @functools.wraps(command)
    def guarded(config: Path, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(config, *args, **kwargs)
        except NothingKnown:
            lost = loss_of(load_shared(config).settings)
            if lost is None:
                raise
            raise lost from None

    return guarded


def loss_of(settings: Shared) -> StateLost | None:
    """The error if `ignore.yml` or the catalogue is lost; None: neither is, or nobody can tell.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    if not isinstance(settings, Settings):
        return lost_without_ignore_file(settings.catalogue_address)
    try:
        files = read_state_files(settings, write=False)
    except IgnoreListError:
        return None
    return lost_error(files, data_at_home(destination_rules(settings)))


def require_catalogue(settings: Shared) -> None:
    """Refuse to make a new catalogue in place of one that is lost.

    Raises:
        StateLost: it is.
        CatalogueError: the catalogue cannot be used.
    """
    lost = lost_without_ignore_file(settings.catalogue_address)
    if isinstance(settings, Settings):
        with contextlib.suppress(IgnoreListError):  # whoever reads it says so
            lost = lost_catalogue(read_state_files(settings, write=True))
    if lost is not None:
        raise lost
