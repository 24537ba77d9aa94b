"""`asynchy worker`: this machine works on the transfers of a coordinator elsewhere."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import click

from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.config import load
from asynchy.config.executor import scheduler_address
from asynchy.config.file_access import reachable
from asynchy.engines.cluster.client import require_package
from asynchy.errors import ClusterError, ExitCode
from asynchy.model.cluster import ClusterAddress

_FILE = click.Path(path_type=Path, dir_okay=False)


def _address(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else scheduler_address(value)
    except ValueError as error:
        raise click.BadParameter(f"found {value!r}; accepted is {error}") from None


@click.command("worker")
@click.option(
    "--scheduler",
    callback=_address,
    metavar="ADDRESS",
    help="The scheduler, such as tcp://head:8786.  [default: `executor` of the config]",
)
@click.option("--scheduler-file", type=_FILE, help="A file in which it wrote its address.")
@click.option("--ca", type=_FILE, help="TLS: who signed the certificates of the cluster (PEM).")
@click.option("--cert", type=_FILE, help="TLS: the certificate of this machine (PEM).")
@click.option("--key", type=_FILE, help="TLS: its key (PEM).")
@click.option("--name", help="The worker's name, unlike any other's.  [default: this host's name]")
@click.option(
    "--shards",
    type=click.IntRange(1, 16),
    default=2,
    show_default=True,
    help="Shards that it works on at a time: while one ends, the other goes on.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Connections of this machine to the facility at most, for all of them.",
)
@click.option(
    "--host", metavar="ADDRESS", help="The address at which the others reach this machine."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/tmp"),  # noqa: S108 - Dask makes a folder of its own in it
    show_default=True,
    help="For Dask's own files; on a disk of this machine.",
)
@click.pass_obj
@handle_errors
def worker_command(config: Path, /, **given: Any) -> int:
    """Work on shards of transfers, as a worker of a Dask cluster.

    The coordinator is mxsync or asynchy sync with `executor: {dask: …}`. The worker needs ssh, the
    same key file and known-hosts, and the project folders at the same paths; no catalogue. SIGTERM
    ends it within 20 s: what it has fetched counts, and the rest goes to other workers.
    """
    require_package()
    from asynchy.engines.cluster.worker import WorkerOptions, serve  # noqa: PLC0415 - of the extra

    logging_setup.set_up(logging.INFO, None)
    options = WorkerOptions(
        address=_cluster(config, given),
        places=given["shards"],
        connections=max(given["connections"], given["shards"]),
        name=given["name"] or os.uname().nodename,
        folder=given["folder"],
        host=given["host"],
    )
    if serve(options):
        return ExitCode.OK
    raise ClusterError(
        f"the Dask scheduler {options.address} is gone, or ended this worker",
        hint="start the worker again (systemd does) once the scheduler runs",
    )


def _cluster(config: Path, given: dict[str, Any]) -> ClusterAddress:
    names = ("scheduler", "scheduler_file", "ca", "cert", "key")
    found = ClusterAddress(**{name: given[name] for name in names})
    tls = {found.ca is None, found.cert is None, found.key is None}
    if len(tls) > 1:
        raise click.UsageError("--ca, --cert and --key belong together")
    if found.scheduler and found.scheduler_file:
        raise click.UsageError("either --scheduler or --scheduler-file")
    if found.scheduler or found.scheduler_file:
        return found
    name_it = "name the scheduler with --scheduler or --scheduler-file"
    if not reachable(config.exists):
        raise click.UsageError(f"{name_it}; there is no config {config} that could name it")
    cluster = load(config).settings.cluster
    if cluster is None:
        raise click.UsageError(f"{name_it}; in {config}, `executor` is local")
    return cluster
