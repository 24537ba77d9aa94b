"""`make demo-cluster`: one experiment comes home by two workers, one of which is killed meanwhile.

A scheduler, two workers as on two transfer nodes, and the simulated facility, all on this machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from simulator.cluster import LoopbackCluster, loopback_cluster
from simulator.compare import compare_trees
from simulator.config import write_config
from simulator.demo import command, say
from simulator.experiments import awkward_names, big_sparse_file, many_small_files, mx_experiment
from simulator.facility import Facility
from simulator.portal.handle import OMIT
from simulator.scratch import new_folder, remove

_SCRIPTS = Path(sys.executable).parent
_EPN, _PROJECT = "12282a", "ny79"
_LONGEST = 120.0


def main() -> int:
    """Run the demo; 0 where everything came home."""
    began = time.monotonic()
    folder = new_folder("asynchy-demo-cluster-")
    try:
        with Facility(folder / "facility") as facility, loopback_cluster(folder / "nodes") as nodes:
            good = _run(folder, facility, nodes)
    finally:
        remove(folder)
    say(f"{'All well' if good else 'NOT WELL'}, in {time.monotonic() - began:.0f} s.")
    return 0 if good else 1


def _run(folder: Path, facility: Facility, nodes: LoopbackCluster) -> bool:
    say("A facility, a Dask scheduler and two workers, as on two transfer nodes")
    source = facility.experiment("mx", _EPN)
    mx_experiment(source, _EPN, frames=40)
    awkward_names(source)
    many_small_files(source / "auto", 4000, seed=1)
    big_sparse_file(source / "image.sqfs", 2**30 + 4097)
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=30)
    facility.portal.add_visit(equipment=23, epn=_EPN, start=end - timedelta(hours=8), end=end)
    home = folder / "home"
    (home / "logs").mkdir(parents=True)
    project = home / "projects" / _PROJECT
    project.mkdir(parents=True)
    project.chmod(0o2775)
    config = write_config(
        home / "config.yml",
        facility,
        destination=home / "projects",
        epn_cap_map={"12282": _PROJECT},
        epnalert_email_to=OMIT,
        epnalert_email_from=OMIT,
        epnalert_email_smtp=OMIT,
        epnalert_template_folder=OMIT,
        epnalert_template_text=OMIT,
        epnalert_template_html=OMIT,
        executor={"dask": nodes.address},
        bandwidth_limit="60 MB",  # so that a worker can be killed meanwhile
    )
    print(f"scheduler    {nodes.address}\nconfig       {config}")
    say("Is everything right for the first cycle, on all hosts?")
    good = command("asynchy", "--config", config, "doctor") == 0
    say("Both workers fetch one experiment; one is killed with all that it started")
    copy = project / _EPN / "data"
    good &= _fetch(config, nodes)
    say("What each worker did")
    for worker in ("one", "two"):
        log = (nodes.folder / f"{worker}.log").read_text(encoding="utf-8")
        print("\n".join(f"{worker}: {line}" for line in log.splitlines()))
    say("What is at home, held against the facility byte for byte (names, sizes, times, modes)")
    differences = compare_trees(source, copy)
    print(f"{_EPN:8} {'equal' if not differences else 'DIFFERENT'}")
    for difference in differences[:10]:
        print(f"  {difference}")
    good &= not differences and [path.name for path in copy.parent.iterdir()] == ["data"]
    say("What the catalogue knows, and the second run, which finds nothing to fetch")
    good &= command("asynchy", "--config", config, "status", _EPN) == 0
    return good & (command("mxsync", "--config", config, "--execute", "--once") == 0)


def _fetch(config: Path, nodes: LoopbackCluster) -> bool:
    line = ["mxsync", "--config", str(config), "--execute", "--once"]
    print(f"$ {' '.join(line)} &\n", flush=True)
    with subprocess.Popen([_SCRIPTS / line[0], *line[1:]]) as process:
        log = nodes.folder / "two.log"  # it is killed once it has ended a shard, and has others
        while " of 12282a (" not in log.read_text() and process.poll() is None:
            time.sleep(0.1)
        still = process.poll() is None
        processes = " ".join(map(str, nodes.family("two")))
        print(f"$ kill -9 {processes}   # all of worker two", flush=True)
        nodes.kill("two")
        process.wait(_LONGEST)
    print(f"[exit code {process.returncode}]", flush=True)
    return still and process.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
