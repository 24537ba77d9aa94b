"""`asynchy notify`: who is told what; what waits to be delivered."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from asynchy.catalogue import Catalogue
from asynchy.cli.errors import handle_errors
from asynchy.cli.options import until_stopped
from asynchy.cli.output.outbox import show_list
from asynchy.cli.output.tables import line
from asynchy.cli.signals import Signals
from asynchy.config import load, load_shared
from asynchy.delivery.channels import Channel, channels_of
from asynchy.delivery.deliver import Delivery
from asynchy.delivery.trial import send_test
from asynchy.errors import DeliveryError, ExitCode, NothingKnown
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import escaped


@click.group("notify")
def notify_group() -> None:
    """Test `notify` and `webhooks`; show what waits to be delivered."""


@notify_group.command("test")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
@handle_errors
def test_command(config: Path, /, names: tuple[str, ...]) -> int:
    """Send a test message to each channel of `notify` and `webhooks`, or to those named.

    It is sent at once and is not stored. Commands of `on-complete` are not run.
    """
    settings = load(config).settings
    found = [one for one in channels_of(settings) if one.type != "on-complete"]
    unknown = sorted(set(names) - {one.entry.name for one in found})
    if unknown or not found:
        what = f"no channel {', '.join(map(escaped, unknown))}" if unknown else "no channel"
        raise NothingKnown(
            f"{config} has {what}", hint="name it under `notify` or `webhooks` in the config"
        )
    chosen = [one for one in found if not names or one.entry.name in names]

    def work(stop: Stop, _signals: Signals) -> int:
        catalogue = Catalogue.open_readonly(settings.catalogue_address)
        tried = [_try(Delivery(settings, catalogue, stop), one) for one in chosen]
        return ExitCode.OK if all(tried) else ExitCode.MAIL_FAILED

    return until_stopped(work)


def _try(work: Delivery, channel: Channel) -> bool:
    try:
        send_test(work, channel)
    except DeliveryError as error:
        line(f"FAIL {channel.name}: {error}")
        if error.hint:
            line(f"     {error.hint}")
        return False
    line(f"ok   {channel.name}: taken")
    return True


@notify_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@handle_errors
def list_command(config: Path, /, as_json: bool) -> None:
    """List what waits to be delivered: since when, how often it failed, why."""
    settings = load_shared(config).settings
    waiting = Catalogue.open_readonly(settings.catalogue_address).outbox.waiting()
    if not as_json:
        show_list(waiting)
        return
    rows = [asdict(one) | {"kind": one.kind.value} for one in waiting]
    for row in rows:  # what a mail or a message says is for its receiver
        del row["body"], row["detail"]
    click.echo(json.dumps(rows, indent=2, default=_plain))


@notify_group.command("discard")
@click.argument("number", type=click.IntRange(1))
@click.pass_obj
@handle_errors
def discard_command(config: Path, /, number: int) -> None:
    """Remove message NUMBER of `asynchy notify list`: it is never delivered."""
    catalogue = Catalogue.open(load_shared(config).settings.catalogue_address)
    gone = catalogue.outbox.discard(number)
    if gone is None:
        raise NothingKnown(
            f"no message {number} waits to be delivered", hint="`asynchy notify list` has them"
        )
    about = f" about {gone.subject}" if gone.subject else ""
    line(f"Message {number} for {gone.channel}{about} is removed.")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
