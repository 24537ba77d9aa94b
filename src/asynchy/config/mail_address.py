"""Mail addresses and mail servers, as people write them in a config."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from email.headerregistry import Address
from email.utils import parseaddr

_HOST = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_PART = re.compile(r"""(?:"(?:\\.|[^"\\])*"|<[^>]*>|[^,;"<]|["<])+""")
"""What is between commas and semicolons; those in quotes and in <> do not count."""


def mailboxes(text: str) -> Iterator[str]:
    """The addresses in a list: `a@b`, `Name <a@b>`, with commas or semicolons in between.

    Raises:
        ValueError: one of them is not an address.
    """
    for part in _PART.findall(text):
        if part.strip():
            mailbox(part)
            yield part.strip()


def mailbox(text: str) -> Address:
    """One address, with the name of its owner if there is one.

    A domain with letters that are not ASCII is given in the form in which DNS has it.

    Raises:
        ValueError: it is not an address.
    """
    name, address = parseaddr(text.strip())
    user, _, domain = address.rpartition("@")
    if not text.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
        raise ValueError(f"not a mail address: {text!r}")
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")  # UnicodeError is a ValueError
    if not user.isascii():  # Address() would refuse it; the mail server may take it
        return Address(name, user, domain)
    try:
        return Address(name, addr_spec=f"{user}@{domain}")
    except Exception as error:  # also HeaderParseError and, for odd texts, IndexError
        raise ValueError(f"not a mail address: {text!r}") from error


def host_and_port(text: str) -> tuple[str, int | None]:
    """A server's host, and its port if there is one: `host`, `host:25`, `[::1]:25`, `::1`.

    Raises:
        ValueError: it is neither.
    """
    host, port = text, ""
    if match := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", text):
        host, port = match[1], match[2] or ("" if match[2] is None else "-")
        ipaddress.IPv6Address(host)
    elif text.count(":") > 1:
        ipaddress.IPv6Address(text)
    else:
        host, colon, port = text.partition(":")
        if not _HOST.fullmatch(host) or (colon and not port):
            raise ValueError(f"not a host: {text!r}")
    if port and not (port.isdecimal() and port.isascii() and 0 < int(port) < 65536):
        raise ValueError(f"not a port: {port!r}")
    return host, int(port) if port else None
