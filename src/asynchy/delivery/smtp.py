"""Handing a mail to the site's mail server."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Literal

from asynchy.deadline import Deadline, reader
from asynchy.errors import MailError
from asynchy.model.formatting import escaped, size
from asynchy.model.redaction import masked

_WHOLE = 4
"""Times `timeout` that a mail may take in all, from the connection to the server's yes."""
_MOST_SAID = 1_000_000
"""Bytes that a server may say before or after TLS begins; a line to each of 1,000 recipients is a
tenth of that. smtplib keeps all lines of an answer."""
_NEXT_RUN = "the mail is kept, and goes with the next run"
_LINES = policy.SMTP.clone(cte_type="7bit")
_SERVER = "check epnalert-email-smtp; ask who runs the mail server"
_SENDER = "check epnalert-email-from, and whether the server wants a user and password"
_RECIPIENT = "check epnalert-email-to, and whether the server wants a user and password"
_CONTENT = f"ask who runs the mail server why; {_NEXT_RUN}"
_CLOSING = 421
"""The server closes the connection, whatever it was asked (RFC 5321, 4.2.3)."""
_FOR_GOOD = 500
"""Codes from here on say that the same will be refused again."""
_SIZE_OR_QUOTA = frozenset({523, 552})
_LOG_IN_FIRST = frozenset({530, 534})
_ENCRYPT_FIRST = frozenset({("7", "10"), ("7", "11")})
"""Second codes of a server that wants TLS first (RFC 5248)."""
_ENCRYPT_WORDS = re.compile(r"(?i)\bSTARTTLS\b|\b(TLS|encryption) (is )?(needed|required)\b")
"""RFC 3207, 4: `530 Must issue a STARTTLS command first`. Exchange says it with 451."""
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
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def answer(self, error: smtplib.SMTPResponseException) -> str:
        """What it answered, with its code."""
        return f"{error.smtp_code} {self.quoted(error.smtp_error)}"

    def quoted(self, said: bytes | str) -> str:
        """What it said, fit to be read: some quote the log-in that they refuse."""
        text = said if isinstance(said, str) else said.decode("utf-8", "replace")
        secrets = [self.password, f"\0{self.user}\0{self.password}"] if self.password else []
        return escaped(masked(text, secrets), limit=200)


@dataclass(frozen=True)
class Refusal:
    """A recipient that the server refused while it took the mail for others."""

    address: str
    reason: str
    for_now: bool
    """Whether another try may help: a code 4xx (RFC 5321, 4.2.1)."""


def send(
    server: MailServer, message: EmailMessage, recipients: Sequence[str]
) -> tuple[Refusal, ...]:
    """Hand over a mail; the recipients that the server refused while it took others.

    When this returns, the server has taken the mail for all the others. `message` has to be of 7
    bits: no server refuses such a mail, and none has to convert it.

    Raises:
        MailError: it has taken the mail for nobody.
    """
    with _logged_in(server) as connection:
        sender = str(message["From"])
        utf8 = _needs_smtputf8(server, connection, [*recipients, sender])
        # Not `send_message`, which would put a `>` before a line that begins with "From ".
        refused = connection.sendmail(
            parseaddr(sender)[1],
            list(recipients),
            message.as_bytes(policy=_LINES.clone(utf8=utf8)),
            ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else [],
        )
    return _refusals(server, refused)


def try_server(server: MailServer) -> None:
    """Do all that comes before a mail: connect, EHLO, TLS and log-in, as for `send`.

    Raises:
        MailError: it is not possible.
    """
    try:
        with _logged_in(server) as connection:
            connection.ehlo_or_helo_if_needed()
    except MailError as error:
        hint = (error.hint or "").removesuffix(_NEXT_RUN).rstrip("; ")
        raise MailError(error.message, hint=hint or _SERVER) from None


@contextlib.contextmanager
def _logged_in(server: MailServer) -> Iterator[smtplib.SMTP]:
    """A connection on which mails can be handed over; what goes wrong on it is a `MailError`."""
    deadline = Deadline(_WHOLE * server.timeout)
    reached = False
    try:
        with _connected(server, deadline) as connection:
            if server.user is not None:
                connection.login(server.user, server.password or "")
            reached = True
            yield connection
    except smtplib.SMTPAuthenticationError as error:
        raise MailError(
            f"{server} refused the user or the password: {server.answer(error)}",
            hint="check epnalert-smtp-user and epnalert-smtp-password",
        ) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise _nobody_gets_it(server, error) from None
    except smtplib.SMTPSenderRefused as error:
        raise MailError(
            f"{server} refused the sender {escaped(error.sender)}: {server.answer(error)}",
            hint=_advice(server, error.smtp_code, error.smtp_error, _SENDER),
        ) from None
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(
            f"{server}: {server.quoted(str(error))}",
            hint="check epnalert-smtp-security: none, starttls or tls",
        ) from None
    except smtplib.SMTPResponseException as error:
        raise MailError(
            f"{server} did not take the mail: {server.answer(error)}",
            hint=_advice(server, error.smtp_code, error.smtp_error, _CONTENT),
        ) from None
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise MailError(
            f"{server}: TLS handshake failed: {escaped(reason)}",
            hint="check epnalert-smtp-security and, for an authority of the site's own, ca-bundle",
        ) from None
    except (OSError, OverflowError, smtplib.SMTPException) as error:
        raise _broken_off(server, deadline, error, reached=reached) from None


