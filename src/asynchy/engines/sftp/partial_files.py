"""Files that are fetched in ranges: the data, and a journal beside it of the ranges that arrived.

The journal's head names the file at the facility with its size and time; a line is added for each
range once its data is durable. Size and time of the data do not show which ranges have arrived.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from asynchy.engines.chunks import Extent, joined, missing
from asynchy.localfs.copy_tree import STAGING
from asynchy.localfs.scratch_folder import LOCK
from asynchy.localfs.shard_folders import SHARDS, fence
from asynchy.model import heartbeat
from asynchy.model.experiment import Entry

_HEAD = re.compile(
    rb"asynchy part 1 ([0-9]{1,19}) (-?[0-9]{1,19}) ((?:[0-9a-f]{2})+) ([0-9a-f]{8})"
)
_LINE = re.compile(rb"([0-9]{1,19}) ([0-9]{1,19}) ([0-9a-f]{8})")
_JOURNAL = ".journal"
_NEW = ".new"
_COPIED = 4 << 20
"""Bytes."""


@dataclass
class Part:
    """A file on its way; made by `begin` or found by `find`. Methods raise OSError."""

    scratch: int
    """Descriptor of the folder that it is in."""
    path: bytes
    size: int
    modified: int
    extents: list[Extent] = field(default_factory=list)
    """The ranges that are durable, as `joined` joins them."""
    _journal: int | None = None

    @property
    def name(self) -> str:
        """The name of the data, in the scratch folder."""
        return name_of(self.path)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there."""
        return next(missing(self.size, self.extents), None) is None

    def is_of(self, entry: Entry) -> bool:
        """Whether it is a part of this file, as it is at the facility now."""
        return (self.path, self.size, self.modified) == (entry.path, entry.size, entry.modified)

    def note(self, extents: Iterable[Extent]) -> None:
        """Record that these are durable."""
        lines = []
        for offset, length in extents:
            self.extents = joined(self.extents, (offset, length))
            lines.append(_signed(b"%d %d" % (offset, length)))
        if self._journal is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._journal = os.open(self.name + _JOURNAL, flags, dir_fd=self.scratch)
        # Not flushed: the streams flush the file system all the time, and a line that is lost in a
        # crash costs only its range.
        os.write(self._journal, b"".join(lines))

    def renew(self) -> None:
        """Copy what is durable to a new file, which takes its place.

        Whoever still has the old one open writes to a file that nobody will read.
        """
        new = self.name + _NEW
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        source = os.open(self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.scratch)
        try:
            target = os.open(new, flags, 0o600, dir_fd=self.scratch)
            try:
                for extent in self.extents:
                    _copy(source, target, extent)
                os.fsync(target)
            finally:
                os.close(target)
        finally:
            os.close(source)
        os.rename(new, self.name, src_dir_fd=self.scratch, dst_dir_fd=self.scratch)

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def drop(self) -> None:
        """Remove it; the journal first: without it the data are useless."""
        self.close()
        for name in (self.name + _JOURNAL, self.name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.scratch)


def name_of(path: bytes) -> str:
    """The name that a file has in the scratch folder while it is on its way."""
    return hashlib.blake2b(path, digest_size=20).hexdigest()


def begin(scratch: int, entry: Entry) -> Part:
    """Make the data file, empty, and the journal of a file of which nothing has arrived."""
    part = Part(scratch, entry.path, entry.size, entry.modified)
    part.drop()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(part.name, flags, 0o600, dir_fd=scratch))
    journal = os.open(part.name + _JOURNAL, flags | os.O_APPEND, 0o600, dir_fd=scratch)
    part._journal = journal
    os.write(journal, head(part.path, part.size, part.modified))
    os.fdatasync(journal)
    return part


def ours_alone(scratch: int) -> list[Part]:
    """The parts that earlier runs left, once no host of such a run can write to them any more."""
    shared = fence(scratch)
    found = list(find(scratch))
    if shared:
        for part in found:
            part.renew()
    return found


def find(scratch: int) -> Iterator[Part]:
    """The partial files that earlier runs left in a scratch folder; useless ones are removed."""
    names = set(os.listdir(scratch)) - {LOCK, STAGING, SHARDS}
    for name in sorted(names):
        if not name.endswith(_JOURNAL):
            if name + _JOURNAL not in names:
                os.unlink(name, dir_fd=scratch)
            continue
        part = _read(scratch, name.removesuffix(_JOURNAL))
        if part is None:
            for leftover in (name, name.removesuffix(_JOURNAL)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(leftover, dir_fd=scratch)
        else:
            yield part


def _copy(source: int, target: int, extent: Extent) -> None:
    offset, length = extent
    while length:
        heartbeat.beat()
        block = os.pread(source, min(length, _COPIED), offset)
        if not block:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done = os.pwrite(target, block, offset)
        offset, length = offset + done, length - done


def head(path: bytes, size: int, modified: int) -> bytes:
    """The first line of a journal."""
    return _signed(b"asynchy part 1 %d %d %s" % (size, modified, path.hex().encode()))


def parse(journal: bytes) -> tuple[bytes, int, int, list[Extent]] | None:
    """Path, size, time and durable ranges, from a journal; None if its head is damaged.

    Damaged lines, such as the last one after a crash, are ignored.
    """
    head_line, *lines = journal.split(b"\n")
    match = _HEAD.fullmatch(head_line)
    if match is None or not _is_signed(head_line):
        return None
    size = int(match[1])
    extents: list[Extent] = []
    for line in lines:
        extent_match = _LINE.fullmatch(line)
        if (
            extent_match is not None
            and _is_signed(line)
            and int(extent_match[1]) + int(extent_match[2]) <= size
        ):
            extents = joined(extents, (int(extent_match[1]), int(extent_match[2])))
    return bytes.fromhex(match[3].decode("ascii")), size, int(match[2]), extents


def _read(scratch: int, name: str) -> Part | None:
    try:
        data = os.stat(name, dir_fd=scratch, follow_symlinks=False)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(name + _JOURNAL, flags, dir_fd=scratch), "rb") as file:  # noqa: PTH123
            parsed = parse(file.read())
    except OSError:
        return None
    if parsed is None or not stat.S_ISREG(data.st_mode):
        return None
    path, size, modified, extents = parsed
    if name_of(path) != name or any(sum(extent) > data.st_size for extent in extents):
        return None
    return Part(scratch, path, size, modified, extents)


def _signed(line: bytes) -> bytes:
    return b"%s %08x\n" % (line, zlib.crc32(line))


def _is_signed(line: bytes) -> bool:
    text, _, checksum = line.rpartition(b" ")
    return b"%08x" % zlib.crc32(text) == checksum
