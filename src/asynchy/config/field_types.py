"""The kinds of values in a config file, each with what it accepts.

A validator that refuses a value raises `ValueError` with what is accepted; `load` adds the file,
the line, the key and what was found.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import string
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr, ValidationInfo

from asynchy.config.mail_address import host_and_port, mailbox, mailboxes
from asynchy.config.text_file import UnusableFile, read_text
from asynchy.model.bandwidth import parse_days, parse_hours
from asynchy.model.catalogue_address import CatalogueAddress, is_postgres, parse_postgres
from asynchy.model.epn import is_proposal

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*", re.ASCII)
_REMOTE = re.compile(r"/[A-Za-z0-9_./@+,={}-]*", re.ASCII)
_BANDWIDTH = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([kKMG]?B)?(?:/s)?", re.ASCII)
_TIMETABLE = "a list such as [{days: mon-fri, hours: 08:00-18:00, limit: 50 MB}]"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_LONGEST_SOCKET = 105
"""Bytes of `unix:` and a path that the kernel takes as the address of a socket."""
_LAST_PORT = 65535
ANY_BEAMLINE = "default"
"""In `retention-days`: every beamline that is not named."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _folder(info: ValidationInfo) -> Path:
    return Path(info.context["folder"]) if info.context else Path.cwd()


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise ValueError("a path; a relative one counts from the folder of the config file")
    try:
        return _folder(info) / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("a path; the home folder that it begins with is not known") from None


def _catalogue(value: object, info: ValidationInfo) -> CatalogueAddress:
    if isinstance(value, str) and is_postgres(value):
        state = info.context["state"] if info.context else ""
        return parse_postgres(value, _path(f"{state}/catalogue", info))
    return _path(value, info)


class UnreadableSecret(ValueError):
    """A secret is not where the config says; the text is the whole message."""


def secret_text(value: object, info: ValidationInfo) -> str:
    """A secret that stands in the config, in a file or in the environment.

    Raises:
        ValueError: it cannot be read there.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((kind, where),) = value.items()
        if kind == "env" and isinstance(where, str):
            return _secret_variable(where)
        if kind == "file" and isinstance(where, str):
            return _secret_file(_path(where, info))
    raise ValueError("a text, {env: NAME} or {file: PATH}")


def _secret_variable(name: str) -> str:
    text = os.environ.get(name)
    if not text:
        raise UnreadableSecret(f"the environment variable {name} is not set")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnreadableSecret(f"the environment variable {name} is not UTF-8") from None
    return text


def _secret_file(path: Path) -> str:
    try:
        text = read_text(path, pipe=True).removeprefix("\ufeff").rstrip("\r\n")
    except (OSError, UnicodeDecodeError, UnusableFile) as error:
        reason = str(error) if isinstance(error, UnusableFile) else "not UTF-8"
        reason = getattr(error, "strerror", None) or reason
        raise UnreadableSecret(f"the secret file {path} cannot be read: {reason}") from None
    if not text:
        raise UnreadableSecret(f"the secret file {path} is empty")
    return text


def checked_segment(value: object) -> str:
    """A path segment, such as a project's name.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str) and _SEGMENT.fullmatch(value) and len(value) <= 100:
        return value
    raise ValueError("one path segment of letters, digits and . _ - @ +")


