"""The number of streams on links of several kinds, in simulated time."""

from __future__ import annotations

import pytest

from asynchy.engines.sftp.stream_tuner import BYTES_PER_ROUND_TRIP, Tuner, initial_streams

CORES = 8


class Idle:
    """Processors with nothing to do, so many of them all the time; tells more with each second."""

    def __init__(self, processors: float) -> None:
        self.processors = processors
        self.now = 0.0

    def __call__(self) -> float:
        return self.now * self.processors


def tuner_of(most: int = 16, fixed: int | None = None, round_trip: float | None = None) -> Tuner:
    return Tuner(most, CORES, Idle(CORES), fixed, round_trip)


def settled(
    round_trip: float,
    capacity: float,
    *,
    most: int = 16,
    cost: float = 0.0,
    seconds: float = 30,
    idle: float = CORES,
) -> Tuner:
    """A tuner after some time on a link; `cost` is the share that each stream above two costs."""
    clock = Idle(idle)
    tuner = Tuner(most, CORES, clock)
    now, moved, streams = 0.0, 0.0, 1
    tuner.ready(round_trip)
    while now < seconds:
        now += 0.1
        clock.now = now
        if streams < tuner.wanted:
            streams += 1
            tuner.ready(round_trip)
        streams = min(streams, tuner.wanted)
        windows = streams * BYTES_PER_ROUND_TRIP / max(round_trip, 1e-4)
        moved += 0.1 * min(windows, capacity * (1 - cost * max(0, streams - 2)))
        tuner.measure(now, streams, int(moved))
        assert 1 <= tuner.wanted <= most
    return tuner


@pytest.mark.parametrize(
    ("round_trip", "capacity", "least", "most"),
    [
        (0.1, 1e9, 16, 16),  # the windows are the limit: all that there may be
        (0.02, 1e9, 10, 16),
        (0.1, 60e6, 3, 5),  # a slow link far away
        (0.1, 117e6, 6, 8),  # a gigabit
        (0.0005, 400e6, 1, 2),  # near by
    ],
)
def test_as_many_as_pay(round_trip: float, capacity: float, least: int, most: int) -> None:
    assert least <= settled(round_trip, capacity).wanted <= most


def test_where_each_further_one_costs_it_goes_back() -> None:
    assert settled(0.0002, 400e6, cost=0.1).wanted <= 2


@pytest.mark.parametrize(("idle", "streams"), [(8, 16), (1, 11), (0.4, 2)])
def test_where_each_carries_its_own_it_goes_on_to_more(idle: float, streams: int) -> None:
    clock = Idle(idle)
    tuner = Tuner(16, CORES, clock)
    tuner.ready(0.0002)
    moved = 0
    for at in range(1, 200):
        moved += tuner.wanted * 10**8
        clock.now = at / 4
        tuner.measure(clock.now, tuner.wanted, moved)
    assert tuner.wanted == streams


def test_near_by_it_grows_by_as_many_as_there_are_idle_processors() -> None:
    clock = Idle(1)
    tuner = Tuner(16, CORES, clock)
    tuner.ready(0.0002)
    tuner.wanted, seen = 6, set()
    for at in range(1, 40):
        clock.now = at / 4
        tuner.measure(clock.now, tuner.wanted, at * 10**8)
        seen.add(tuner.wanted)
    assert 7 in seen
    assert max(seen) == 7


@pytest.mark.parametrize("round_trip", [0.0002, 0.02])
def test_where_the_processors_are_busy_no_more_are_tried(round_trip: float) -> None:
    wanted = initial_streams(round_trip, CORES)
    assert settled(round_trip, 1e9, idle=0.2, seconds=50).wanted <= wanted


@pytest.mark.parametrize(
    ("cores", "round_trip", "streams"),
    [(8, 0.0002, 2), (2, 0.0002, 1), (1, 0.0002, 1), (2, None, 1), (2, 0.02, 5), (8, 0.06, 14)],
)
def test_it_begins_with_as_many_as_distance_and_processors_take(
    cores: int, round_trip: float | None, streams: int
) -> None:
    assert Tuner(16, cores, Idle(0), None, round_trip).wanted == streams
    tuner = Tuner(16, cores, Idle(0))
    assert tuner.wanted == initial_streams(None, cores)
    if round_trip is not None:
        tuner.ready(round_trip)
    assert tuner.wanted == streams


@pytest.mark.parametrize(
    ("round_trip", "each", "streams"),
    [(0.02, 17_000, 2), (0.1, 17_000, 9), (0.1, 0, 2), (0.02, 0, 2), (0.0002, 17_000, 2)],
)
def test_small_files_begin_with_fewer_for_they_keep_processors_busy(
    round_trip: float, each: int, streams: int
) -> None:
    assert Tuner(16, CORES, Idle(0), None, round_trip, each).wanted == streams
    tuner = Tuner(16, CORES, Idle(0), mean_file_bytes=each)
    tuner.ready(round_trip)
    assert tuner.wanted == streams


def test_the_config_s_number_is_the_number() -> None:
    tuner = tuner_of(16, 5)
    tuner.ready(0.1)
    for at in range(100):
        tuner.measure(at / 2, 5, at * 10**7)
    tuner.refused(3)
    assert tuner.wanted == 5
    assert tuner_of(3, 5).wanted == 3


def test_what_the_server_refuses_is_not_asked_for_again() -> None:
    tuner = tuner_of()
    tuner.ready(0.1)
    tuner.refused(4)
    for at in range(1, 100):
        tuner.measure(at / 2, 4, at * 10**8)
    assert tuner.wanted == 4


def test_a_connection_is_spared_for_another_transfer() -> None:
    tuner = tuner_of()
    tuner.ready(0.1)
    tuner.give_up_one(7)
    assert tuner.wanted == 6
    for _ in range(9):
        tuner.give_up_one(tuner.wanted)
    assert tuner.wanted == 1
