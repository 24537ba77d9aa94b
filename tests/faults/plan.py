"""What one run does, drawn from its seed: nothing here depends on time or on what happens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """A fault. All but the portal's strike when so many bytes have come."""

    COMMAND = "command killed"
    STREAM = "stream killed"
    FORK_SERVER = "parent of the streams killed"
    APART = "process of an experiment killed"
    SSH = "ssh killed"
    RSYNC = "rsync killed"
    STOP = "command stopped"
    SESSION = "sshd's session killed"
    SSHD = "sshd killed, and back"
    RESET = "connection reset"
    FROZEN = "connection frozen"
    DISK = "disk full"
    PORTAL = "portal wrong"


@dataclass(frozen=True)
class Strike:
    """One fault."""

    kind: Kind
    how: str
    """Which way of it; empty where there is only one."""
    moment: float
    """After which share of the bytes that are missing when the one before has struck."""
    which: float
    """Which process or connection of those that there are: 0 is the oldest, 1 the latest."""
    delay: float | None
    """Seconds after that moment; None: at that very byte, while no further one comes."""

    def __str__(self) -> str:
        way = f" ({self.how})" if self.how else ""
        if self.kind is Kind.PORTAL:
            return f"{self.kind}{way}"
        later = f" + {1000 * self.delay:.0f} ms" if self.delay else ""
        still = ", still" if self.delay is None else ""
        return f"{self.kind}{way} at {100 * self.moment:.1f} %{later}{still}"


@dataclass(frozen=True)
class Plan:
    """One run: an experiment, how it is fetched, and what goes wrong."""

    seed: int
    engine: str
    command: str
    """mxsync (--once), the service, sync, or `sync --parallel`."""
    keys: dict[str, Any]
    """Further keys of the config."""
    rate: float | None
    """Bytes a second that come from the facility while faults strike; None: as many as can."""
    frames: int
    small: int
    big: tuple[int, ...]
    """Bytes of the files that are fetched in ranges, or by an rsync of their own."""
    strikes: tuple[Strike, ...]
    """One after the other; where one ends the command, the next strikes when it is run again."""

    def __str__(self) -> str:
        keys = [f"{name} {value}" for name, value in self.keys.items()]
        rate = [f"{self.rate / 1e6:.0f} MB/s"] if self.rate else []
        how = ", ".join([self.command, self.engine, *keys, *rate])
        return f"{how}: {'; '.join(map(str, self.strikes))}"


PORTAL: dict[str, dict[str, Any]] = {
    "503 once": {"name": "status", "code": 503, "retry_after": 0, "times": 1},
    "503": {"name": "status", "code": 503, "retry_after": 0},
    "404": {"name": "status", "code": 404},
    "no log-in": {"name": "refuse_credentials"},
    "reset once": {"name": "reset", "times": 1},
    "cut off once": {"name": "truncated", "times": 1},
    "half an answer": {"name": "cut"},
    "another page": {"name": "html"},
    "another form": {"name": "wrong_shape"},
    "more pages": {"name": "paging"},
    "silent once": {"name": "stall", "times": 1},
    "503, other equipment": {"name": "status", "code": 503, "retry_after": 0, "equipment": 24},
    "another page, other equipment": {"name": "html", "equipment": 24, "path": "visits"},
}
"""What can be wrong with the portal, as the simulator is told; all that is not "once" lasts."""

OTHER_EQUIPMENT = tuple(name for name in PORTAL if name.endswith("other equipment"))
"""With these it all comes home, and nothing may be called complete."""

_WAYS: dict[Kind, tuple[str, ...]] = {
    Kind.PORTAL: (*PORTAL, *OTHER_EQUIPMENT, *OTHER_EQUIPMENT),
    Kind.STOP: ("TERM", "INT"),
    Kind.SSHD: ("back at once", "back when missed", "back when missed", "back at the end"),
    Kind.RESET: ("one", "all"),
    Kind.FROZEN: ("one, a while", "all, a while", "one, for good", "all, for good"),
    Kind.DISK: ("data", "data", "catalogue and logs"),
}


def make_plan(seed: int, only: frozenset[Kind] = frozenset(Kind)) -> Plan:
    """The run of a seed; with `only` some kinds of faults it is another run."""
    chance = random.Random(seed)
    engine = chance.choice(["sftp", "sftp", "rsync"])
    command = chance.choice(["mxsync", "mxsync", "service", "sync", "sync --parallel"])
    keys: dict[str, Any] = {}
    if chance.random() < 0.6:
        keys["streams"] = chance.randint(1, 4)
    if chance.random() < 0.2:
        keys["max_connections"] = chance.randint(1, 3)
    if chance.random() < 0.2:
        keys["verify"] = "source"
    in_streams = engine == "rsync" and chance.random() < 0.4
    big = (72 << 20,) if in_streams else tuple(_sizes(chance))
    kinds = [kind for kind in _kinds(engine, command) if kind in only]
    return Plan(
        seed=seed,
        engine=engine,
        command=command,
        keys=keys,
        rate=chance.choice([None, 20e6, 40e6]),
        frames=chance.randint(2, 12),
        small=chance.randint(50, 400),
        big=big,
        strikes=tuple(_strikes(chance, kinds)),
    )


def _sizes(chance: random.Random) -> Iterator[int]:
    for _ in range(chance.randint(1, 2)):
        yield chance.randint(8 << 20, 13 << 20) + 1


def _kinds(engine: str, command: str) -> list[Kind]:
    """The faults that can strike, each as often as it is to come up."""
    kinds = [Kind.COMMAND, Kind.COMMAND, Kind.SSH, Kind.SSH, Kind.STOP, Kind.SESSION, Kind.SSHD]
    kinds += [Kind.SSHD, Kind.RESET, Kind.RESET, Kind.FROZEN, Kind.FROZEN, Kind.DISK]
    of_engine = [Kind.STREAM, Kind.FORK_SERVER] if engine == "sftp" else [Kind.RSYNC, Kind.RSYNC]
    kinds += of_engine
    if command in ("mxsync", "service"):
        kinds += [Kind.PORTAL, Kind.PORTAL]
    if "--parallel" in command:
        kinds += [Kind.APART, Kind.APART]
    return kinds


def _strikes(chance: random.Random, kinds: list[Kind]) -> Iterator[Strike]:
    for _ in range(chance.choice([1, 2, 2, 3, 3, 4]) if kinds else 0):
        yield _strike(chance, kinds)


def _strike(chance: random.Random, kinds: list[Kind]) -> Strike:
    kind = chance.choice(kinds)
    return Strike(
        kind=kind,
        how=chance.choice(_WAYS.get(kind, ("",))),
        moment=_moment(chance),
        which=chance.random(),
        delay=chance.choice([None, 0.0, chance.uniform(0, 0.3)]),
    )


def _moment(chance: random.Random) -> float:
    """Mostly in the middle; some while it is connected and listed, some around the last byte."""
    where = chance.random()
    if where < 0.12:
        return chance.uniform(0, 0.006)
    if where < 0.85:
        return chance.uniform(0.01, 0.8)
    return chance.uniform(0.95, 1.01)