def checked_proposal(value: object) -> str:
    """A proposal number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str) and is_proposal(value):
        return value
    raise ValueError('a proposal number: digits only, such as "12282"')


def _fields(template: str, accepted: str) -> set[str]:
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError:
        raise ValueError(accepted) from None
    odd = any(spec or conversion for _, _, spec, conversion in parsed)
    if odd or "{{" in template or "}}" in template:
        raise ValueError(f"{accepted}; {{names}} stand alone")
    return {name for _, name, _, _ in parsed if name is not None}


def _source_template(value: object) -> str:
    accepted = (
        "an absolute path at the facility of letters, digits and . _ - @ + , = with {epn} "
        "and, if it applies, {beamline}"
    )
    if not isinstance(value, str) or not _REMOTE.fullmatch(value):
        raise ValueError(accepted)
    fields = _fields(value, accepted)
    if "epn" not in fields or not fields <= {"epn", "beamline"} or ".." in value.split("/"):
        raise ValueError(accepted)
    return re.sub("/+", "/", value).rstrip("/")


def _facility_path(value: object) -> str:
    accepted = "an absolute path at the facility of letters, digits and . _ - @ + , ="
    if not isinstance(value, str) or not _REMOTE.fullmatch(value) or set("{}") & set(value):
        raise ValueError(accepted)
    if ".." in value.split("/"):
        raise ValueError(accepted)
    return re.sub("/+", "/", value).rstrip("/") or "/"


def _destination_template(value: object) -> str:
    accepted = (
        "a path below destination-root-path that begins with {project}/ and holds {epn} "
        "(and {beamline}, if one EPN has data on several)"
    )
    if not isinstance(value, str) or not value.startswith("{project}/") or "\0" in value:
        raise ValueError(accepted)
    parts = value.rstrip("/").split("/")
    if "epn" not in (fields := _fields(value, accepted)) or not fields <= {
        "project",
        "epn",
        "beamline",
    }:
        raise ValueError(accepted)
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(accepted)
    return "/".join(parts)


def _url(value: object) -> str:
    accepted = "the portal's address, such as https://portal.synchrotron.org.au:443"
    if not isinstance(value, str) or any(c.isspace() for c in value):
        raise ValueError(accepted)
    try:
        parts = urlsplit(value)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(accepted) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise ValueError(accepted)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{accepted}, without user name, password or query")
    return value.rstrip("/")


def _log_level(value: object) -> int:
    name = value.removeprefix("logging.") if isinstance(value, str) else None
    if name not in _LEVELS:
        raise ValueError(f"logging. and one of {', '.join(_LEVELS)}")
    return logging.getLevelNamesMapping()[name]


def _addresses(value: object) -> Any:
    listed = value if isinstance(value, list) else [value]
    accepted = (
        "one mail address, or several: a list, or a text with , or ; in between. "
        "An address is a@uni.example or Name <a@uni.example>"
    )
    try:
        found = [address for text in listed for address in mailboxes(_text(text))]
    except ValueError:
        raise ValueError(accepted) from None
    if not found:
        raise ValueError(accepted)
    return tuple(found)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _sender(value: object) -> str:
    try:
        mailbox(_text(value))
    except ValueError:
        raise ValueError("a mail address, such as asynchy@uni.example") from None
    return str(value)


def _mail_host(value: object) -> str:
    try:
        host_and_port(_text(value))
    except ValueError:
        raise ValueError("a mail server's host name, host:port or [IPv6 address]:port") from None
    return str(value)


def _host(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:][A-Za-z0-9_.:-]*", value):
        return value
    raise ValueError("a host name or address")


def _user(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[^\s\0-]\S*", value):
        return value
    raise ValueError("a user name at the SFTP service, such as help@massive.org.au")


def _streams(value: object) -> int | None:
    text = str(value)
    if text == "auto":
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 64:
        return int(text)
    raise ValueError("auto, or a number from 1 to 64")


def _bandwidth(value: object) -> int:
    match = _BANDWIDTH.fullmatch(str(value))
    wanted = float(match[1]) * _UNITS[(match[2] or "B")[:-1].upper()] if match else 0
    if wanted < 10_000:
        raise ValueError("bytes a second, at least 10 kB, such as 80 MB or 1.5 GB")
    return int(wanted)


def _bandwidth_entries(value: object) -> object:
    """The entries of a timetable; one without days and hours where the limit stands alone."""
    if isinstance(value, (list, dict)):
        return value if isinstance(value, list) else [value]
    try:
        return [{"limit": _bandwidth(value)}]
    except ValueError as error:
        raise ValueError(f"{error}, or {_TIMETABLE}") from None


def _days(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        parse_days(text)
    except ValueError:
        raise ValueError("days of the week, such as mon-fri or sat,sun") from None
    return text


def _hours(value: object) -> str:
    try:
        parse_hours(str(value))
    except ValueError:
        raise ValueError("a span of the day, such as 08:00-18:00 or 22:00-06:00") from None
    return str(value)


def _retention(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        if not _is_days(value):
            accepted = (
                f"a number of days, or one for each beamline: {{mx: 90, {ANY_BEAMLINE}: 180}}"
            )
            raise ValueError(accepted)
        return {ANY_BEAMLINE: value}
    for beamline in value:
        if beamline != ANY_BEAMLINE:
            checked_segment(beamline)
    return value


def _number_of_days(value: object) -> int:
    if not _is_days(value):
        raise ValueError("a number of days, such as 90")
    return int(str(value))


def _is_days(value: object) -> bool:
    return re.fullmatch("[1-9][0-9]{0,4}", str(value)) is not None


FilePath = Annotated[Path, BeforeValidator(_path)]
CataloguePlace = Annotated[CatalogueAddress, BeforeValidator(_catalogue)]
Secret = Annotated[SecretStr, BeforeValidator(secret_text)]
Segment = Annotated[str, BeforeValidator(checked_segment)]
Proposal = Annotated[str, BeforeValidator(checked_proposal)]
FacilityPath = Annotated[str, BeforeValidator(_facility_path)]
SourceTemplate = Annotated[str, BeforeValidator(_source_template)]
DestinationTemplate = Annotated[str, BeforeValidator(_destination_template)]


def _web_address(value: object) -> str:
    try:
        return _url(value).rstrip("/")
    except ValueError:
        raise ValueError("an address such as https://asynchy.uni.example") from None


def _listen(value: object) -> str:
    accepted = "HOST:PORT, such as 127.0.0.1:8642, or unix:/PATH"
    if not isinstance(value, str) or any(c.isspace() for c in value):
        raise ValueError(accepted)
    if value.startswith("unix:"):
        if not value.startswith("unix:/") or len(os.fsencode(value)) > _LONGEST_SOCKET:
            raise ValueError(f"{accepted}, an absolute path of at most 100 bytes")
        return value
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
        raise ValueError(accepted)
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(accepted)
    return value


def is_local(listen: str) -> bool:
    """Whether only programs of this machine can connect to what `listen` names."""
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _header_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]{1,60}", value, re.ASCII):
        raise ValueError("the name of a header, such as X-Remote-User")
    return value


Url = Annotated[str, BeforeValidator(_url)]
WebAddress = Annotated[str, BeforeValidator(_web_address)]
Listen = Annotated[str, BeforeValidator(_listen)]
HeaderName = Annotated[str, BeforeValidator(_header_name)]
LogLevel = Annotated[int, BeforeValidator(_log_level)]
Addresses = Annotated[tuple[str, ...], BeforeValidator(_addresses)]
Sender = Annotated[str, BeforeValidator(_sender)]
MailHost = Annotated[str, BeforeValidator(_mail_host)]
Host = Annotated[str, BeforeValidator(_host)]
User = Annotated[str, BeforeValidator(_user)]
Streams = Annotated[int | None, BeforeValidator(_streams)]
Bandwidth = Annotated[int, BeforeValidator(_bandwidth)]
BandwidthEntries = BeforeValidator(_bandwidth_entries)
Days = Annotated[str, BeforeValidator(_days)]
Hours = Annotated[str, BeforeValidator(_hours)]
Retention = Annotated[
    dict[str, Annotated[int, BeforeValidator(_number_of_days)]], BeforeValidator(_retention)
]
