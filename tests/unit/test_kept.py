"""How far the server is, from what was measured on a machine that may be busy."""

from __future__ import annotations

import pytest

from asynchy.ssh.remote import Remote
from asynchy.ssh.sftp import kept

THERE = Remote(host="there", user="me")


def test_the_distance_falls_at_once_and_rises_slowly() -> None:
    assert kept.round_trip(THERE) is None
    kept.note_round_trip(THERE, 0.034)
    assert kept.round_trip(THERE) == 0.034
    kept.note_round_trip(THERE, 0.020)
    assert kept.round_trip(THERE) == 0.020
    kept.note_round_trip(THERE, 0.034)
    assert kept.round_trip(THERE) == pytest.approx(0.0206)
    for _ in range(60):  # another way through the network
        kept.note_round_trip(THERE, 0.100)
    assert kept.round_trip(THERE) == 0.100
