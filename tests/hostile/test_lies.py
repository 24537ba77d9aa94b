"""A server whose packets are right and tell lies: asyncssh's, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import Home
from tests.hostile.harness import HOME, TIMEOUT, TOOLS, Hostile

OUT = "a name that leads out of the experiment: "
CHANGED = "it changed at the facility while it was fetched"
CASES = {
    "climbs": OUT + r"\.\./evil",
    "climbs far": OUT + r"(\.\./){12}",
    "from the root": OUT + "/.*/outside/evil",
    "climbs later": OUT + r"sub/\.\./\.\./evil",
    "NUL": OUT + r"nul\\x00evil",
    "no name": OUT,
    "escape sequence": OUT + r"\\x1b\]0;owned\\x07\\x1b\[2J\\x9b5n/evil",
    "long name": "a name of 256 bytes",
    "no size": "the server does not report what f is",
    "no time": "the server does not report what f is",
    "without end": r"more than 2,000 entries \(max-entries\)",
    "folder in folder": "more than 128 folders in each other",
    "flips": CHANGED,
    "twice": CHANGED,
    "link and folder": r"zz\.h5: the server could not read it",
    "more and more": CHANGED,
    "size +1000": CHANGED,
    "size -1": CHANGED,
    "size 0": CHANGED,
    "size 100000000000000": "not enough free space",
    "size 9007199254740992": "more than 9,007,199,254,740,992 bytes",
    "size 18446744073709551615": "more than 9,007,199,254,740,992 bytes",
    "two dots": HOME,
    "one dot": HOME,
    "special": HOME,
    "silent": f"sent nothing for {TIMEOUT} s",
}
AS_TOLD = ["setuid", "time 0", "time 4294967295"]
"""What comes home as it is told, and not as it is."""


@pytest.fixture
def lying(home: Home) -> Iterator[Hostile]:
    hostile = Hostile(home)
    facility = home.facility
    server = subprocess.Popen(
        [sys.executable, TOOLS / "lying_sftp.py", facility.folder / "ssh" / "host_key",
         facility.folder / "ssh" / "authorized_keys"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OUTSIDE": str(hostile.outside)},
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    try:
        facility.stop_sshd()
        facility.port = int(server.stdout.readline())
        key = (facility.folder / "ssh" / "host_key.pub").read_text()
        facility.known_hosts.write_text(f"[127.0.0.1]:{facility.port} {key}")
        yield hostile
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait(60)


@pytest.mark.extra
def test_each_ends_in_words_for_that_experiment_alone(lying: Hostile) -> None:
    lying.prepare([*CASES, *AS_TOLD])
    lying.configure()
    run = lying.once()
    assert run.done.returncode == 4
    run.check(CASES)
    for what in AS_TOLD:
        run.is_home(what, as_it_is=False)
    for what, modified in (("time 0", 0), ("time 4294967295", 4294967295)):
        copy = lying.home.copy(lying.epns[what])
        assert {path.stat().st_mtime_ns // 10**9 for path in copy.rglob("*")} == {modified}
    # Whatever is told of their size, no other bytes than the facility's lie in a file's place.
    for what in ("size +1000", "size -1", "size 0", "flips"):
        epn = lying.epns[what]
        source, copy = lying.home.facility.data / "mx" / epn, lying.home.copy(epn)
        for path in copy.rglob("*.h5"):
            assert path.read_bytes() == (source / path.relative_to(copy)).read_bytes()
