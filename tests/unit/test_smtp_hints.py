"""What a person is advised to do if a mail server refuses a mail."""

from __future__ import annotations

import smtplib
from contextlib import nullcontext
from email.message import EmailMessage
from typing import Any

import pytest

from asynchy.delivery import smtp
from asynchy.delivery.smtp import MailServer, send
from asynchy.errors import MailError

SERVER = MailServer("mail.uni.example", 25, "none")


class Server:
    """An SMTP connection that takes no mail."""

    def __init__(self, refusal: Exception) -> None:
        self._refusal = refusal

    def ehlo_or_helo_if_needed(self) -> None:
        pass

    def sendmail(self, _sender: str, _to: Any, data: bytes, *_: Any) -> None:
        self.taken = data
        raise self._refusal


def error_of(monkeypatch: pytest.MonkeyPatch, refusal: Exception, server: MailServer) -> MailError:
    monkeypatch.setattr(smtp, "_connected", lambda *_: nullcontext(Server(refusal)))
    message = EmailMessage()
    message["From"] = "asynchy@uni.example"
    with pytest.raises(MailError) as raised:
        send(server, message, ["it@uni.example"])
    return raised.value


def hint_of(monkeypatch: pytest.MonkeyPatch, refusal: Exception, server: MailServer) -> str:
    return str(error_of(monkeypatch, refusal, server).hint)


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [
        (530, b"5.7.0 Must issue a STARTTLS command first", "epnalert-smtp-security: starttls"),
        (451, b"5.7.3 STARTTLS is required to send mail", "epnalert-smtp-security: starttls"),
        (523, b"5.7.10 Encryption needed", "epnalert-smtp-security: starttls"),
        (538, b"5.7.11 not on this connection", "epnalert-smtp-security: starttls"),
        (530, b"5.7.0 Authentication required", "epnalert-smtp-user"),
        (450, b"4.7.1 Greylisted", "refuses it for now"),
        (552, b"5.3.4 too large", "larger than the server takes"),
    ],
)
def test_the_hint_is_about_what_the_server_wants(
    monkeypatch: pytest.MonkeyPatch, code: int, said: bytes, hint: str
) -> None:
    for refusal in (
        smtplib.SMTPSenderRefused(code, said, "asynchy@uni.example"),
        smtplib.SMTPRecipientsRefused({"it@uni.example": (code, said)}),
    ):
        assert hint in hint_of(monkeypatch, refusal, SERVER)


def test_a_server_that_cannot_start_tls_now_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = smtplib.SMTPResponseException(454, b"4.7.0 STARTTLS not available now")
    server = MailServer("mail.uni.example", 587, "starttls")
    assert "refuses it for now" in hint_of(monkeypatch, refusal, server)


def test_a_server_that_closes_at_one_recipient_has_not_refused_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = smtplib.SMTPRecipientsRefused({"b@uni.example": (421, b"4.3.2 closing")})
    error = error_of(monkeypatch, refusal, SERVER)
    assert error.message == (
        "mail.uni.example:25 did not take the mail: 421 4.3.2 closing (b@uni.example)"
    )
    assert "refuses it for now" in str(error.hint)


def test_a_server_that_ends_the_connection_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = smtplib.SMTPServerDisconnected("Connection unexpectedly closed")
    error = error_of(monkeypatch, dropped, SERVER)
    assert "ended the connection before it said that it had taken the mail" in error.message
    assert "cannot be reached" not in error.message


def test_a_line_that_begins_with_from_arrives_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(smtplib.SMTPServerDisconnected())
    monkeypatch.setattr(smtp, "_connected", lambda *_: nullcontext(server))
    message = EmailMessage()
    message["From"] = "asynchy@uni.example"
    message.set_content("From here on\nthe data are yours\n")
    with pytest.raises(MailError):
        send(SERVER, message, ["it@uni.example"])
    assert b"\r\n\r\nFrom here on\r\n" in server.taken
