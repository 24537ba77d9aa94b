"""A `config.yml` for the simulated facility, with all the keys of the original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simulator.facility import Facility
from simulator.portal.handle import OMIT
from simulator.portal.state import ACCOUNT


def write_config(
    path: Path,
    facility: Facility,
    *,
    destination: Path,
    epn_cap_map: dict[str, str],
    equipment: list[dict[str, object]] | None = None,
    **keys: object,
) -> Path:
    """Write a config file with mode 600; further keys replace others (`OMIT`: leave out).

    In the names of keys, `_` stands for `-`. An entry of `equipment` needs its `id` alone.
    """
    path = path.absolute()
    logs = path.parent / "logs"
    entries = [{"id": 23}] if equipment is None else equipment
    values: dict[str, object] = {
        "comment": "a facility on this machine",
        "epn_cap_map": epn_cap_map,
        "ignore": str(path.parent / "ignore.yml"),
        "equipment": [{**ACCOUNT, **entry} for entry in entries],
        "base-url": facility.portal.url,
        "beamline": "mx",
        "epnalert-email-to": "data@uni.example",
        "epnalert-email-from": "asynchy@uni.example",
        "epnalert-email-smtp": "localhost",
        "epnalert-template-folder": str(path.parent),
        "epnalert-template-text": "epnalert.txt",
        "epnalert-template-html": "epnalert.html",
        "visit-day-range": 30,
        "key-file": str(facility.key_file),
        "host": facility.host,
        "destination-root-path": str(destination),
        "sync-frequency-hours": 24,
        "max-tasks": 2,
        "log-level": "logging.INFO",
        "log-files": {name: str(logs / f"{name}.log") for name in ("sync", "epnalert", "email")},
        "user": facility.user,
        "port": facility.port,
        "known-hosts": str(facility.known_hosts),
        "source-path": f"{facility.data}/{{beamline}}/{{epn}}/",
        "walk-root": str(facility.data),
        **{name.replace("_", "-"): value for name, value in keys.items()},
    }
    lines = [f"{key}: {_yaml(value)}" for key, value in values.items() if value is not OMIT]
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _yaml(value: Any) -> str:
    """A value as JSON, which is YAML."""
    return json.dumps(value, ensure_ascii=False)
