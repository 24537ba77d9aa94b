#!/usr/bin/env python3
"""asyncssh's SFTP server in a process of its own, which tells lies of some experiments.

`lying_sftp.py HOST_KEY AUTHORIZED_KEYS` prints its port and serves until its standard input ends.
An experiment's folder may hold a file `.scenario` that names the lie. Its packets are always
right; what they say is not.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
from asyncssh import SFTPAttrs, SFTPName

FILE, FOLDER, LINK = 0o100644, 0o040755, 0o120777
THEN = 1_500_000_000


def told(
    name: bytes, mode: int = FILE, size: int = 7, modified: int = THEN, *, times: bool = True
) -> SFTPName:
    when = {"atime": modified, "mtime": modified} if times else {}
    return SFTPName(name, b"as ls -l says", SFTPAttrs(size=size, permissions=mode, **when))


class Lying(asyncssh.SFTPServer):
    """Serves this machine's files."""

    async def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        top, lie = self._lie(path)
        try:
            async for name in super().scandir(path):
                yield self._changed(lie, path, name)
        except (FileNotFoundError, NotADirectoryError):
            if not lie:
                raise
        if path == top:
            for name in self._invented(lie):
                yield name
        elif lie == "folder in folder" and path.endswith(b"/deeper"):
            yield told(b"deeper", FOLDER)
        if lie == "flips" and path == (top if _sub(top).is_symlink() else top + b"/sub"):
            _swap(top)

    def _lie(self, path: bytes) -> tuple[bytes, str]:
        """The experiment's folder that a path lies in, and what is lied about it."""
        parts = path.split(b"/")
        for count in range(2, len(parts) + 1):
            top = b"/".join(parts[:count])
            scenario = Path(os.fsdecode(top)) / ".scenario"
            if scenario.exists():
                return top, scenario.read_text()
        return path, ""

    def _changed(self, lie: str, path: bytes, name: SFTPName) -> SFTPName:
        attrs = name.attrs
        if lie.startswith("size ") and stat.S_ISREG(attrs.permissions or 0):
            by = lie.removeprefix("size ")
            attrs.size = max(0, (attrs.size or 0) + int(by)) if by[0] in "+-" else int(by)
        if lie.startswith("time ") and name.filename not in (b".", b".."):
            attrs.mtime = attrs.atime = int(lie.removeprefix("time "))
        if lie == "setuid":
            attrs.permissions = (attrs.permissions or 0) | 0o7777
        return name

    def _invented(self, lie: str) -> list[SFTPName] | _Endless:
        up = b"../" * 12
        outside = os.fsencode(os.environ["OUTSIDE"])
        inventions: dict[str, list[SFTPName]] = {
            "climbs": [told(b"../evil")],
            "climbs far": [told(up + outside[1:] + b"/evil")],
            "from the root": [told(outside + b"/evil")],
            "climbs later": [told(b"sub/../../evil")],
            "two dots": [told(b"..", FOLDER), told(b"..", FILE), told(b"..", LINK)],
            "one dot": [told(b".", FILE, 10**9), told(b".", LINK)],
            "NUL": [told(b"nul\0evil")],
            "no name": [told(b"")],
            "long name": [told(b"n" * 256)],
            "escape sequence": [told(b"\x1b]0;owned\x07\x1b[2J\x9b5n/evil")],
            "link and folder": [told(b"zz.h5", LINK), told(b"zz.h5", FOLDER), told(b"zz.h5", LINK)],
            "twice": [told(b"two.h5", size=7), told(b"two.h5", size=9)],
            "no size": [SFTPName(b"f", b"f", SFTPAttrs(permissions=FILE, atime=THEN, mtime=THEN))],
            "no time": [told(b"f", times=False)],
            "special": [told(b"disk", 0o060660), told(b"fifo", 0o010666), told(b"odd", 0o170000)],
        }  # fmt: skip
        if lie == "without end":
            return _Endless()
        if lie == "folder in folder":
            return [told(b"deeper", FOLDER)]
        return inventions.get(lie, [])

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        _, lie = self._lie(os.fsencode(file_obj.name))  # type: ignore[attr-defined]
        if lie == "silent":
            await asyncio.sleep(3600)
        found = super().read(file_obj, offset, size)
        assert isinstance(found, bytes)
        if lie == "more and more":
            return found.ljust(size, b"x")
        if lie == "a byte at a time":
            return found[:1]
        return found


class _Endless:
    """Names without an end."""

    def __iter__(self) -> _Endless:
        self._at = 0
        return self

    def __next__(self) -> SFTPName:
        self._at += 1
        return told(b"f%09d" % self._at)


def _swap(top: bytes) -> None:
    """A folder that was listed becomes a link out of the experiment; once told, that a folder."""
    folder = _sub(top)
    away = folder.with_name(".sub")
    if folder.is_symlink():
        folder.unlink()
        away.rename(folder)
    else:
        folder.rename(away)
        folder.symlink_to(os.environ["OUTSIDE"])


def _sub(top: bytes) -> Path:
    return Path(os.fsdecode(top), "sub")


async def main() -> None:
    server = await asyncssh.listen(
        "127.0.0.1", 0,
        server_host_keys=[sys.argv[1]],
        authorized_client_keys=sys.argv[2],
        sftp_factory=Lying,
    )  # fmt: skip
    sys.stdout.write(f"{server.get_port()}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
