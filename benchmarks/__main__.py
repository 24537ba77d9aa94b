"""All about speed, one after another: `python -m benchmarks [--quick]`; `make bench`.

Figures go into OUT (bench-results/): results.json, report.md, rates.svg. DATA, RTT
(milliseconds), PEERS (lists with commas; without: all), ROUNDS, CAP (seconds) and FILES (of the
million) choose. `--quick` takes five minutes.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks import listing, million, results, transfer
from benchmarks.data import SETS
from benchmarks.plot import draw
from benchmarks.report import told


@dataclass(frozen=True)
class Choice:
    """What is measured where the environment does not say."""

    sets: str = ",".join(SETS)
    trips: str = "0,20,100"
    peers: str = ""
    rounds: int = 3
    cap: float = 15
    listed: str = "0,20,100"
    files: int = 1_000_000


QUICK = Choice("SMALL,FRAMES", "0,100", "asynchy,originals,rsync,rsync x8", 1, 8, "100", 0)

_LISTING_CAP = 60.0


def main(*, quick: bool) -> None:
    """Measure, and tell."""
    choice = QUICK if quick else Choice()
    sets = os.environ.get("DATA", choice.sets).split(",")
    trips = os.environ.get("RTT")
    rounds = int(os.environ.get("ROUNDS", choice.rounds))
    cap = float(os.environ.get("CAP", choice.cap))
    peers = os.environ.get("PEERS", choice.peers)
    files = int(os.environ.get("FILES", choice.files))
    found: dict[str, Any] = {}
    began = time.monotonic()
    try:
        transfer.run(
            found,
            sets,
            _numbers(trips or choice.trips),
            rounds,
            cap,
            peers.split(",") if peers else None,
            gigabit=not quick,
        )
        listing.run(found, _numbers(trips or choice.listed), rounds, _LISTING_CAP)
        if files:
            million.run(found, files)
    finally:  # what was measured before a stop or a failure is kept
        if found.get("cells"):
            results.save(found)
    folder = results.place().parent
    (folder / "report.md").write_text(told(found, markdown=True) + "\n")
    draw(found["cells"], folder / "rates.svg")
    print(told(found, markdown=False))
    print(f"{(time.monotonic() - began) / 60:.0f} minutes; all is in {folder}", file=sys.stderr)


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("benchmarks: only root can make the link that is measured over; run it as root")
    main(quick="--quick" in sys.argv[1:])