def _broken_off(
    server: MailServer, deadline: Deadline, error: Exception, *, reached: bool
) -> MailError:
    if deadline.passed:
        return MailError(
            f"{server} did not take the mail within {deadline.seconds:.0f} s",
            hint=f"ask who runs the mail server; {_NEXT_RUN}",
        )
    if isinstance(error, OverflowError):
        return MailError(
            f"{server} did not take the mail: its answers have more than {size(_MOST_SAID)}",
            hint=f"check epnalert-email-smtp: is that a mail server? {_NEXT_RUN}",
        )
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    said = server.quoted(reason)
    if reached:
        return MailError(
            f"{server} ended the connection before it said that it had taken the mail: {said}",
            hint=f"ask who runs the mail server; {_NEXT_RUN} (if it had taken it, it comes twice)",
        )
    return MailError(f"{server} cannot be reached: {said}", hint=_NEXT_RUN)


def _needs_smtputf8(server: MailServer, connection: smtplib.SMTP, addresses: Sequence[str]) -> bool:
    """Whether an address has letters beyond ASCII: only a server with SMTPUTF8 (RFC 6531) takes it.

    Raises:
        MailError: this server does not.
    """
    found = [parseaddr(text)[1] for text in addresses]
    odd = [address for address in found if not address.isascii()]
    connection.ehlo_or_helo_if_needed()
    if odd and not connection.has_extn("smtputf8"):
        raise MailError(
            f"{server} does not take addresses with letters beyond ASCII (it does not offer "
            f"SMTPUTF8): {', '.join(map(escaped, odd))}",
            hint="write an address of ASCII letters into epnalert-email-to and epnalert-email-from",
        )
    return bool(odd)


def _refusals(server: MailServer, refused: Mapping[str, tuple[int, bytes]]) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(who, f"{code} {server.quoted(said)}", code < _FOR_GOOD)
        for who, (code, said) in refused.items()
    )


def _nobody_gets_it(server: MailServer, error: smtplib.SMTPRecipientsRefused) -> MailError:
    refused = _refusals(server, error.recipients)
    for who, (code, words) in error.recipients.items():
        if code == _CLOSING:  # it took others, or was not asked about them
            return MailError(
                f"{server} did not take the mail: {code} {server.quoted(words)} ({escaped(who)})",
                hint=_advice(server, code, words, _RECIPIENT),
            )
    every = ", ".join(f"{escaped(one.address)}: {one.reason}" for one in refused)
    said = f"{server} refused every recipient ({every})"
    # Codes 4xx come first: those are tried again.
    code, words = min(error.recipients.values(), key=lambda answer: answer[0])
    return MailError(said, hint=_advice(server, code, words, _RECIPIENT))


def _advice(server: MailServer, code: int, answer: bytes | str, otherwise: str) -> str:
    """What to do about a refusal: RFC 5321, 4.2, and the second code of RFC 3463."""
    said = server.quoted(answer)
    enhanced = re.match(r"[45]\.(\d+)\.(\d+)", said)
    detail = enhanced.groups() if enhanced else ()
    wants_tls = code == 538 or detail in _ENCRYPT_FIRST or _ENCRYPT_WORDS.search(said)
    if server.security == "none" and wants_tls:
        return "the server takes mail over TLS alone: set `epnalert-smtp-security: starttls`"
    if code < _FOR_GOOD:
        return f"the server refuses it for now; {_NEXT_RUN}"
    if code in _SIZE_OR_QUOTA or detail in {("3", "4"), ("2", "2"), ("2", "3")}:
        return (
            "the mail is larger than the server takes, or a mailbox there is full: ask who runs "
            f"the mail server; {_NEXT_RUN}"
        )
    if code in _LOG_IN_FIRST:
        return "the server wants a login: epnalert-smtp-user and epnalert-smtp-password"
    return otherwise


class _Bound(smtplib.SMTP):
    """Reads and writes by a deadline: smtplib has a limit for each byte alone."""

    def __init__(self, *arguments: Any, deadline: Deadline, **options: Any) -> None:
        self._deadline = deadline
        super().__init__(*arguments, **options)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = reader(self.sock, self.timeout, self._deadline, _MOST_SAID)
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
