"""One HTTP request, to the portal or a webhook: bounded in time and size, errors without secrets.

The token travels in the query string, so urllib3's own messages, which quote the URL, never
leave this module.
"""

from __future__ import annotations

import base64
import email.utils
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as UrllibTimeout
from urllib3.util import parse_url

from asynchy.deadline import Deadline, reader
from asynchy.errors import ConfigError, PortalError, PortalUnavailable

_CONNECT_TIMEOUT = 10.0  # seconds
_TOTAL_TIMEOUT_FACTOR = 4
"""Times the longest silence that a request may take in all, from its first byte to the last."""
_MAX_ANSWER_BYTES = 64 << 20
"""Bytes of an answer; a month of visits is a few hundred kB."""


_PROXY_REFUSED = "Tunnel connection failed: 407"
"""http.client's message for a proxy that refuses a tunnel."""
_TUNNEL = re.compile(r"[1-5][0-9]{2} [A-Za-z ]{1,60}$")


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes
    retry_after: float | None
    location: str | None
    date: datetime | None
    """The time of the portal's clock."""


class _Exchange(threading.local):
    """The limits of the request that a thread makes: urllib3 makes the connections itself."""

    silence: float
    deadline: Deadline


_exchange = _Exchange()


class _Response(http.client.HTTPResponse):
    """Read by the deadline: status line, headers, sizes of chunks, body, a proxy's answer."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = reader(sock, _exchange.read_timeout, _exchange.deadline)  # type: ignore[assignment]


class _HttpConnection(HTTPConnection):
    response_class = _Response


class _HttpsConnection(HTTPSConnection):
    response_class = _Response


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class Http:
    """Requests to one base URL, through the proxy that the environment names."""

    def __init__(
        self, base_url: str, *, ca_bundle: Path | None, timeout: float, name: str = "the portal"
    ) -> None:
        """`name`: the name of the other side in errors."""
        self._name = name
        self._base_url = base_url
        self._timeout = timeout
        self._proxy = _proxy_of(base_url)
        # To load the system's authorities takes as long as an exchange with the portal.
        encrypted = ca_bundle or self._proxy or base_url.lower().startswith("https:")
        self._pool = _pool(self._proxy, _trust(ca_bundle) if encrypted else None)

    def url(self, path: str) -> str:
        """The address of a path, without what was asked there."""
        return self._base_url + path

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
    ) -> Answer:
        """Ask once; the whole of it takes at most four times the longest silence.

        Raises:
            PortalUnavailable: no whole answer came; another try may bring one.
            PortalError: the portal's certificate is not trusted, its address is of no use, or the
                proxy wants another user or password.
        """
        headers = {"Accept": "application/json"}
        url = self._base_url + path
        if basic:
            headers["Authorization"] = _basic(_octets(":".join(basic)))
        if query:
            url += "?" + urlencode(query)
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self._exchange(method, url, urlencode(form) if form else None, headers)

    def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a body of any kind to the base URL itself, once.

        Raises:
            PortalUnavailable, PortalError: as `request`.
        """
        return self._exchange("POST", self._base_url, content, headers)

    def _exchange(
        self, method: str, url: str, body: str | bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        deadline = Deadline(_TOTAL_TIMEOUT_FACTOR * self._timeout)
        _exchange.read_timeout, _exchange.deadline = self._timeout, deadline
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={"User-Agent": "asynchy", **headers},
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=self._timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                answer = self._body(response)
            finally:
                response.close()
        except SSLError as error:
            raise self._untrusted(error) from None
        except LocationValueError:
            raise PortalError("base-url is not an address that can be asked") from None
        except (HTTPError, OSError) as error:
            if self._proxy and _PROXY_REFUSED in str(getattr(error, "original_error", "")):
                raise _proxy_refused(self._proxy) from None
            fault = (
                "'s answer took too long"
                if deadline.passed
                else f" {_fault_text(error, self._proxy)}"
            )
            raise PortalUnavailable(f"{self._name}{fault}", hint=_hint(error)) from None
        if self._proxy and response.status == http.client.PROXY_AUTHENTICATION_REQUIRED:
            raise _proxy_refused(self._proxy)
        return Answer(
            response.status,
            answer,
            _retry_after(response.headers.get("Retry-After")),
            response.headers.get("Location"),
            _date(response.headers.get("Date")),
        )

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        while block := response.read1(1 << 16):
            parts.append(block)
            size += len(block)
            if size > _MAX_ANSWER_BYTES:
                raise PortalUnavailable(
                    f"{self._name}'s answer is larger than {_MAX_ANSWER_BYTES} bytes"
                )
        return b"".join(parts)

    def _untrusted(self, error: SSLError) -> PortalError:
        reason = error.args[0] if error.args else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return PortalError(
                f"{self._name}'s certificate is not trusted: {reason.verify_message}",
                hint="if an authority of your site signs it, name its PEM file as `ca-bundle`",
            )
        return PortalUnavailable(f"{self._name} broke off the TLS connection")


def _trust(ca_bundle: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca-bundle: {ca_bundle} cannot be used: {error.strerror or error}",
            hint="name a PEM file with the certificates of the trusted authorities",
        ) from None


@dataclass(frozen=True)
class _Proxy:
    """The proxy that the environment names."""

    url: str
    """Without user and password."""
    variable: str
    """Of the environment, in which it is named."""
    login: bytes | None = field(repr=False)
    """`user:password`, as the proxy wants them."""


def _pool(proxy: _Proxy | None, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    pool = _proxied(proxy, context) if proxy else urllib3.PoolManager(ssl_context=context)
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool


def _proxy_of(base_url: str) -> _Proxy | None:
    parts = urlsplit(base_url)
    proxies = getproxies_environment()
    name = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(name)
    if not proxy or proxy_bypass(parts.netloc):
        return None
    variable = f"{name.upper()}_PROXY"
    try:
        url = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except (HTTPError, ValueError):
        raise _odd_proxy(variable) from None
    # In an address, characters such as @ and : of a password are written %40 and %3A.
    return _Proxy(
        url._replace(auth=None).url, variable, unquote_to_bytes(url.auth) if url.auth else None
    )


def _proxied(proxy: _Proxy, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    headers = {"Proxy-Authorization": _basic(proxy.login)} if proxy.login else None
    try:
        return urllib3.ProxyManager(proxy.url, ssl_context=context, proxy_headers=headers)
    except (HTTPError, ValueError):
        raise _odd_proxy(proxy.variable) from None


def _odd_proxy(variable: str) -> ConfigError:
    return ConfigError(
        f"{variable} is not the address of a proxy",
        hint="it looks like http://proxy.example:3128",
    )


def _proxy_refused(proxy: _Proxy) -> PortalError:
    refusal = "refused the user or the password" if proxy.login else "wants a user and password"
    return PortalError(
        f"the proxy {proxy.url} {refusal} (HTTP 407)",
        hint=f"write them into {proxy.variable}: http://USER:PASSWORD@HOST:PORT, special characters"
        " percent-encoded (@ is %40, : is %3A, / is %2F)",
    )


def _basic(login: bytes) -> str:
    """The header's value for a user and password: RFC 7617."""
    return f"Basic {base64.b64encode(login).decode('ascii')}"


def _octets(text: str) -> bytes:
    """As the original sent a client's name and password: in Latin-1, or UTF-8 if that cannot."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _hint(error: Exception) -> str | None:
    """The hint for a server that could not be connected to; None: it could."""
    if isinstance(error, (NewConnectionError, ProxyError)):
        return "check its address in the config, and this machine's network and proxy"
    return None


def _fault_text(error: Exception, proxy: _Proxy | None) -> str:
    if isinstance(error, ProxyError):
        cause = _cause(error.original_error)
        return f"cannot be reached through the proxy {proxy.url if proxy else ''}{cause}"
    if isinstance(error, NewConnectionError):  # before its base, urllib3's time-out
        return f"cannot be reached{_cause(error)}"
    if isinstance(error, UrllibTimeout):
        return "did not answer in time"
    return "broke off its answer"


def _cause(error: Exception) -> str:
    """The system's reason, in brackets; urllib3's own message quotes the URL."""
    for item in (error, error.__cause__):
        if isinstance(item, OSError) and (reason := item.strerror or _TUNNEL.search(str(item))):
            return f" ({reason if isinstance(reason, str) else reason[0]})"
    return ""


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait: RFC 9110, 10.2.3 (a number of seconds, or a date)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    date = _date(value)
    return None if date is None else max(0.0, (date - datetime.now(UTC)).total_seconds())


def _date(value: str | None) -> datetime | None:
    """A date as HTTP writes it: RFC 9110, 5.6.7."""
    try:
        date = email.utils.parsedate_to_datetime(value or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
