"""What the installed rsync lists, understood name by name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from asynchy.errors import ListingError
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import EntryKind
from asynchy.ssh.rsync import runner
from asynchy.ssh.rsync.output import parse_listed
from asynchy.ssh.server import Server

NASTY = [
    b"plain.h5", b" leading", b"trailing ", b"a -> b", b"new\nline", b"cr\rhere", b"tab\there", b"\x1b[31mred",
    b"\xff\xfe", "caf\u00e9".encode(), b"\\#012", b"\\#134#012", b"\\", b"\\\\", b"a\\#999", b"\\#", b"#012", b"-rf", b"\x7f",
    b"1,234", b"*", b"x" * 255, b"2026_11_24 02:40:16 x", b"skipping x", b".info",
]  # fmt: skip


def test_what_the_real_rsync_lists_is_what_lies_there(tmp_path: Path) -> None:
    root = tmp_path / "mx"
    folder = root / os.fsdecode(b"odd\nfolder\xff")
    folder.mkdir(parents=True)
    expected = {
        (EntryKind.FOLDER, b".", 0, 10**9),
        (EntryKind.FOLDER, b"odd\nfolder\xff", 0, 10**9),
    }
    for at, name in enumerate(NASTY):
        for around, prefix in ((root, b""), (folder, b"odd\nfolder\xff/")):
            path = around / os.fsdecode(name)
            with path.open("wb") as file:
                file.truncate(at * 10**9)
            os.utime(path, (at - 5, at - 5))
            expected.add((EntryKind.FILE, prefix + name, at * 10**9, at - 5))
    (root / "link -> x").symlink_to("a -> b")
    os.mkfifo(root / "pipe")
    for path in (root / "link -> x", root / "pipe", folder, root):
        os.utime(path, (10**9, 10**9), follow_symlinks=False)
    expected |= {
        (EntryKind.SYMLINK, b"link -> x", 6, 10**9),
        (EntryKind.SPECIAL, b"pipe", 0, 10**9),
    }
    listed = subprocess.run(
        ["rsync", "--list-only", "--recursive", "--no-human-readable", "--", f"{root}/"],
        capture_output=True, check=True, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
    ).stdout.splitlines()  # fmt: skip
    found = [entry for entry in map(parse_listed, listed) if entry is not None]
    assert len(found) == len(expected)
    assert expected == {
        (one.kind, one.path, 0 if one.kind is EntryKind.FOLDER else one.size, one.modified)
        for one in found
    }


def test_an_rsync_that_stands_still_while_it_lists_is_ended_after_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "rsync"
    program.write_text("#!/bin/sh\nkill -STOP $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    listed: list[object] = []
    with pytest.raises(ListingError, match="stood still for 3 s, and was ended"):
        runner.list_tree(Server("host", "user", timeout=1), "/data", listed.append, Stop())
