"""The campaign: `make faults` (RUNS, SEED), or `python -m tests.faults`.

The runs have the seeds SEED, SEED + 1 and so on; RUNS=1 SEED=… does one of them again.
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
from collections import Counter

from tests.conftest import ROOT
from tests.faults.plan import Kind, make_plan
from tests.faults.run import Result, carry_out
from tests.faults.stage import Stage

_LOG = 30
"""Lines of the log that are shown of a run that failed."""
_IN_A_NAMESPACE = "--in-a-namespace"


def main() -> int:
    """Do the runs and tell; 1 where one of them failed."""
    runs = int(os.environ.get("RUNS", "200"))
    first = int(os.environ.get("SEED") or random.randrange(1, 1_000_000) * 1000)
    only = frozenset(Kind[name] for name in os.environ.get("ONLY", "").split()) or frozenset(Kind)
    results: list[Result] = []
    try:
        with Stage(mounts=_IN_A_NAMESPACE in sys.argv) as stage:
            for seed in range(first, first + runs):
                results.append(carry_out(stage, make_plan(seed, only)))
                _tell(results[-1], f"{len(results)} of {runs}")
    except KeyboardInterrupt:
        print("stopped")
    print(table(results))
    return any(result.problems for result in results)


def _tell(result: Result, which: str) -> None:
    how = "FAILED" if result.problems else "ok"
    plan = result.plan
    print(f"{which}  seed {plan.seed}  {how} in {result.seconds:.1f} s  {plan}", flush=True)
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


def _may_mount() -> bool:
    """Whether this user may have mounts that nobody else sees."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return ROOT and subprocess.run(probe, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    if _IN_A_NAMESPACE not in sys.argv and _may_mount():
        command = [sys.executable, "-m", "tests.faults", _IN_A_NAMESPACE]
        os.execvp("unshare", ["unshare", "--mount", *command])
    sys.exit(main())
