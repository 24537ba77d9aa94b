"""`make demo`: experiments come home from the simulated facility, in under a minute.

Everything happens in a folder of its own for temporary files. Its home is left for the dashboard
(`make demo-dashboard`) until the next demo. The commands are the ones that a user types.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from simulator.compare import compare_trees
from simulator.config import write_config
from simulator.demo_dashboard import PREFIX, keep, kept_folders
from simulator.experiments import awkward_names, big_sparse_file, many_small_files, mx_experiment
from simulator.facility import Facility
from simulator.mail import MailSink
from simulator.portal.handle import OMIT
from simulator.receiver import Receiver
from simulator.scratch import new_folder, remove

_SCRIPTS = Path(sys.executable).parent
_PROJECTS = {"12282": "ny79", "8020": "ny79", "19754": "kx12", "12283": "ny79", "12284": "ny79"}
_LATE = "12284d"
_NOBODYS = "20345b"
_OLD = "1234b"
_HANDED_ON = "handed-on.json"
_FETCHED = {"12282a": "ny79", "8020l": "ny79", "19754a": "kx12"}


def main() -> int:
    """Run the demo; 0 where everything came home and nothing was fetched twice."""
    began = time.monotonic()
    good = False
    for older in kept_folders():
        remove(older)
    folder = new_folder(PREFIX)
    try:
        with (
            Facility(folder / "facility") as facility,
            MailSink(folder / "mails") as mails,
            Receiver() as chat,
        ):
            config = _set_the_scene(folder, facility, mails, chat)
            good = _run(folder, facility, config, mails, chat)
    finally:
        (keep if good else remove)(folder)
    say(f"{'All well' if good else 'NOT WELL'}, in {time.monotonic() - began:.0f} s.")
    if good:
        print("`make demo-dashboard` shows in the dashboard what this demo did.")
    print("`make demo-web` shows a facility with transfers going on.")
    return 0 if good else 1


def _set_the_scene(folder: Path, facility: Facility, mails: MailSink, chat: Receiver) -> Path:
    say("A facility on this machine: OpenSSH's sshd, a portal, and experiments as MX makes them")
    first = facility.experiment("mx", "12282a")
    mx_experiment(first, "12282a", frames=40)
    awkward_names(first)
    many_small_files(facility.experiment("mx", "8020l"), 20_000, seed=8020)
    big_sparse_file(facility.experiment("mx", "19754a") / "19754a.sqfs", 2**30 + 4097)
    mx_experiment(facility.experiment("mx", "12283c"), "12283c")
    mx_experiment(facility.experiment("mx", _NOBODYS), _NOBODYS)
    now = datetime.now(UTC).replace(microsecond=0)
    hours = {"12282a": 30, "8020l": 200, "19754a": 78, _NOBODYS: 40, "12283c": -3}
    for epn, ended in hours.items():
        end = now - timedelta(hours=ended)
        facility.portal.add_visit(equipment=23, epn=epn, start=end - timedelta(hours=8), end=end)
    home = folder / "home"
    (home / "logs").mkdir(parents=True)
    for project in set(_PROJECTS.values()):
        folder_of_project = home / "projects" / project
        folder_of_project.mkdir(parents=True)
        folder_of_project.chmod(0o2775)  # all in it belongs to the project's group
    config = write_config(
        home / "config.yml",
        facility,
        destination=home / "projects",
        epn_cap_map=_PROJECTS,
        epnalert_email_smtp=f"{mails.host}:{mails.port}",
        epnalert_template_folder=OMIT,
        epnalert_template_text=OMIT,
        epnalert_template_html=OMIT,
        retention_days={"mx": 14},
        accept_left_out=True,
        notify=[{"name": "chat", "url": f"json://127.0.0.1:{chat.port}"}],
        on_complete=[{"name": "list", "command": ["tee", "-a", str(home / _HANDED_ON)]}],
    )
    print(f"experiments  {', '.join(sorted(hours))}")
    print(f"config       {config}")
    return config


def _run(folder: Path, facility: Facility, config: Path, mails: MailSink, chat: Receiver) -> bool:
    say("Is everything right for the first cycle?")
    good = command("asynchy", "--config", config, "doctor") == 0
    say("The plan: which experiments would be fetched, which not, and why")
    # 20345b has no project yet: exit code 1 until it is assigned.
    good &= command("mxsync", "--config", config) == 1
    say("The first run: exit code 1, for 20345b belongs to nobody yet")
    good &= command("mxsync", "--config", config, "--execute", "--once") == 1
    good &= _told(folder, chat)
    say("The second run finds nothing to fetch")
    good &= command("mxsync", "--config", config, "--execute", "--once") == 1
    say("Data that the facility deletes before it is at home: exit code 1, since there is some")
    good &= command("asynchy", "--config", config, "report", "at-risk") == 1
    good &= _alert(folder, config, mails)
    say(f"As a service: the portal tells of a further visit, {_LATE}; one cycle, then SIGTERM")
    good &= _service(folder, facility, config)
    good &= _proof(folder, config)
    say("Compare every byte, name, size, time and mode at home with the facility")
    for epn, project in {**_FETCHED, _NOBODYS: "kx12", _LATE: "ny79"}.items():
        copy = folder / "home" / "projects" / project / epn / "data"
        differences = compare_trees(facility.data / "mx" / epn, copy)
        print(f"{epn:8} {'equal' if not differences else 'DIFFERENT'}")
        for difference in differences[:10]:
            print(f"  {difference}")
        good &= not differences
    say("The state of every experiment (asynchy status)")
    good &= command("asynchy", "--config", config, "status") == 0
    say("Reports: today's transfers, a forecast, and usage")
    good &= command("asynchy", "--config", config, "report", "activity") == 0
    good &= command("asynchy", "--config", config, "report", "forecast") == 0
    good &= command("asynchy", "--config", config, "report", "usage") == 0
    say("ignore.yml")
    print((folder / "home" / "ignore.yml").read_text(encoding="utf-8"), end="")
    return good & _history(folder, facility)


def _told(folder: Path, chat: Receiver) -> bool:
    say("A message in a chat (notify), and a document for a command (on-complete)")
    for text in chat.texts:
        print("    " + text.replace("\n", "\n    ") + "\n")
    documents = (folder / "home" / _HANDED_ON).read_text(encoding="utf-8")
    first, _ = json.JSONDecoder().raw_decode(documents)
    print(json.dumps(first, indent=2))
    return any("came home" in text for text in chat.texts)


def _proof(folder: Path, config: Path) -> bool:
    asynchy = ("asynchy", "--config", config)
    say("A byte at home changes, size and time do not: the audit finds it, without the facility")
    copy = folder / "home" / "projects" / "ny79" / "12282a" / "data"
    frame = copy / "frames" / "ada" / "lysozyme 1" / "lyso_1_0003.cbf"
    times = frame.stat()
    data = bytearray(frame.read_bytes())
    data[100] ^= 1
    frame.write_bytes(data)
    os.utime(frame, ns=(times.st_atime_ns, times.st_mtime_ns))
    good = command(*asynchy, "audit", "--rate", "2GB") == 1
    say("Held against the facility byte for byte, it is kept aside and fetched again")
    good &= command(*asynchy, "verify", "12282a", "8020l") == 0
    good &= command(*asynchy, "audit", "12282a") == 0
    say("A person edits a file at home: it stays, until a person asks for the facility's version")
    edited = copy / "frames" / "ada" / "lysozyme 1" / "lyso_1_0004.cbf"
    edited.write_text("a week of work")
    good &= command(*asynchy, "verify", "12282a") == 0
    good &= edited.read_text() == "a week of work"
    good &= command(*asynchy, "verify", "--restore", "12282a") == 0
    kept = copy.with_name("data.asynchy-replaced")
    print("kept:", *(str(path.relative_to(kept.parent)) for path in kept.rglob(edited.name)))
    say("May the facility's data be deleted? Both sides, and the proof")
    good &= command(*asynchy, "report", "reconcile") == 0
    say("A receipt: the files, the people, and the history of a copy")
    return good & (command(*asynchy, "receipt", "12282a") == 0)


def _alert(folder: Path, config: Path, mails: MailSink) -> bool:
    say(f"Whose is {_NOBODYS}? epnalert asks by mail")
    good = command("epnalert", "--config", config) == 0
    body = mails.mails[-1].get_body(("plain",))
    assert body is not None
    print(f"\nThe mail, as text:\n\n{body.get_content()}".replace("\n", "\n    ").rstrip())
    say("Somebody answers; the next cycle brings it home")
    good &= command("asynchy", "--config", config, "map", "add", _NOBODYS, "kx12") == 0
    good &= command("mxsync", "--config", config, "--execute", "--once") == 0
    copy = folder / "home" / "projects" / "kx12" / _NOBODYS / "data"
    return good and copy.is_dir()


def _history(folder: Path, facility: Facility) -> bool:
    """Years of experiments, for a group that has no portal: as-walker and asynchy sync."""
    home, vault = folder / "home", folder / "vault"
    config, listed = home / "as.yaml", home / "ours.txt"
    vault.mkdir()
    mx_experiment(facility.data / _OLD, _OLD)  # the layout of old
    listed.write_text(f"{_OLD}\n8020l\n12283c\n", encoding="utf-8")
    asynchy = ("asynchy", "--config", config)
    say("All of history: a config for it")
    code = command(
        *asynchy, "init", "--host", facility.host, "--port", str(facility.port),
        "--user", facility.user, "--keypath", facility.key_file, "--db", home / "files.db",
    )  # fmt: skip
    good = code == 0
    further = f"known-hosts: {facility.known_hosts}\nwalk-root: {facility.data}\n"
    print(f"$ cat >> {config} <<END\n{further}END")
    with config.open("a", encoding="utf-8") as stream:
        stream.write(further)
    say("Scan the facility for the EPNs in a list (without a list: all visible ones)")
    good &= command(*asynchy, "walk", "--list", listed) == 0
    say("All of it home, two at a time")
    good &= command(*asynchy, "sync", "--dest", vault, "--threads", "2") == 0
    (facility.data / _OLD / "late.log").write_text("auto-processing was late", encoding="utf-8")
    say("The next walk finds what has changed since, the next sync fetches it")
    good &= command(*asynchy, "walk", "--list", listed) == 0
    good &= command(*asynchy, "sync", "--dest", vault) == 0
    good &= command(*asynchy, "catalogue", "stats") == 0
    for source in (facility.data / _OLD, facility.data / "mx" / "8020l"):
        differences = compare_trees(source, vault / source.name)
        print(f"{source.name:8} {'equal' if not differences else 'DIFFERENT'}")
        good &= not differences
    return good


def _service(folder: Path, facility: Facility, config: Path) -> bool:
    mx_experiment(facility.experiment("mx", _LATE), _LATE)
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    facility.portal.add_visit(equipment=23, epn=_LATE, start=end - timedelta(hours=8), end=end)
    print(f"$ mxsync --config {config} --execute &\n", flush=True)
    with subprocess.Popen([_SCRIPTS / "mxsync", "--config", config, "--execute"]) as process:
        log = folder / "home" / "logs" / "sync.log"
        while process.poll() is None and "next look in" not in log.read_text(encoding="utf-8"):
            time.sleep(0.1)
        command("asynchy", "--config", config, "status", _LATE)
        print("$ kill %1", flush=True)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    print(f"[exit code {process.returncode}]", flush=True)
    return process.returncode == 0


def command(name: str, *arguments: str | Path) -> int:
    """Run one of our commands as a user does; its exit code."""
    print(f"$ {name} {' '.join(str(argument) for argument in arguments)}\n", flush=True)
    began = time.monotonic()
    code = subprocess.run([_SCRIPTS / name, *arguments], check=False).returncode
    print(f"\n[exit code {code}, {time.monotonic() - began:.1f} s]", flush=True)
    return code


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m== {text}\033[0m\n" if sys.stdout.isatty() else f"\n== {text}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
