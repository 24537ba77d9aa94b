"""What must hold at any instant, and what must hold at the end. Each answers with lines to read."""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asynchy.errors import ListingError
from asynchy.model.cancellation import Stop
from asynchy.ssh import connection_limit
from asynchy.ssh.server import Server
from simulator.compare import compare_trees
from tests.conftest import Home

EPN = "12282a"
_OURS = b".asynchy"
"""How the folders are called that hold what is on its way."""
_LOCKS = frozenset({".ignore.yml.lock", "catalogue.db.walk", "catalogue.db.service"})
"""Files that stay; what counts is that nobody holds a lock on them."""
_EXPECTED = _LOCKS | {
    "config.yml", "ignore.yml", "catalogue.db", "catalogue.db.backups", "logs", "storage", "tmp",
}  # fmt: skip
"""What may lie beside the config when nothing runs."""
_DEFECTS = ("Traceback", "did not expect", "Logging error", "not documented")


@dataclass(frozen=True)
class Process:
    """A process of the program under test."""

    pid: int
    name: str
    command: bytes
    forked: bool
    """Whether its parent has the same command line."""


def processes(place: Path) -> list[Process]:
    """All that run with this folder as HOME, as what the program starts does; the oldest first."""
    mark = b"HOME=" + os.fsencode(place)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = _command(folder)
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            state, parent, *fields = rest.split()
        except OSError:  # another user's, or gone
            continue
        if state not in "ZX":
            forked = _command(folder.with_name(parent)) == command
            found.append((int(fields[17]), Process(int(folder.name), name, command, forked)))
    return [process for _, process in sorted(found, key=lambda one: (one[0], one[1].pid))]


