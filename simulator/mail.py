"""A mail server that takes mails and shows them, in a process of its own.

If its folder has a file `refuse`, it answers with the content of that instead of taking a mail. It
ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from simulator.errors import SimulatorError
from simulator.processes import Process


class MailSink:
    """The server while the context lasts.

    `security` is none, starttls or tls, the latter two with a certificate and key in `pem`; with a
    `login` (user:password) it takes mails from that user alone.
    """

    def __init__(
        self, folder: Path, *, security: str = "none", pem: Path | None = None, login: str = ""
    ) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = 0
        self._options = [security, str(pem or ""), login]
        self._process: Process | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self.stop()

    def start(self) -> None:
        """Start, on the same port as before where it ran before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = [str(self.folder.absolute()), str(self.port), *self._options]
        self._process = Process("simulator.mail", arguments)
        first = self._process.output.readline()
        if not first:
            raise SimulatorError("the mail server does not start; the reason is on standard error")
        self.port = json.loads(first)

    def stop(self) -> None:
        """End."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def refuse(self, answer: str | None) -> None:
        """Answer so instead of taking a mail; None: take mails again."""
        path = self.folder / "refuse"
        if answer is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(answer, encoding="utf-8")

    @property
    def mails(self) -> list[EmailMessage]:
        """The mails that it took, in order."""
        found = []
        for path in sorted(self.folder.glob("*.eml")):
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            assert isinstance(message, EmailMessage)
            found.append(message)
        return found


class _Taking:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("refused"):
            return "550 no such user here"
        if address.startswith("greylisted") and not (self._folder / "known").exists():
            return "451 4.7.1 Greylisted, try again in 300 seconds"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        refuse = self._folder / "refuse"
        if refuse.exists():
            return refuse.read_text(encoding="utf-8")
        assert isinstance(envelope.content, bytes)
        number = len(list(self._folder.glob("*.eml"))) + 1
        head = f"X-Recipients: {' '.join(envelope.rcpt_tos)}\r\n".encode()
        made = self._folder / f".{number:04}"
        made.write_bytes(head + envelope.content)
        made.rename(self._folder / f"{number:04}.eml")
        return "250 taken"


async def _serve(folder: Path, port: int, security: str, pem: str, login: str) -> None:
    context = None
    if security != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = f"{data.login.decode()}:{data.password.decode()}" == login
        return AuthResult(success=good, handled=False)

    def speak() -> SMTP:
        return SMTP(
            _Taking(folder),
            hostname="mail.example",
            tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls",
            authenticator=authenticate if login else None,
            auth_required=bool(login),
            auth_require_tls=security == "starttls",
        )

    bound = socket.create_server(("127.0.0.1", port))
    server = await asyncio.get_running_loop().create_server(
        speak, sock=bound, ssl=context if security == "tls" else None
    )
    print(json.dumps(bound.getsockname()[1]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve until standard input ends."""
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]))
