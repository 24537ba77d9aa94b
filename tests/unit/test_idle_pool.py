"""What is kept for a moment for who comes next."""

from __future__ import annotations

import threading
import uuid

import pytest

from asynchy.model.cancellation import Stop
from asynchy.ssh import connection_limit, idle_pool
from asynchy.ssh.idle_pool import IdlePool
from asynchy.ssh.server import Server
from tests.conftest import wait_until


class Thing:
    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()


def remote(connections: int = 16) -> Server:
    return Server(f"{uuid.uuid4()}.example", "u", connections=connections)


def test_what_was_kept_last_is_taken_first() -> None:
    kept: IdlePool[Thing] = IdlePool(remote())
    one, two = Thing(), Thing()
    kept.put(one)
    kept.put(two)
    assert len(kept) == 2
    assert (kept.take(), kept.take(), kept.take()) == (two, one, None)
    assert not one.closed.is_set()


def test_what_nobody_takes_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_pool, "_IDLE_TIMEOUT", 0.1)
    monkeypatch.setattr(idle_pool, "_POLL_INTERVAL", 0.05)
    kept: IdlePool[Thing] = IdlePool(remote())
    thing = Thing()
    kept.put(thing)
    assert thing.closed.wait(60)
    assert kept.take() is None


def test_what_was_taken_is_not_closed() -> None:
    kept: IdlePool[Thing] = IdlePool(remote())
    thing = Thing()
    kept.put(thing)
    watching = threading.enumerate()[-1]
    assert kept.take() is thing
    watching.join(60)
    assert not watching.is_alive()  # so nobody will close it
    assert not thing.closed.is_set()


def test_nothing_is_kept_where_there_may_be_few_connections() -> None:
    kept: IdlePool[Thing] = IdlePool(remote(4))
    thing = Thing()
    kept.put(thing)
    assert thing.closed.is_set()
    assert not kept.open


def test_it_is_given_up_once_somebody_waits_for_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle_pool, "_POLL_INTERVAL", 0.05)
    server = remote(8)
    held = [connection_limit.acquire(server, Stop(), patient=False) for _ in range(8)]
    kept: IdlePool[Thing] = IdlePool(server)
    thing = Thing()
    kept.put(thing)
    stop = Stop()
    waiting = threading.Thread(
        target=lambda: connection_limit.acquire(server, stop, patient=True).release()
    )
    waiting.start()
    assert thing.closed.wait(60)
    held[0].release()
    waiting.join(60)
    assert not waiting.is_alive()
    for slot in held[1:]:
        slot.release()


def test_all_of_it_can_be_closed() -> None:
    kept: IdlePool[Thing] = IdlePool(remote())
    things = [Thing(), Thing()]
    for thing in things:
        kept.put(thing)
    kept.close()
    assert all(thing.closed.is_set() for thing in things)
    wait_until(lambda: len(kept) == 0)
