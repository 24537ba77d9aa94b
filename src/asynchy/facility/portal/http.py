"""One HTTP request to the portal: bounded in time and size, its errors without secrets.

The token travels in the query string, so urllib3's own messages, which quote the URL, never
leave this module.
"""

from __future__ import annotations

import email.utils
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
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
from urllib3.util import make_headers, parse_url

from asynchy.deadline import Deadline, reader
from asynchy.errors import ConfigError, PortalError, PortalUnavailable

_CONNECT = 10.0
_WHOLE = 4
"""Times the longest silence that a request may take in all, from its first byte to the last."""
_LARGEST = 64 << 20
"""Bytes of an answer; a month of visits is a few hundred kB."""


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes
    retry_after: float | None
    location: str | None
    date: datetime | None
    """What the portal's clock said."""


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
        self.fp = reader(sock, _exchange.silence, _exchange.deadline)  # type: ignore[assignment]


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

    def __init__(self, base_url: str, *, ca_bundle: Path | None, timeout: float) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._pool = _pool(base_url, _trust(ca_bundle))

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
            PortalError: the portal's certificate is not trusted, or its address is of no use.
        """
        headers = {"Accept": "application/json", "User-Agent": "asynchy"}
        url = self._base_url + path
        if basic:
            headers |= make_headers(basic_auth=":".join(basic))
        if query:
            url += "?" + urlencode(query)
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        deadline = Deadline(_WHOLE * self._timeout)
        _exchange.silence, _exchange.deadline = self._timeout, deadline
        try:
            response = self._pool.request(
                method,
                url,
                body=urlencode(form) if form else None,
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT, read=self._timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                body = self._body(response)
            finally:
                response.close()
        except SSLError as error:
            raise _untrusted(error) from None
        except LocationValueError:
            raise PortalError("base-url is not an address that can be asked") from None
        except (HTTPError, OSError) as error:
            what = "'s answer took too long" if deadline.passed else f" {_what(error)}"
            raise PortalUnavailable(f"the portal{what}") from None
        return Answer(
            response.status,
            body,
            _retry_after(response.headers.get("Retry-After")),
            response.headers.get("Location"),
            _date(response.headers.get("Date")),
        )

    @staticmethod
    def _body(response: urllib3.BaseHTTPResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := response.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if size > _LARGEST:
                raise PortalUnavailable(f"the portal's answer is larger than {_LARGEST} bytes")
        return b"".join(parts)


def _trust(ca_bundle: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca-bundle: {ca_bundle} cannot be used: {error.strerror or error}",
            hint="name a PEM file with the certificates of the trusted authorities",
        ) from None


def _pool(base_url: str, context: ssl.SSLContext) -> urllib3.PoolManager:
    pool = _proxied(base_url, context)
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool


def _proxied(base_url: str, context: ssl.SSLContext) -> urllib3.PoolManager:
    parts = urlsplit(base_url)
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return urllib3.PoolManager(ssl_context=context)
    try:
        url = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        headers = make_headers(proxy_basic_auth=url.auth) if url.auth else None
        return urllib3.ProxyManager(
            url._replace(auth=None).url, ssl_context=context, proxy_headers=headers
        )
    except (HTTPError, ValueError):
        raise ConfigError(
            f"{parts.scheme.upper()}_PROXY is not the address of a proxy",
            hint="it looks like http://proxy.example:3128",
        ) from None


def _untrusted(error: SSLError) -> PortalError:
    reason = error.args[0] if error.args else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return PortalError(
            f"the portal's certificate is not trusted: {reason.verify_message}",
            hint="where an authority of the site's own signs it, name its PEM file as `ca-bundle`",
        )
    return PortalUnavailable("the portal broke off the TLS connection")


def _what(error: Exception) -> str:
    if isinstance(error, ProxyError):
        return "cannot be reached through the proxy that the environment names"
    if isinstance(error, NewConnectionError):  # before its base, urllib3's time-out
        return "cannot be reached"
    if isinstance(error, UrllibTimeout):
        return "did not answer in time"
    return "broke off its answer"


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
