"""Many worlds: `make worlds`, or `python -m tests.worlds`, with these in the environment.

WORLDS  how many (10000)
SEED    the seed of the first, the next one has SEED + 1 and so on (0)
DAYS    days of each (100)
JOBS    how many at a time (as many as there are processors)

`python -m tests.worlds --seed N` runs one of them again and prints all that happens in it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from tests.worlds.events import Kind
from tests.worlds.run import Result, run_world

_LAST = 15
"""Events that are shown of a world in which something was found."""
_MOST = 10
"""Worlds that are shown in full."""


def main() -> int:
    """Run the worlds; 1 if something was found in one of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.worlds", description="Run worlds.")
    parser.add_argument("--seed", type=int, help="run this world alone, and print what happens")
    seed = parser.parse_args().seed
    days = int(os.environ.get("DAYS") or 100)
    if seed is not None:
        return _replay(seed, days)
    first, worlds = int(os.environ.get("SEED") or 0), int(os.environ.get("WORLDS") or 10_000)
    jobs = int(os.environ.get("JOBS") or os.cpu_count() or 1)
    began = time.monotonic()
    results = list(many(range(first, first + worlds), days, jobs))
    found = [result for result in results if result.findings]
    for result in found[:_MOST]:
        _tell(result)
    print(table(results))
    seconds = sum(result.seconds for result in results)
    print(f"{time.monotonic() - began:.0f} s, {jobs} at a time; {seconds:.0f} s of processors")
    return bool(found)


def many(seeds: range, days: int, jobs: int) -> list[Result]:
    """Run worlds in several processes."""
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(run_world, seeds, [days] * len(seeds), chunksize=20))


def _replay(seed: int, days: int) -> int:
    result = run_world(seed, days)
    for day, text in result.log:
        print(f"day {day:3}  {text}")
    for finding in result.findings:
        print(f"FOUND: {finding}")
    return bool(result.findings)


def _tell(result: Result) -> None:
    print(f"seed {result.seed}, {len(result.findings)} found")
    for finding in islice(result.findings, 5):
        print(f"    {finding}")
    names = {finding.experiment for finding in result.findings}
    about = [
        (day, text)
        for day, text in result.log
        if not text.startswith(("mx1/", "mx2/")) or text.split(":")[0] in names or len(names) > 3
    ]
    for day, text in about[-_LAST:]:
        print(f"        day {day:3}  {text}")
    print(f"    again: DAYS={result.days} python -m tests.worlds --seed {result.seed}")


def table(results: list[Result]) -> str:
    """What happened in all worlds together."""
    happened = Counter(kind for result in results for kind in result.kinds)
    lines = [f"{kind.value:64}{happened[kind.name]:>9,}" for kind in Kind]
    days = sum(result.findings[0].day if result.findings else result.days for result in results)
    failed = [str(result.seed) for result in results if result.findings]
    lines += [
        "",
        f"{len(results):,} worlds, {days:,} days, "
        f"{sum(result.experiments for result in results):,} experiments, "
        f"{sum(result.transfers for result in results):,} transfers, "
        f"{sum(result.states for result in results):,} states checked",
        f"found: {len(failed):,}" + (f", seeds {', '.join(failed[:40])}" if failed else ""),
    ]
    return "\n".join(["", *lines])


if __name__ == "__main__":
    sys.exit(main())
