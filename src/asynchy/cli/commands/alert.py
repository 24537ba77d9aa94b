"""`epnalert`, which is `asynchy alert`: nobody's data waits unseen."""

from __future__ import annotations

import logging
import shlex
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import click

from asynchy.alerting.alert import deliver, draft_alert, notify_channels
from asynchy.alerting.content import Alert
from asynchy.cli import logging_setup
from asynchy.cli.errors import handle_errors
from asynchy.cli.options import config_option, quiet_option, together, until_stopped
from asynchy.cli.output.outbox import show_undelivered
from asynchy.cli.signals import Signals
from asynchy.config import load
from asynchy.delivery.mail import mail_log
from asynchy.errors import ExitCode
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import count
from asynchy.runtime.cycle_context import cycle_context
from asynchy.runtime.instance_lock import instance_lock
from asynchy.runtime.progress import ProgressBoard

log = logging.getLogger(__name__)


_options = together(
    click.option("--dry-run", is_flag=True, help="Show the mail; send and store nothing."),
    click.option(
        "--since",
        type=click.IntRange(1, 3660),
        metavar="DAYS",
        help="Report the visits of the last DAYS days  [default: visit-day-range]",
    ),
    click.option(
        "--only-new", is_flag=True, help="Send no mail if everything in it was reported before."
    ),
    quiet_option,
)


@click.command("alert")
@_options
@click.pass_obj
@handle_errors
def alert_command(config: Path, /, **options: Any) -> int:
    """Email a report of EPNs without a project and of overdue experiments."""
    return _run(config, **options)


@click.command("epnalert", context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@_options
@click.version_option(package_name="asynchy")
@handle_errors
def epnalert(config: Path, **options: Any) -> int:
    """Email a report of EPNs without a project and of overdue experiments."""
    return _run(config, **options)


def _run(config: Path, *, dry_run: bool, since: int | None, only_new: bool, quiet: bool) -> int:
    if quiet:
        logging_setup.be_quiet()
    loaded = load(config)
    settings = loaded.settings
    logging_setup.set_up(settings.log_level, settings.log_files.epnalert)
    logging_setup.lead_to(mail_log.name, settings.log_files.email)
    for warning in loaded.warnings:
        log.warning("%s", warning)

    def work(stop: Stop, _signals: Signals) -> int:
        context = cycle_context(settings, stop, ProgressBoard(), write=not dry_run)
        alerts = context.catalogue.notifications
        command = f"asynchy --config {shlex.quote(str(config.absolute()))}"
        days = since or settings.visit_day_range
        if dry_run:
            looked = draft_alert(context, alerts, days, command)
            if looked.alert.anything:
                _show(looked.message)
            elif not quiet:
                click.echo("Nothing to report.")
            return looked.alert.exit_code
        with instance_lock(settings.catalogue_address, "epnalert"):
            looked = draft_alert(context, alerts, days, command)
            failed = notify_channels(context, looked)
            code = deliver(context, alerts, looked, only_new=only_new)
        show_undelivered(failed)
        code = code or (ExitCode.MAIL_FAILED if failed else ExitCode.OK)
        if code or not quiet:
            click.echo(_summary(looked.alert))
        return code

    return until_stopped(work)


def _summary(alert: Alert) -> str:
    told = (
        f"{count(len(alert.unknown), 'EPN')} of no project ({len(alert.new)} new), "
        f"{count(len(alert.overdue), 'experiment')} due for long"
        + (f", {len(alert.at_risk)} deleted there soon" if alert.at_risk else "")
        + (f", {count(len(alert.attention), 'thing')} for a person" if alert.attention else "")
    )
    if alert.state_lost:
        return f"{told}; ignore.yml or the catalogue cannot be used"
    return f"{told}; not all could be asked" if alert.problems else told


def _show(message: EmailMessage) -> None:
    for name in ("From", "To", "Subject"):
        click.echo(f"{name}: {message[name]}")
    body = message.get_body(("plain",))
    assert body is not None
    click.echo(f"\n{body.get_content()}", nl=False)
