"""Handing a mail to the site's mail server."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Literal

from asynchy.domain.secret import masked
from asynchy.domain.text import shown
from asynchy.errors import MailError

_NEXT_RUN = "the mail is kept, and goes with the next run"
Security = Literal["none", "starttls", "tls"]


@dataclass(frozen=True)
class MailServer:
    """Where mails go, and how."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str | None = None
    ca_bundle: Path | None = None
    """A PEM file of the authorities to trust; None: the system's."""
    timeout: float = 60.0
    """Seconds without a word from it."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def answer(self, error: smtplib.SMTPResponseException) -> str:
        """What it answered, with its code."""
        return f"{error.smtp_code} {self.quoted(error.smtp_error)}"

    def quoted(self, said: bytes | str) -> str:
        """What it said, fit to be read: some quote the log-in that they refuse."""
        text = said if isinstance(said, str) else said.decode("utf-8", "replace")
        secrets = [self.password, f"\0{self.user}\0{self.password}"] if self.password else []
        return shown(masked(text, secrets), limit=200)


def send(server: MailServer, message: EmailMessage) -> dict[str, str]:
    """Hand over a mail; the recipients that the server refused while it took others, and why.

    When this returns, the server has taken the mail.

    Raises:
        MailError: it has not; `transient` where another try may help.
    """
    try:
        with _connected(server) as connection:
            if server.user is not None:
                connection.login(server.user, server.password or "")
            refused = connection.send_message(message)
    except smtplib.SMTPAuthenticationError as error:
        raise MailError(
            f"{server} refused the user or the password: {server.answer(error)}",
            hint="check epnalert-smtp-user and epnalert-smtp-password",
        ) from None
    except smtplib.SMTPRecipientsRefused as error:
        every = ", ".join(
            f"{shown(who)}: {code} {server.quoted(said)}"
            for who, (code, said) in error.recipients.items()
        )
        raise MailError(
            f"{server} refused every recipient ({every})", hint="check epnalert-email-to"
        ) from None
    except smtplib.SMTPSenderRefused as error:
        raise MailError(
            f"{server} refused the sender {shown(error.sender)}: {server.answer(error)}",
            hint="check epnalert-email-from, and whether the server wants a user and password",
        ) from None
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(
            f"{server}: {server.quoted(str(error))}",
            hint="check epnalert-smtp-security: none, starttls or tls",
        ) from None
    except smtplib.SMTPResponseException as error:
        raise MailError(
            f"{server} did not take the mail: {server.answer(error)}",
            hint=_NEXT_RUN,
        ) from None
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise MailError(
            f"{server}: no TLS as it should be: {shown(reason)}",
            hint="check epnalert-smtp-security and, for an authority of the site's own, ca-bundle",
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MailError(
            f"{server} cannot be reached: {server.quoted(reason)}", hint=_NEXT_RUN
        ) from None
    return {who: f"{code} {server.quoted(said)}" for who, (code, said) in refused.items()}


@contextlib.contextmanager
def _connected(server: MailServer) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context(cafile=str(server.ca_bundle) if server.ca_bundle else None)
    if server.security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=server.timeout, context=context
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=server.timeout)
    try:
        if server.security == "starttls":
            connection.starttls(context=context)
        yield connection
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()  # it has the mail; how it says goodbye does not matter
    finally:
        connection.close()
