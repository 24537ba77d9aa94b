"""The relay goes wrong where it is told to."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from simulator.relay import Relay
from tests.conftest import wait_until


@dataclass
class Both:
    """A relay, and the server that it leads to."""

    relay: Relay
    listening: socket.socket

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """The client's end of a connection, and the server's."""
        client = socket.create_connection(("127.0.0.1", self.relay.port), timeout=60)
        server, _ = self.listening.accept()
        server.settimeout(60)
        return client, server


@pytest.fixture
def both() -> Iterator[Both]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        with Relay("127.0.0.1", listening.getsockname()[1]) as relay:
            yield Both(relay, listening)


def received(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += end.recv(count - len(data)) or pytest.fail("closed")
    return data


def is_silent(end: socket.socket) -> bool:
    return not select.select([end], [], [], 0.1)[0]


def test_bytes_pass_both_ways_and_an_end_is_passed_on(both: Both) -> None:
    client, server = both.connect()
    data = bytes(range(256)) * 4000
    sending = threading.Thread(target=server.sendall, args=(data,))
    sending.start()
    assert received(client, len(data)) == data
    sending.join()
    client.sendall(b"there")
    assert received(server, 5) == b"there"
    client.close()
    assert server.recv(1) == b""
    wait_until(lambda: both.relay.connections == 0)
    server.close()


def test_it_tells_at_a_byte_and_holds_what_comes_after_it(both: Both) -> None:
    client, server = both.connect()
    both.relay.tell_after(700, hold=True)
    server.sendall(bytes(699))
    assert received(client, 699)
    assert not both.relay.wait(0.05)
    server.sendall(b"12")
    assert both.relay.wait(60)
    client.sendall(b"up")
    assert is_silent(server)
    both.relay.let_go()
    assert received(client, 2) == b"12"
    assert received(server, 2) == b"up"
    client.close()
    server.close()


def test_it_tells_and_lets_pass(both: Both) -> None:
    client, server = both.connect()
    both.relay.tell_after(3, hold=False)
    server.sendall(b"abcdef")
    assert received(client, 6) == b"abcdef"
    assert both.relay.wait(60)
    client.close()
    server.close()


def test_one_connection_is_reset_and_then_all(both: Both) -> None:
    pairs = [both.connect() for _ in range(3)]
    both.relay.reset(0.9)
    for end in pairs.pop():
        with pytest.raises(ConnectionResetError):
            end.recv(1)
        end.close()
    assert all(map(is_silent, (end for pair in pairs for end in pair)))
    both.relay.reset()
    for end in (end for pair in pairs for end in pair):
        with pytest.raises(ConnectionResetError):
            end.recv(1)
        end.close()


def test_what_is_frozen_is_silent_until_it_thaws_or_is_given_up(both: Both) -> None:
    (client, server), (other, others) = both.connect(), both.connect()
    both.relay.freeze(0.0)
    server.sendall(b"a")
    others.sendall(b"b")
    assert received(other, 1) == b"b"
    assert is_silent(client)
    both.relay.thaw()
    assert received(client, 1) == b"a"
    both.relay.freeze(1.0)
    assert both.relay.frozen == 1
    other.close()
    wait_until(lambda: not both.relay.frozen)
    assert others.recv(1) == b""
    for end in (client, server, others):
        end.close()


def test_a_rate_is_kept(both: Both) -> None:
    both.relay.rate = 2e6
    client, server = both.connect()
    began = time.monotonic()
    threading.Thread(target=server.sendall, args=(bytes(1_000_000),)).start()
    received(client, 1_000_000)
    assert 0.4 < time.monotonic() - began < 60
    client.close()
    server.close()


def test_where_the_server_takes_none_it_is_counted(both: Both) -> None:
    both.listening.close()
    # Whether connecting itself or the first read meets the reset is up to the scheduler.
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", both.relay.port), timeout=60) as client,
    ):
        client.recv(1)
    assert both.relay.refused == 1
