"""What lies in an experiment at the facility."""

from __future__ import annotations

from collections.abc import Callable

from asynchy.domain.experiment import Entry
from asynchy.domain.stop import Stop
from asynchy.ssh import rsync
from asynchy.ssh.remote import Remote


def list_experiment(
    remote: Remote,
    source: str,
    on_entry: Callable[[Entry], None],
    stop: Stop,
    *,
    deep: bool = True,
) -> None:
    """Hand over every entry of an experiment, as rsync lists it; not `deep`: its first level.

    Raises:
        ListingError: it could not be listed whole.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    rsync.list_tree(remote, source, on_entry, stop, deep=deep)
