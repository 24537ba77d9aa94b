"""`asynchy web`: the dashboard, and who may look at it."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import click

from asynchy.catalogue import Catalogue
from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.cli.options import span
from asynchy.cli.output.tables import line, table
from asynchy.config import load
from asynchy.errors import ExportRefused, PackageMissing
from asynchy.model.access import Role, WebToken
from asynchy.model.formatting import escaped, moment
from asynchy.web.access import TOKEN_NAME, new_token

_NEEDED = ("prometheus_client", "starlette", "uvicorn")


@click.group("web", invoke_without_command=True)
@click.pass_context
def web_group(context: click.Context) -> None:
    """Serve the dashboard: pages for people, an API and metrics for programs.

    It listens where `web: listen` of the config says, and shows nothing to anybody without a token
    (`asynchy web token add`). Ctrl-C ends it.
    """
    if context.invoked_subcommand is None:
        _serve(context.obj)


def _require_packages() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise PackageMissing(
            f"the dashboard needs packages that are not installed: {', '.join(missing)}",
            hint="install the extra in the folder of the checkout: "
            f"`{sys.prefix}/bin/pip install --require-hashes -r requirements/web.txt`",
        )


@handle_errors
def _serve(config: Path) -> None:
    _require_packages()
    from asynchy.web.server import serve  # noqa: PLC0415 - of the extra

    settings = load(config).settings
    logging_setup.set_up(settings.log_level, None)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    serve(config, lambda address: line(f"The dashboard is at {address}"))


@click.command("metrics")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE, in one step, for node_exporter's textfile collector.  [default: print]",
)
@click.pass_obj
@handle_errors
def metrics_command(config: Path, /, out: Path | None) -> None:
    """Print figures for Prometheus: states, rates, what is at risk, whether the service runs.

    `asynchy web` serves the same at /metrics.
    """
    _require_packages()
    from asynchy.web.metrics import metrics_text  # noqa: PLC0415 - of the extra
    from asynchy.web.reads import live_view  # noqa: PLC0415
    from asynchy.web.refresh import states_now  # noqa: PLC0415

    settings = load(config).settings
    catalogue = Catalogue.open_readonly(settings.catalogue_address)
    with states_now(config) as states:
        text = metrics_text(live_view(catalogue, settings), states, catalogue.health.doctor())
    if out is None:
        click.echo(text.decode(), nl=False)
        return
    try:
        new = out.with_name(f".{out.name}.{os.getpid()}")
        new.write_bytes(text)
        new.replace(out)  # the collector never reads a part of it
    except OSError as error:
        raise ExportRefused(
            f"the metrics cannot be written to {out}: {error.strerror}",
            hint="let this user write the folder",
        ) from None


@web_group.group("token")
def token_group() -> None:
    """Make, list and revoke the tokens with which people and programs look at the dashboard."""


def _token_name(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not TOKEN_NAME.fullmatch(value):
        raise click.BadParameter(
            f"found {escaped(value, limit=40)!r}; accepted is a name of letters, digits and "
            ". _ @ - such as jane or prometheus"
        )
    return value


_name = click.argument("name", callback=_token_name)


@token_group.command("add")
@_name
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.READER.value,
    show_default=True,
    help="A reader looks; an operator acts, too.",
)
@click.option(
    "--for",
    "length",
    callback=span,
    default="90d",
    show_default=True,
    metavar="TIME",
    help="The token ends after this time, such as 12h, 30d or 52w.",
)
@click.pass_obj
@handle_errors
def add_token(config: Path, /, name: str, role: str, length: timedelta) -> None:
    """Make a token for NAME, a person or a program, and print it.

    It is shown this one time: the catalogue has only its digest. NAME is in the audit trail.
    """
    catalogue = Catalogue.open(load(config).settings.catalogue_address)
    now = datetime.now(UTC)
    token = new_token()
    catalogue.web_access.add(token, WebToken(name, Role(role), now, now + length, None))
    click.echo(token)
    click.echo(
        f"{name} ({role}) can log in with this token until {moment(now + length)}. "
        "It is not shown again.",
        err=True,
    )


@token_group.command("list")
@click.pass_obj
@handle_errors
def list_tokens(config: Path, /) -> None:
    """List all tokens that were ever made, and whether each counts."""
    catalogue = Catalogue.open_readonly(load(config).settings.catalogue_address)
    now = datetime.now(UTC)
    found = catalogue.web_access.tokens()
    if not found:
        line("There are no tokens. `asynchy web token add NAME` makes one.")
        return
    rows = [
        (one.name, one.role.value, one.state(now), moment(one.created), moment(one.expires))
        for one in found
    ]
    table(("Name", "Role", "State", "Made", "Ends"), rows)


@token_group.command("revoke")
@_name
@click.pass_obj
@handle_errors
def revoke_token(config: Path, /, name: str) -> None:
    """Have the token of NAME count no more: its sessions end at once."""
    catalogue = Catalogue.open(load(config).settings.catalogue_address)
    catalogue.web_access.revoke(name, datetime.now(UTC))
    line(f"The token of {name} counts no more.")
