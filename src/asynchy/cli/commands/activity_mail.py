"""`asynchy report activity --mail`: the report, sent by a timer."""

from __future__ import annotations

import shlex
from pathlib import Path

from asynchy.alerting.activity_mail import activity_message
from asynchy.alerting.mail import require_addresses
from asynchy.catalogue import Catalogue
from asynchy.catalogue.notifications import PendingMail
from asynchy.cli import logging_setup
from asynchy.cli.options import until_stopped
from asynchy.cli.output.tables import line
from asynchy.cli.signals import Signals
from asynchy.config import Settings, Shared
from asynchy.delivery.deliver import Delivery, deliver_mails
from asynchy.delivery.mail import as_stored, mail_log
from asynchy.errors import ConfigError, ExitCode
from asynchy.model.cancellation import Stop
from asynchy.model.news import ACTIVITY_MAIL
from asynchy.reporting.activity import Activity


def mail_activity(config: Path, settings: Shared, found: Activity, *, if_needed: bool) -> int:
    """Store the mail and hand it over; with `if_needed` only if something needs a person.

    One that the mail server does not take waits: the service, epnalert and the next run try it
    again. A newer mail about as many days takes its place.

    Raises:
        CatalogueError: the catalogue cannot be used.
        ConfigError: the config does not say from whom, to whom and by which server mails go.
    """
    if not isinstance(settings, Settings):
        raise ConfigError(
            f"{config}: --mail needs the config of mxsync",
            hint="name it: asynchy --config config.yml report activity --mail",
        )
    require_addresses(settings)
    logging_setup.set_up(settings.log_level, settings.log_files.epnalert)
    logging_setup.lead_to(mail_log.name, settings.log_files.email)

    def work(stop: Stop, _signals: Signals) -> int:
        catalogue = Catalogue.open(settings.catalogue_address)
        said = "Nothing needs a person: no mail is written."
        if found.attention or not if_needed:
            command = f"asynchy --config {shlex.quote(str(config.absolute()))}"
            message = activity_message(settings, found, command)
            days = max(1, round((found.until - found.since).total_seconds() / 86_400))
            mail = PendingMail(
                found.until,
                as_stored(message),
                (),
                channel=ACTIVITY_MAIL,
                subject=f"days: {days}",
            )
            catalogue.notifications.keep(mail)
            said = f"Mailed to {message['To']}: {message['Subject']}"
        failed = deliver_mails(Delivery(settings, catalogue, stop), ACTIVITY_MAIL, at_once=True)
        if failed:  # it is in the log, and so on stderr
            return ExitCode.MAIL_FAILED
        if catalogue.outbox.waiting(ACTIVITY_MAIL):
            said = "The mail is handed over by another process, which delivers at the moment."
        line(said)
        return ExitCode.OK

    return until_stopped(work)
