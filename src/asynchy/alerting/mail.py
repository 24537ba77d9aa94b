"""How mails are made."""

from __future__ import annotations

import logging
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from asynchy.alerting.configured_templates import templates_of
from asynchy.alerting.content import Alert
from asynchy.alerting.mail_context import MailContext
from asynchy.alerting.rendering import RenderedMail, rendered
from asynchy.config import Settings
from asynchy.config.mail_address import mailbox
from asynchy.delivery.mail import POLICY
from asynchy.errors import ConfigError

log = logging.getLogger(__name__)


def lacking_addresses(settings: Settings) -> list[str]:
    """The keys without which no mail can be sent, as far as the config lacks them."""
    keys = {
        "epnalert-email-to": settings.epnalert_email_to,
        "epnalert-email-from": settings.epnalert_email_from,
        "epnalert-email-smtp": settings.epnalert_email_smtp,
    }
    return [key for key, value in keys.items() if not value]


def require_addresses(settings: Settings) -> None:
    """Check that the config has the sender, the recipients and the mail server.

    Raises:
        ConfigError: it does not.
    """
    if missing := lacking_addresses(settings):
        raise ConfigError(
            f"the config does not have {', '.join(missing)}",
            hint="they name the sender, the recipients and the mail server",
        )


def message_of(settings: Settings, alert: Alert, around: MailContext) -> EmailMessage:
    """The mail about an alert; problems of the site's templates are in it, and are logged."""
    mail = rendered(alert, around, templates_of(settings))
    return as_message(settings, alert.subject, mail, around.now)


def as_message(settings: Settings, subject: str, mail: RenderedMail, now: datetime) -> EmailMessage:
    """A mail from and to the addresses of the config; problems of templates are logged."""
    for problem in mail.problems:
        log.error("%s; the mail is written with asynchy's own", problem)
    sender = mailbox(settings.epnalert_email_from or "")
    message = EmailMessage(policy=POLICY)
    message["Subject"] = subject
    message["From"] = sender
    message["To"] = tuple(map(mailbox, settings.epnalert_email_to or ()))
    message["Date"] = format_datetime(now.astimezone())
    message["Message-ID"] = make_msgid(domain=sender.domain)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message
