"""The campaign: `make faults`, or `python -m tests.faults`, with these in the environment.

RUNS    how many runs (200)
SEED    the seed of the first, the next one has SEED + 1 and so on (chosen, and told)
JOBS    how many of them at a time (as many as there are processors, 4 at most)
ONLY    names of `plan.Kind`: faults of these kinds alone; these are other runs

RUNS=1 SEED=… does one run again.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import sys
import time
from collections import Counter

from tests.faults.campaign import campaign
from tests.faults.plan import Kind
from tests.faults.run import Result

_LOG = 30
"""Lines of the log that are shown of a run that failed."""


def main() -> int:
    """Do the runs and tell; 1 where one of them failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    runs = int(os.environ.get("RUNS", "200"))
    first = int(os.environ.get("SEED") or random.randrange(1, 1_000_000) * 1000)
    jobs = int(os.environ.get("JOBS") or min(4, os.cpu_count() or 1))
    only = frozenset(Kind[name] for name in os.environ.get("ONLY", "").split()) or frozenset(Kind)
    results: list[Result] = []
    began = time.monotonic()
    try:
        for result in campaign(range(first, first + runs), jobs, only):
            results.append(result)
            _tell(result, f"{len(results)} of {runs}")
    except KeyboardInterrupt:
        print("stopped")
    print(table(results))
    print(f"{time.monotonic() - began:.0f} s, {jobs} at a time")
    return len(results) < runs or any(result.problems for result in results)


def _tell(result: Result, which: str) -> None:
    how = "FAILED" if result.problems else "ok"
    plan = result.plan
    late = ", ".join(kind.value for kind in result.missed.elements())
    end = f" (too late: {late})" if late else ""
    print(f"{which}  seed {plan.seed}  {how} in {result.seconds:.1f} s  {plan}{end}", flush=True)
    if not result.problems:
        return
    for problem in result.problems:
        print(f"    {problem}")
    only = os.environ.get("ONLY")
    again = f" ONLY={shlex.quote(only)}" if only else ""
    print(f"    again: make faults RUNS=1 SEED={plan.seed}{again}")
    print("    the log:", *result.log.splitlines()[-_LOG:], sep="\n      ", flush=True)


def table(results: list[Result]) -> str:
    """What all runs together did."""
    struck: Counter[Kind] = Counter()
    missed: Counter[Kind] = Counter()
    for result in results:
        struck += result.struck
        missed += result.missed
    rows = [("fault", "struck", "too late")]
    rows += [(kind.value, str(struck[kind]), str(missed[kind])) for kind in Kind]
    rows.append(("all", str(struck.total()), str(missed.total())))
    lines = [f"{name:36}{one:>8}{two:>10}" for name, one, two in rows]
    failed = [str(result.plan.seed) for result in results if result.problems]
    seconds = sum(result.seconds for result in results)
    lines += [
        "",
        f"{len(results)} runs, {sum(result.commands for result in results)} commands, "
        f"{seconds:.0f} s; {sum(result.in_transfer for result in results)} of "
        f"{struck.total() - struck[Kind.PORTAL]} faults struck in a transfer (portal left out)",
        f"failures: {len(failed)}" + (f", of the seeds {', '.join(failed)}" if failed else ""),
    ]
    return "\n".join(["", *lines])


if __name__ == "__main__":
    sys.exit(main())
