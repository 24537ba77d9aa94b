"""Connections of this machine: so many at a time, whatever processes have them."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid

import pytest

from asynchy.errors import ListingError, Stopped
from asynchy.model.cancellation import Stop
from asynchy.ssh import connection_limit
from asynchy.ssh.server import Server
from tests.conftest import wait_until

HOLD = """
import sys
from asynchy.model.cancellation import Stop
from asynchy.ssh import connection_limit
from asynchy.ssh.server import Server
slot = connection_limit.acquire(Server(sys.argv[1], "u", connections=2), Stop(), patient=True)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def remote() -> Server:
    return Server(f"{uuid.uuid4()}.example", "u", connections=2)


def test_there_are_so_many_and_each_comes_back(remote: Server) -> None:
    one = connection_limit.acquire(remote, Stop(), patient=False)
    two = connection_limit.acquire(remote, Stop(), patient=False)
    with pytest.raises(ListingError, match="all 2 connections of this machine are in use"):
        connection_limit.acquire(remote, Stop(), patient=False)
    other = connection_limit.acquire(
        Server(f"{uuid.uuid4()}.example", "u", connections=1), Stop(), patient=False
    )
    one.release()
    connection_limit.acquire(remote, Stop(), patient=False).release()
    two.release()
    other.release()


def test_a_process_that_is_killed_gives_its_own_back(remote: Server) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, remote.host], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        one = connection_limit.acquire(remote, Stop(), patient=False)
        with pytest.raises(ListingError):
            connection_limit.acquire(remote, Stop(), patient=False)
        process.kill()
    connection_limit.acquire(remote, Stop(), patient=False).release()
    one.release()


def test_who_waits_is_seen_and_gets_the_next(remote: Server) -> None:
    held = [connection_limit.acquire(remote, Stop(), patient=False) for _ in range(2)]
    assert not connection_limit.has_waiting(remote)
    got: list[connection_limit.ConnectionPermit] = []
    thread = threading.Thread(
        target=lambda: got.append(connection_limit.acquire(remote, Stop(), patient=True))
    )
    thread.start()
    wait_until(lambda: connection_limit.has_waiting(remote))
    held[0].release()
    thread.join()
    assert not connection_limit.has_waiting(remote)
    got[0].release()
    held[1].release()


def test_those_who_look_are_in_nobodys_way(remote: Server) -> None:
    over = threading.Event()
    seen: list[bool] = []

    def look() -> None:
        while not over.is_set():
            seen.append(connection_limit.has_waiting(remote))
            connection_limit.free(remote)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(2000):
            for slot in [connection_limit.acquire(remote, Stop(), patient=False) for _ in range(2)]:
                slot.release()
    finally:
        over.set()
        for looker in lookers:
            looker.join()
    assert seen
    assert not any(seen)


def test_who_waits_is_seen_when_one_who_came_before_gave_up(remote: Server) -> None:
    one, two = (connection_limit._bind_first(remote, "waited", 2) for _ in range(2))
    assert one is not None and two is not None
    one.release()
    assert connection_limit.has_waiting(remote)
    two.release()
    assert not connection_limit.has_waiting(remote)


def test_free_is_what_nobody_has(remote: Server) -> None:
    one = connection_limit.acquire(remote, Stop(), patient=False)
    assert connection_limit.free(remote)
    two = connection_limit.acquire(remote, Stop(), patient=False)
    assert not connection_limit.free(remote)
    one.release()
    assert connection_limit.free(remote)
    two.release()


def test_a_stop_ends_the_waiting(remote: Server) -> None:
    held = [connection_limit.acquire(remote, Stop(), patient=False) for _ in range(2)]
    stop = Stop()
    stop.request()
    with pytest.raises(Stopped):
        connection_limit.acquire(remote, stop, patient=True)
    for slot in held:
        slot.release()
