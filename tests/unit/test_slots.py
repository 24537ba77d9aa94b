"""Connections of this machine: so many at a time, whatever processes have them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from types import SimpleNamespace

import pytest

from asynchy.domain.stop import Stop
from asynchy.errors import ListingError, Stopped
from asynchy.ssh import slots
from asynchy.ssh.remote import Remote
from asynchy.transfer import pace
from asynchy.transfer.pace import Pace
from tests.conftest import wait_until

HOLD = """
import sys
from asynchy.domain.stop import Stop
from asynchy.ssh import slots
from asynchy.ssh.remote import Remote
slot = slots.take(Remote(sys.argv[1], "u", connections=2), Stop(), patient=True)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def remote() -> Remote:
    return Remote(f"{uuid.uuid4()}.example", "u", connections=2)


def test_there_are_so_many_and_each_comes_back(remote: Remote) -> None:
    one = slots.take(remote, Stop(), patient=False)
    two = slots.take(remote, Stop(), patient=False)
    with pytest.raises(ListingError, match="all 2 connections of this machine are in use"):
        slots.take(remote, Stop(), patient=False)
    other = slots.take(Remote(f"{uuid.uuid4()}.example", "u", connections=1), Stop(), patient=False)
    one.release()
    slots.take(remote, Stop(), patient=False).release()
    two.release()
    other.release()


def test_a_process_that_is_killed_gives_its_own_back(remote: Remote) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, remote.host], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        one = slots.take(remote, Stop(), patient=False)
        with pytest.raises(ListingError):
            slots.take(remote, Stop(), patient=False)
        process.kill()
    slots.take(remote, Stop(), patient=False).release()
    one.release()


def test_who_waits_is_seen_and_gets_the_next(remote: Remote) -> None:
    held = [slots.take(remote, Stop(), patient=False) for _ in range(2)]
    assert not slots.wanted(remote)
    got: list[slots.Slot] = []
    thread = threading.Thread(target=lambda: got.append(slots.take(remote, Stop(), patient=True)))
    thread.start()
    wait_until(lambda: slots.wanted(remote))
    held[0].release()
    thread.join()
    assert not slots.wanted(remote)
    got[0].release()
    held[1].release()


def test_those_who_look_are_in_nobodys_way(remote: Remote) -> None:
    over = threading.Event()
    seen: list[bool] = []

    def look() -> None:
        while not over.is_set():
            seen.append(slots.wanted(remote))
            slots.free(remote)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(2000):
            for slot in [slots.take(remote, Stop(), patient=False) for _ in range(2)]:
                slot.release()
    finally:
        over.set()
        for looker in lookers:
            looker.join()
    assert seen
    assert not any(seen)


def test_who_waits_is_seen_when_one_who_came_before_gave_up(remote: Remote) -> None:
    one, two = (slots._first(remote, "waited", 2) for _ in range(2))
    assert one is not None and two is not None
    one.release()
    assert slots.wanted(remote)
    two.release()
    assert not slots.wanted(remote)


def test_free_is_what_nobody_has(remote: Remote) -> None:
    one = slots.take(remote, Stop(), patient=False)
    assert slots.free(remote)
    two = slots.take(remote, Stop(), patient=False)
    assert not slots.free(remote)
    one.release()
    assert slots.free(remote)
    two.release()


def test_a_stop_ends_the_waiting(remote: Remote) -> None:
    held = [slots.take(remote, Stop(), patient=False) for _ in range(2)]
    stop = Stop()
    stop.ask()
    with pytest.raises(Stopped):
        slots.take(remote, stop, patient=True)
    for slot in held:
        slot.release()


def test_two_streams_share_one_limit(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    # All ask at one moment: each that went by meanwhile would make their waits shorter.
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    both = Pace(remote, 1_000_000), Pace(remote, 1_000_000)
    waits = [one.wait_for(100_000) for _ in range(10) for one in both]
    assert waits == sorted(waits)
    # The twentieth comes after nineteen tenths, less the burst.
    assert waits[-1] == pytest.approx(1.8)
    pace.place_of(remote, os.getuid()).unlink()
