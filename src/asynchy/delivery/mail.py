"""Mails: how they are stored and handed to the mail server."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

from asynchy.catalogue.notifications import Notifications, PendingMail
from asynchy.config import Settings
from asynchy.config.mail_address import host_and_port
from asynchy.delivery.smtp import MailServer, Refusal, Security, send
from asynchy.errors import AsynchyError, MailError
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import count, escaped, moment
from asynchy.model.news import MAIL
from asynchy.runtime.threads import all_at_once

log = logging.getLogger(__name__)
mail_log = logging.getLogger("asynchy.email")

_SILENCE = 60.0
"""Seconds that a mail server may be silent, if the config's `timeout` is longer."""
POLICY = policy.SMTP.clone(cte_type="7bit")
"""Mails are of 7 bits: RFC 6152 lets a client send 8 only if the server offers 8BITMIME."""
_ONLY_TO = "X-Asynchy-Only-To"
"""A header of stored mails alone: the recipients that have not got it yet."""


def as_stored(message: EmailMessage) -> bytes:
    """The mail as it waits in the catalogue."""
    return message.as_bytes(policy=POLICY.clone(utf8=True))


def _message(stored: bytes) -> EmailMessage:
    message = message_from_bytes(stored, policy=POLICY)
    assert isinstance(message, EmailMessage)
    for name in ("From", "To", _ONLY_TO):  # parsed from UTF-8, they hold its bytes as surrogates
        text = str(message.get(name, ""))
        if not text.isascii():
            message.replace_header(name, text.encode("utf-8", "surrogateescape").decode("utf-8"))
    return message


def is_for_the_rest(pending: PendingMail) -> bool:
    """Whether a mail waits only for recipients that were refused for a time."""
    return _ONLY_TO in _message(pending.message)


def deliver_mail(
    settings: Settings,
    notifications: Notifications,
    pending: PendingMail,
    stop: Stop,
) -> None:
    """Hand over a mail that waits in the outbox, and note what became of it.

    Recipients whom the server refuses for now stay in the outbox, with the mail.

    Raises:
        CatalogueError: the catalogue cannot be used.
        MailError: the mail server did not take it, or not for all recipients.
        Stopped: a stop was requested meanwhile; the mail is kept.
    """
    try:
        refused = _hand_over(settings, pending, stop)
    except MailError as error:
        notifications.refused(pending, datetime.now(UTC), str(error))
        raise
    rest = _for_the_rest(pending, refused)
    waits = _refused_for_now(settings, refused) if rest is not None else None
    notifications.taken(pending, datetime.now(UTC), rest=rest, reason=str(waits))
    if waits is not None:
        raise waits


def _for_the_rest(pending: PendingMail, refused: Sequence[Refusal]) -> PendingMail | None:
    """The mail for those who were refused for now, if there are any; it reports nothing new."""
    waiting = [one.address for one in refused if one.for_now]
    if not waiting:
        return None
    message = _message(pending.message)
    del message[_ONLY_TO]
    message[_ONLY_TO] = ", ".join(waiting)
    return replace(pending, message=as_stored(message), epns=(), notes=None)


def _refused_for_now(settings: Settings, refused: Sequence[Refusal]) -> MailError:
    """The error about recipients that have to wait."""
    waiting = ", ".join(f"{escaped(one.address)}: {one.reason}" for one in refused if one.for_now)
    return MailError(
        f"{mail_server(settings)} took the mail, but not yet for all recipients ({waiting})",
        hint="it is kept for them, and goes with the next run",
    )


def _hand_over(settings: Settings, pending: PendingMail, stop: Stop) -> tuple[Refusal, ...]:
    """Give a mail to the mail server; the recipients that it refused.

    Raises:
        MailError: the server took it for nobody.
        Stopped: a stop was requested meanwhile.
    """
    server = mail_server(settings)
    message = _message(pending.message)
    only = message[_ONLY_TO]
    del message[_ONLY_TO]
    recipients = (
        str(only).split(", ")
        if only
        else [f"{one.username}@{one.domain}" for one in message["To"].addresses]
    )
    told = f"{message['Subject']!r} to {only or message['To']}"
    if pending.channel == MAIL:
        told += f", {count(len(pending.epns), 'EPN')}"
    try:
        (refused,) = all_at_once([lambda: send(server, message, recipients)], stop, lambda: None)
    except AsynchyError as error:
        mail_log.error("not sent: %s, written %s: %s", told, moment(pending.created), error)
        raise
    mail_log.info("%s took %s, %s", server, told, message["Message-ID"])
    for one in refused:
        mail_log.error("%s refused %s: %s", server, escaped(one.address), one.reason)
        if not one.for_now and not mail_log.propagate:  # those for now end the run, named
            log.error("%s refused %s: %s", server, escaped(one.address), one.reason)
    for epn in pending.epns:
        mail_log.info("reported: %s", epn)
    return refused


def mail_server(settings: Settings) -> MailServer:
    """The mail server that the config names."""
    host, port = host_and_port(settings.epnalert_email_smtp or "localhost")
    security: Security | None = settings.epnalert_smtp_security
    if security is None and port == 465:
        security = "tls"
    elif security is None:
        security = "starttls" if port == 587 or settings.epnalert_smtp_user else "none"
    usual = {"none": 25, "starttls": 587 if settings.epnalert_smtp_user else 25, "tls": 465}
    password = settings.epnalert_smtp_password
    return MailServer(
        host=host,
        port=port or usual[security],
        security=security,
        user=settings.epnalert_smtp_user,
        password=password.get_secret_value() if password else None,
        ca_bundle=settings.ca_bundle,
        timeout=min(settings.timeout, _SILENCE),
    )
