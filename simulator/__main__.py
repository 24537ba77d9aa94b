"""`python -m simulator FOLDER`: a facility to try things on, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from simulator.config import write_config
from simulator.experiments import awkward_names, mx_experiment
from simulator.facility import Facility


def main(arguments: list[str]) -> int:
    """Run a facility with two experiments below the folder, and a config file for it."""
    if len(arguments) != 1:
        print("Usage: python -m simulator FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0]).absolute()
    home = folder / "home"
    for project in ("ny79", "kx12"):
        (home / "projects" / project).mkdir(parents=True, exist_ok=True)
    (home / "logs").mkdir(exist_ok=True)
    with Facility(folder / "facility") as facility:
        for epn in ("12282a", "19754a"):
            place = facility.experiment("mx", epn)
            if not any(place.iterdir()):
                mx_experiment(place, epn)
                awkward_names(place)
            end = datetime.now(UTC) - timedelta(days=1)
            facility.portal.add_visit(
                equipment=23, epn=epn, start=end - timedelta(hours=8), end=end
            )
        config = write_config(
            home / "config.yml",
            facility,
            destination=home / "projects",
            epn_cap_map={"12282": "ny79", "19754": "kx12"},
        )
        print(
            f"portal  {facility.portal.url}\nsftp    {facility.user} at 127.0.0.1:{facility.port}"
        )
        print(f"try     mxsync --config {config}\nend     Ctrl-C", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main(sys.argv[1:]))
