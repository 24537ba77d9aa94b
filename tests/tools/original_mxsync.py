"""Stands in for the original mxsync in tests, written from what is known of it.

It fetches each experiment of `epn_cap_map` that is visible and not in `ignore.yml`, with rsync and
the original's options (`-stats`, read by rsync as `-s -t -a -t -s`, is one of them), rewrites
`ignore.yml` without its comments, and sleeps. Unlike the original it asks no portal, and takes
port and known hosts from config and environment, for a facility that is on this machine.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path


def main():
    """Run until a signal."""
    text = Path(sys.argv[sys.argv.index("--config") + 1]).read_text()
    config = {}
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        config[key] = json.loads(value) if value[:1] in '"{[0123456789' else value
    ignore = Path(config["ignore"])
    done = re.findall(r"[0-9]+[a-z]+", re.sub("#.*", "", ignore.read_text()))
    ssh = f"ssh -i {config['key-file']} -p {config['port']}"
    ssh += f" -o UserKnownHostsFile={os.environ['KNOWN_HOSTS']}"
    where = f"help@massive.org.au@{config['host']}:{config['source-path'].partition('{')[0]}mx/"
    listed = subprocess.run(
        ["rsync", "-e", ssh, where], capture_output=True, text=True, check=True
    ).stdout
    for epn in sorted(set(re.findall(r" ([0-9]+[a-z]+)$", listed, re.MULTILINE)) - set(done)):
        project = config["epn_cap_map"].get(re.match("[0-9]+", epn)[0])
        if project is None:
            continue
        copy = Path(config["destination-root-path"], project, epn, "data")
        copy.parent.mkdir(parents=True, exist_ok=True)
        options = ["-r", "-t", "-P", "-stats", "--chmod=Dg+s,ug+w,o-wx,ug+X", "--perms"]
        options += ["--size-only", "--include", ".info", "--exclude", ".*", "-e", ssh]
        subprocess.run(
            ["rsync", *options, f"{where}{epn}/", f"{copy}/"], stdout=subprocess.DEVNULL, check=True
        )
        done.append(epn)
        ignore.write_text("previouslySynched:\n" + "".join(f"- {one}\n" for one in sorted(done)))
    with Path(config["log-files"]["sync"]).open("a") as log:
        log.write("the original waits\n")
    signal.pause()
