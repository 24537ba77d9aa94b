"""`python -m simulator FOLDER`: a facility to try things on, until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from simulator.config import write_config
from simulator.experiments import awkward_names, many_small_files, mx_experiment
from simulator.facility import Facility
from simulator.mail import MailSink
from simulator.portal.handle import OMIT

_PROJECTS = {"12282": "ny79", "8020": "ny79", "19754": "kx12"}
_ENDED_HOURS_AGO = {"12282a": 24, "8020l": 48, "19754a": 72, "20345b": 30}


def main(arguments: list[str]) -> int:
    """Run a facility with four experiments below the folder, and write a config file for it."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Usage: python -m simulator FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0]).absolute()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may have had SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Facility(folder) as facility,
        MailSink(folder / "mails") as mails,
    ):
        _make_experiments(facility)
        config = _make_home(folder, facility, mails)
        print(f"portal  {facility.portal.url}")
        print(
            f"sftp    sftp -P {facility.port} -i {facility.key_file}"
            f" -o UserKnownHostsFile={facility.known_hosts} -o User={facility.user}"
            f" {facility.host}:{facility.data}"
        )
        print(
            f"try     mxsync --config {config}\nmails   {mails.folder}\nend     Ctrl-C", flush=True
        )
        while True:
            signal.pause()
    return 0


def _make_experiments(facility: Facility) -> None:
    builders: dict[str, Callable[[Path], object]] = {
        "12282a": lambda place: mx_experiment(place, "12282a"),
        "8020l": lambda place: many_small_files(place, 2000),
        "19754a": awkward_names,
        "20345b": lambda place: mx_experiment(place, "20345b"),  # of no project
    }
    for epn, build in builders.items():
        place = facility.experiment("mx", epn)
        if not any(place.iterdir()):  # a second run finds those of the first
            build(place)
        end = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=_ENDED_HOURS_AGO[epn])
        facility.portal.add_visit(equipment=23, epn=epn, start=end - timedelta(hours=8), end=end)


def _make_home(folder: Path, facility: Facility, mails: MailSink) -> Path:
    """Project folders, a folder for the logs, and the config file."""
    storage = folder / "home-storage"
    for place in (folder / "logs", *(storage / project for project in _PROJECTS.values())):
        place.mkdir(parents=True, exist_ok=True)
    return write_config(
        folder / "config.yml",
        facility,
        destination=storage,
        epn_cap_map=_PROJECTS,
        epnalert_email_smtp=f"{mails.host}:{mails.port}",
        epnalert_template_folder=OMIT,
        epnalert_template_text=OMIT,
        epnalert_template_html=OMIT,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