def _command(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def words(text: str) -> list[str]:
    """Words that only a defect of the program makes it say."""
    return [f"it says {word!r}" for word in _DEFECTS if word in text]


def instant(home: Home, source: Path, copy: Path) -> list[str]:
    """What must hold whenever nothing runs: what lies at its place is whole, and is said so late."""
    lines = [f"not whole at its place: {os.fsdecode(path)!a}" for path in _not_whole(source, copy)]
    if is_complete(home):
        lines += [f"called complete, but {line}" for line in compare_trees(source, copy)]
    elif EPN in home.ignored:
        lines.append("in ignore.yml, but not complete in the catalogue")
    return lines


def is_complete(home: Home) -> bool:
    """Whether the catalogue calls the copy complete."""
    return any(row[0] for row in _rows(home, "SELECT completed FROM copies"))


def end(home: Home, source: Path, copy: Path, remote: Server, *, by_portal: bool) -> list[str]:
    """What must hold after the undisturbed run; `by_portal`: of mxsync, which keeps ignore.yml."""
    lines = compare_trees(source, copy)
    lines += _left_over(home, copy, remote)
    if by_portal and EPN not in home.ignored:
        lines.append("complete, but not in ignore.yml")
    return lines or _catalogue(home, copy)


def _not_whole(source: Path, copy: Path) -> Iterator[bytes]:
    for path, is_folder in _walk(os.fsencode(copy)):
        if is_folder:
            continue
        there, here = os.fsencode(source) + b"/" + path, os.fsencode(copy) + b"/" + path
        same_time = os.lstat(there).st_mtime_ns // 10**9 == os.lstat(here).st_mtime_ns // 10**9
        if not same_time or not filecmp.cmp(there, here, shallow=False):
            yield path


def _walk(root: bytes) -> Iterator[tuple[bytes, bool]]:
    """All below a folder, and whether it is a folder, without what is on its way."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(_OURS)]
        below = os.path.relpath(folder, root)
        for name in (*folders, *files):
            yield os.path.normpath(os.path.join(below, name)), name in folders  # noqa: PTH118


def _left_over(home: Home, copy: Path, remote: Server) -> list[str]:
    lines = [f"process {one.pid} lives on: {one.command!r}" for one in processes(home.place)]
    found = {path.name for path in home.place.iterdir()}
    lines += [f"beside the config: {name}" for name in sorted(found - _EXPECTED)]
    lines += [f"locked: {name}" for name in _LOCKS & found if _is_locked(home.place / name)]
    lines += [f"a temporary file: {path}" for path in (home.place / "tmp").iterdir()]
    for folder in copy.relative_to(home.storage).parents:
        place = home.storage / folder
        on_the_way = copy.relative_to(place).parts[0]
        beside = {path.name for path in place.iterdir()} - {on_the_way}
        lines += [f"beside the copy: {folder / name}" for name in sorted(beside)]
    lines += [f"a claim of process {pid}" for (pid,) in _rows(home, "SELECT pid FROM claims")]
    return lines + _slots(remote)


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _slots(remote: Server) -> list[str]:
    """Whether the machine may make as many connections as if nothing had ever run."""
    taken: list[connection_limit.ConnectionPermit] = []
    try:
        for _ in range(remote.connections):
            taken.append(connection_limit.acquire(remote, Stop(), patient=False))
        return ["somebody waits for a connection"] if connection_limit.has_waiting(remote) else []
    except ListingError:
        return [f"only {len(taken)} of {remote.connections} connections are free"]
    finally:
        for slot in taken:
            slot.release()


def _catalogue(home: Home, copy: Path) -> list[str]:
    """Where the catalogue says something else than the disk."""
    lines = [f"integrity: {text}" for (text,) in _rows(home, "PRAGMA integrity_check")]
    lines.remove("integrity: ok")
    files: dict[bytes, tuple[int, int]] = {}
    folders = {b"."}
    for path, _ in _walk(os.fsencode(copy)):
        found = os.lstat(os.fsencode(copy) + b"/" + path)
        if stat.S_ISDIR(found.st_mode):
            folders.add(path)
        else:
            files[path] = (found.st_size, found.st_mtime_ns // 10**9)
    listed = {path: told for path, *told in _rows(home, "SELECT path, size, modified FROM files")}
    if {path: tuple(told) for path, told in listed.items()} != files:
        lines.append(f"{len(listed)} files listed, {len(files)} on the disk, or other ones")
    if {path for (path,) in _rows(home, "SELECT path FROM folders")} != folders:
        lines.append("other folders listed than on the disk")
    total = sum(size for size, _ in files.values())
    ((completed, *counts),) = _rows(home, "SELECT completed, files, bytes FROM copies")
    if completed is None or counts != [len(files), total]:
        lines.append(f"a copy completed {completed}, of {counts} and not {[len(files), total]}")
    verdicts = [verdict for (verdict,) in _rows(home, "SELECT verdict FROM attempts ORDER BY id")]
    if verdicts[-1:] != ["complete"]:
        lines.append(f"attempts {verdicts}")
    lines += [f"noted as due: {reason}" for (reason,) in _rows(home, "SELECT reason FROM due")]
    return lines + _held(home, copy, files)


def _held(home: Home, copy: Path, files: dict[bytes, tuple[int, int]]) -> list[str]:
    """Where what was proven of the files is not so."""
    held = _rows(home, "SELECT path, size, modified, sha256, damage FROM held")
    lines = [f"damage: {path!r}: {damage}" for path, *_, damage in held if damage is not None]
    if {path: (size, modified) for path, size, modified, *_ in held} != files:
        lines.append(f"{len(held)} files held, {len(files)} on the disk, or other ones")
    for path, _, _, digest, _ in held:
        with open(os.fsencode(copy) + b"/" + path, "rb") as file:  # noqa: PTH123 - bytes
            if digest not in {None, hashlib.file_digest(file, "sha256").digest()}:
                lines.append(f"another SHA-256 than on the disk: {path!r}")
    return lines


def _rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    """What the catalogue answers; asked in a copy, so that looking mends nothing."""
    with TemporaryDirectory() as folder:
        for path in home.place.glob("catalogue.db*"):
            if path.is_file() and not path.name.endswith("-shm"):
                shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / "catalogue.db")) as db:
            try:
                return db.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):  # killed before it was made
                    return []
                raise
