"""Compares two trees byte for byte: the facility's, and the copy at home."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_BLOCK_BYTES = 8 << 20


def compare_trees(source: Path, copy: Path, *, modes: bool = True) -> list[str]:
    """The differences between an experiment and its copy, as lines of text; empty if none.

    Every file and folder must be there with its bytes, its time in whole seconds and its mode,
    and nothing else; dot files other than `.info`, symbolic links and special files must not.
    """
    for tree in (source, copy):
        if tree.is_symlink() or not tree.is_dir():
            return [f"no folder: {_shown(os.fsencode(tree))}"]
    expected = dict(_walk(os.fsencode(source), brought=True))
    actual = dict(_walk(os.fsencode(copy), brought=False))
    lines = [f"missing: {_shown(name)}" for name in sorted(expected.keys() - actual.keys())]
    lines += [
        f"not in the source: {_shown(name)}" for name in sorted(actual.keys() - expected.keys())
    ]
    for name in sorted(expected.keys() & actual.keys()):
        difference = _difference(expected[name], actual[name], modes=modes)
        if difference:
            lines.append(f"{difference}: {_shown(name)}")
    return lines


def mode_at_home(mode: int) -> int:
    """The mode that a file or folder of the facility has at home.

    `Dg+s,ug+w,o-wx,ug+X,u+r`, and setuid and sticky never, setgid on folders alone.
    """
    is_folder = stat.S_ISDIR(mode)
    bits = (mode & 0o777 | 0o620) & ~0o003
    if is_folder or mode & 0o111:  # `X` looks at the mode as it was before `o-wx`
        bits |= 0o110
    return bits | 0o2000 if is_folder else bits


def _walk(root: bytes, *, brought: bool) -> Iterator[tuple[bytes, bytes]]:
    """Relative name and path of all entries below a folder; `brought`: only of fetched ones."""
    pending = [b""]
    yield b".", root
    while pending:
        below = pending.pop()
        folder = root + b"/" + below if below else root
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if brought and name.startswith(b".") and name != b".info":
                continue
            relative = below + b"/" + name if below else name
            path = root + b"/" + relative
            mode = os.lstat(path).st_mode
            if brought and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                continue
            yield relative, path
            if stat.S_ISDIR(mode):
                pending.append(relative)


def _difference(source: bytes, copy: bytes, *, modes: bool) -> str | None:
    facility_entry, two = os.lstat(source), os.lstat(copy)
    if stat.S_IFMT(facility_entry.st_mode) != stat.S_IFMT(two.st_mode):
        return "of another kind"
    if stat.S_ISREG(facility_entry.st_mode):
        if facility_entry.st_size != two.st_size:
            return f"{facility_entry.st_size} bytes there, {two.st_size} here"
        if not _same_bytes(source, copy, facility_entry.st_size):
            return "other bytes"
    if facility_entry.st_mtime_ns // 10**9 != two.st_mtime_ns // 10**9:
        return f"modified at {facility_entry.st_mtime_ns} there, {two.st_mtime_ns} here"
    expected, actual = mode_at_home(facility_entry.st_mode), stat.S_IMODE(two.st_mode)
    if modes and expected != actual:
        return f"mode {actual:o} and not {expected:o}"
    return None


def _same_bytes(source: bytes, copy: bytes, size: int) -> bool:
    facility_file, home_file = os.open(source, os.O_RDONLY), os.open(copy, os.O_RDONLY)
    try:
        position = 0
        while position < size:
            position = min(
                _next_data(facility_file, position, size), _next_data(home_file, position, size)
            )
            if os.pread(facility_file, _BLOCK_BYTES, position) != os.pread(
                home_file, _BLOCK_BYTES, position
            ):
                return False
            position += _BLOCK_BYTES
        return True
    finally:
        os.close(facility_file)
        os.close(home_file)


def _next_data(file: int, position: int, size: int) -> int:
    """Where the next bytes are that are not in a hole; `size` where there are none."""
    try:
        return os.lseek(file, position, os.SEEK_DATA)
    except OSError as error:
        # ENXIO: a hole up to the end. Any other: this file system does not report its holes.
        return size if error.errno == errno.ENXIO else position


def _shown(name: bytes) -> str:
    return ascii(os.fsdecode(name))
