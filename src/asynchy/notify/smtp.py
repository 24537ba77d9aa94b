"""Handing a mail to the site's mail server."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

from asynchy.deadline import Deadline, reader
from asynchy.domain.secret import masked
from asynchy.domain.text import shown
from asynchy.errors import MailError

_WHOLE = 4
"""Times `timeout` that a mail may take in all, from the connection to the server's yes."""
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
    """Seconds without a word from it; in all, a mail may take four times as long."""

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
    deadline = Deadline(_WHOLE * server.timeout)
    try:
        with _connected(server, deadline) as connection:
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
        if deadline.passed:
            raise MailError(
                f"{server} did not take the mail within {deadline.seconds:.0f} s",
                hint=f"ask who runs the mail server; {_NEXT_RUN}",
            ) from None
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MailError(
            f"{server} cannot be reached: {server.quoted(reason)}", hint=_NEXT_RUN
        ) from None
    return {who: f"{code} {server.quoted(said)}" for who, (code, said) in refused.items()}


class _Bound(smtplib.SMTP):
    """Reads and writes by a deadline: smtplib has a limit for each byte alone."""

    def __init__(self, *arguments: Any, deadline: Deadline, **options: Any) -> None:
        self._deadline = deadline
        super().__init__(*arguments, **options)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = reader(self.sock, self.timeout, self._deadline)
        return super().getreply()

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self._deadline.bound(self.sock, self.timeout)
        super().send(s)


class _BoundTls(_Bound, smtplib.SMTP_SSL):
    """The same, with TLS from the first byte on."""


@contextlib.contextmanager
def _connected(server: MailServer, deadline: Deadline) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context(cafile=str(server.ca_bundle) if server.ca_bundle else None)
    options: dict[str, Any] = {"timeout": server.timeout, "deadline": deadline}
    if server.security == "tls":
        connection: smtplib.SMTP = _BoundTls(server.host, server.port, context=context, **options)
    else:
        connection = _Bound(server.host, server.port, **options)
    try:
        if server.security == "starttls":
            connection.starttls(context=context)
        yield connection
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()  # it has the mail; how it says goodbye does not matter
    finally:
        connection.close()
