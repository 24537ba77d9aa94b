"""How far the server is, from what was measured on a machine that may be busy."""

from __future__ import annotations

import pytest

from asynchy.ssh.server import Server
from asynchy.ssh.sftp import connection_pool

THERE = Server(host="there", user="me")


def test_the_distance_falls_at_once_and_rises_slowly() -> None:
    assert connection_pool.round_trip(THERE) is None
    connection_pool.note_round_trip(THERE, 0.034)
    assert connection_pool.round_trip(THERE) == 0.034
    connection_pool.note_round_trip(THERE, 0.020)
    assert connection_pool.round_trip(THERE) == 0.020
    connection_pool.note_round_trip(THERE, 0.034)
    assert connection_pool.round_trip(THERE) == pytest.approx(0.0206)
    for _ in range(60):  # another way through the network
        connection_pool.note_round_trip(THERE, 0.100)
    assert connection_pool.round_trip(THERE) == 0.100
