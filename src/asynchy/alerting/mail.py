"""The mail of epnalert: how it is made."""

from __future__ import annotations

import logging
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from asynchy.alerting.configured_templates import templates_of
from asynchy.alerting.content import Alert
from asynchy.alerting.mail_context import MailContext
from asynchy.alerting.rendering import rendered
from asynchy.config import Settings
from asynchy.config.mail_address import mailbox
from asynchy.delivery.mail import POLICY

log = logging.getLogger(__name__)


def message_of(settings: Settings, alert: Alert, around: MailContext) -> EmailMessage:
    """The mail about an alert; problems of the site's templates are in it, and are logged."""
    mail = rendered(alert, around, templates_of(settings))
    for problem in mail.problems:
        log.error("%s; the mail is written with asynchy's own", problem)
    sender = mailbox(settings.epnalert_email_from or "")
    message = EmailMessage(policy=POLICY)
    message["Subject"] = alert.subject
    message["From"] = sender
    message["To"] = tuple(map(mailbox, settings.epnalert_email_to or ()))
    message["Date"] = format_datetime(around.now.astimezone())
    message["Message-ID"] = make_msgid(domain=sender.domain)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message
