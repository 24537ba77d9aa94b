"""Locks among all machines that work on one catalogue, which is in PostgreSQL then."""

from __future__ import annotations

import contextlib
from typing import Literal, get_args

from asynchy.model.catalogue_address import CatalogueAddress, PostgresAddress

What = Literal["service", "walk", "epnalert", "activity", "messages", "commands"]
"""What runs once at a time on a catalogue."""


def host_lock(catalogue: CatalogueAddress, what: What) -> contextlib.AbstractContextManager[bool]:
    """Hold a lock; False: a process of another machine has it.

    It is the server's, for as long as the connection to it lasts.

    Raises:
        CatalogueError: the server cannot be asked.
    """
    if not isinstance(catalogue, PostgresAddress):
        return contextlib.nullcontext(True)
    from asynchy.catalogue.postgres_database import held_lock  # noqa: PLC0415 - where it is used

    return held_lock(catalogue, 1 + get_args(What).index(what))
