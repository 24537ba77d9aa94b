"""A facility in a process of its own: `python -m benchmarks.server FOLDER HOST`.

It tells how to log in, as JSON, and ends when its standard input does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from simulator.facility import Facility


def main(folder: Path, host: str) -> None:
    """Run it."""
    with Facility(folder, host=host) as facility:
        told = {
            "port": facility.port,
            "user": facility.user,
            "key": str(facility.key_file),
            "known_hosts": str(facility.known_hosts),
            "data": str(facility.data),
        }
        print(json.dumps(told), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
