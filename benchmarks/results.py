"""Where the figures of a run are kept: OUT (a folder) names the place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def place() -> Path:
    """The file."""
    return Path(os.environ.get("OUT", "bench-results")) / "results.json"


def load() -> dict[str, Any]:
    """What is there; nothing, where no run has been."""
    try:
        found: dict[str, Any] = json.loads(place().read_text())
    except FileNotFoundError:
        return {}
    return found


def save(found: dict[str, Any]) -> None:
    """Keep them, in place of what was there."""
    file = place()
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(found, indent=2) + "\n")
    new.replace(file)
