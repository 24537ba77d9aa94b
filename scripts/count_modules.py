"""Count the modules that three stories enter: how much a reader has to know to follow one.

    python -m scripts.count_modules [STORY…] [-v]

`copy`: a visit comes home (one cycle of mxsync). `file`: a file of 3 GB is fetched, within the
engine and its workers. `mail`: epnalert reports an EPN without a project. A module counts if one
of its functions is called; what runs while it is loaded does not. Edges are calls from one module
to another. All processes count, those of the streams too. `-v` names the modules.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from simulator.config import write_config
from simulator.experiments import big_sparse_file, mx_experiment
from simulator.facility import Facility
from simulator.mail import MailSink
from simulator.portal.handle import OMIT

STORIES = ("copy", "file", "mail")
ENGINE = ("asynchy.engines.sftp.engine", "asynchy.engines.sftp.worker")

HOOK = """
import os, sys, threading

_FUNCTION = 1  # inspect.CO_OPTIMIZED: neither a module's nor a class's own code
_ENGINE = ENGINE
_seen = set()
_file = os.open(os.environ["COUNT_MODULES"], os.O_WRONLY | os.O_APPEND)
_inside = threading.local()


def _name(frame):
    return frame.f_globals.get("__name__") or ""


def _watch(frame, event, _argument):
    if event not in ("call", "return") or not frame.f_code.co_flags & _FUNCTION:
        return
    module = _name(frame)
    if not module.startswith("asynchy."):
        return
    if module in _ENGINE:
        depth = getattr(_inside, "depth", 0)
        _inside.depth = depth + (1 if event == "call" else -1)
    if event == "return":
        return
    caller = frame.f_back
    while caller and not _name(caller).startswith("asynchy."):
        caller = caller.f_back
    if caller and not caller.f_code.co_flags & _FUNCTION:
        return
    where = "engine" if getattr(_inside, "depth", 0) > 0 else "outside"
    origin = _name(caller) if caller else "-"
    if (where, origin, module) not in _seen:
        _seen.add((where, origin, module))
        os.write(_file, f"{where} {origin} {module}\\n".encode())


sys.setprofile(_watch)
threading.setprofile(_watch)
"""


def main() -> int:
    """Run the stories and print what each enters."""
    named = [argument for argument in sys.argv[1:] if argument != "-v"]
    for story in named or STORIES:
        with tempfile.TemporaryDirectory() as folder:
            edges = _entered(story, Path(folder))
        modules = {module for _, module in edges}
        between = {edge for edge in edges if edge[0] not in ("-", edge[1])}
        print(f"{story:5} {len(modules):4} modules {len(between):4} edges")
        if "-v" in sys.argv:
            print("\n".join(f"      {module}" for module in sorted(modules)))
    return 0


def _entered(story: str, place: Path) -> set[tuple[str, str]]:
    """The pairs of caller and called module, while a story is run."""
    (place / "hook").mkdir()
    (place / "hook" / "sitecustomize.py").write_text(HOOK.replace("= ENGINE", f"= {ENGINE}"))
    found = place / "entered"
    found.touch()
    home = place / "home"
    (home / "projects" / "ny79").mkdir(parents=True)
    (home / "logs").mkdir()
    with Facility(place / "facility") as facility, MailSink(place / "mails") as mails:
        source = facility.experiment("mx", "12282a")
        if story == "file":
            big_sparse_file(source / "12282a.sqfs", 3 << 30)
        else:
            mx_experiment(source, "12282a")
        end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        facility.portal.add_visit(
            equipment=23, epn="12282a", start=end - timedelta(hours=8), end=end
        )
        config = write_config(
            home / "config.yml",
            facility,
            destination=home / "projects",
            epn_cap_map={} if story == "mail" else {"12282": "ny79"},
            epnalert_email_smtp=f"{mails.host}:{mails.port}",
            epnalert_template_folder=OMIT,
            epnalert_template_text=OMIT,
            epnalert_template_html=OMIT,
        )
        program = Path(sys.executable).parent
        command = [program / "mxsync", "--config", config, "--execute", "--once"]
        if story == "mail":
            command = [program / "epnalert", "--config", config]
        environment = {
            **os.environ, "PYTHONPATH": str(place / "hook"), "COUNT_MODULES": str(found)
        }  # fmt: skip
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    rows = [line.split(" ") for line in found.read_text().splitlines()]
    wanted = {"engine"} if story == "file" else {"engine", "outside"}
    return {(caller, called) for where, caller, called in rows if where in wanted}


if __name__ == "__main__":
    raise SystemExit(main())
