"""Fuzzing of what rsync and ssh say: understood, or a ValueError that names the line."""

from __future__ import annotations

import atheris

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports():
    from asynchy.model.file_modes import Modes
    from asynchy.model.remote_names import is_inside
    from asynchy.ssh.remote_sha256sum import parse
    from asynchy.ssh.rsync.output import (
        explain,
        is_absent,
        known_holes,
        parse_compared,
        parse_listed,
        parse_progress,
        parse_statistic,
        unescape,
    )

_SEEDS = [
    b"-rw-r--r--          1,024 2016/04/29 08:00:00 frames/a b_0001.cbf",
    b"-rwsr-xr-t           1024 2016/04/29 08:00:00 home/\\#033[2J/x",
    b"drwxr-xr-x           4096 10/02/30 25:61:61 .",
    b"lrwxrwxrwx             11 1969/12/31 23:59:59 link",
    b"Number of regular files transferred: 12",
    b"Literal data: 1234 bytes",
    b"     32768   0%    0.00kB/s    0:00:00 (xfr#1, to-chk=0/2)",
    b".f..t...... one",
    b">f+++++++++ two",
    b"rsync  version 3.1.3  protocol version 31",
    b'rsync: [sender] change_dir "/data/x" failed: No such file or directory (2)',
    b'rsync: mkstemp "x" failed: No space left on device (28)',
    b"@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @ SHA256:" + b"A" * 43,
    b"0" * 64 + b"  /data/mx/12282a/one",
]


def one(data: bytes) -> None:
    """Take one line in every way that it may be meant."""
    try:
        entry = parse_listed(data)
    except ValueError as error:
        assert str(error).isprintable()
    else:
        if entry is not None:
            assert is_inside(entry.path) and entry.size >= 0 and 0 <= entry.mode <= 0o7777
            assert Modes().of(entry) & ~0o2775 == 0
    assert len(unescape(data)) <= len(data)
    parse_statistic(data)
    parse_progress(data)
    parse_compared(data)
    parse(data)
    words = data.decode("utf-8", "backslashreplace")
    is_absent(words)
    known_holes(words)
    assert explain(data[0] if data else 1, words).reason


if __name__ == "__main__":
    fuzz(one, _SEEDS)
