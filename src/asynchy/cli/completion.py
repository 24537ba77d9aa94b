"""What a shell completes: the EPNs that the catalogue knows."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from asynchy.catalogue import Catalogue
from asynchy.config import load_shared
from asynchy.errors import AsynchyError

_MOST = 200
"""EPNs that are offered at most: nobody reads more."""


def known_epns(
    context: click.Context, _argument: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The EPNs that begin with what was typed; none if the catalogue cannot be read.

    It says nothing: what is printed here would stand in the middle of the command line.
    """
    config = context.obj or context.find_root().params.get("config")
    if not isinstance(config, Path):
        return []
    try:
        settings = load_shared(config.expanduser()).settings
        found = Catalogue.open_readonly(settings.catalogue_address).overview.epns(
            incomplete.lower()
        )
    except AsynchyError:
        return []
    return [CompletionItem(epn) for epn in found[:_MOST]]
