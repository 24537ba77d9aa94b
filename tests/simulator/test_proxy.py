"""The proxy carries tunnels and plain requests, and tells where they led."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from simulator.portal.handle import PortalHandle
from simulator.proxy import HttpProxy

PATH = "/api/v1/equipment/23/visits"


@pytest.fixture
def portal() -> Iterator[PortalHandle]:
    handle = PortalHandle()
    handle.start()
    yield handle
    handle.stop()


@pytest.fixture
def proxy() -> Iterator[HttpProxy]:
    with HttpProxy() as running:
        yield running


def connection(proxy: HttpProxy) -> http.client.HTTPConnection:
    parts = urlsplit(proxy.url)
    assert parts.hostname is not None
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)


def test_a_tunnel(portal: PortalHandle, proxy: HttpProxy) -> None:
    parts = urlsplit(portal.url)
    assert parts.hostname is not None
    through = connection(proxy)
    through.set_tunnel(parts.hostname, parts.port)
    through.request("GET", PATH)
    assert through.getresponse().status == 401
    through.close()
    assert proxy.connections == [f"127.0.0.1:{parts.port}"]


def test_a_plain_url(portal: PortalHandle, proxy: HttpProxy) -> None:
    through = connection(proxy)
    through.request("GET", f"{portal.url}{PATH}?access_token=x", headers={"Proxy-Connection": "y"})
    assert through.getresponse().status == 401
    through.close()
    assert proxy.connections == [urlsplit(portal.url).netloc]
    (request,) = portal.requests()
    assert (request.path, request.query) == (PATH, {"access_token": "x"})


@pytest.mark.parametrize(
    ("target", "status"), [("http://127.0.0.1:9/", 502), ("/no/url", 400), ("ftp://x/", 400)]
)
def test_what_it_cannot_carry(proxy: HttpProxy, target: str, status: int) -> None:
    through = connection(proxy)
    through.request("GET", target)
    assert through.getresponse().status == status
    through.close()


def test_it_is_gone_afterwards() -> None:
    with HttpProxy() as proxy:
        pass
    with pytest.raises(ConnectionRefusedError):
        connection(proxy).connect()
