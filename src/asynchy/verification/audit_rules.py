"""The rules of an audit: which share of the files it reads, and the finding for each file."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from asynchy.model.copy_record import CopyRecord
from asynchy.model.verification import CopyFile, Damage


@dataclass(frozen=True)
class SamplePartition:
    """The share of files that one audit reads; `of` audits together read each file once."""

    of: int
    """How many audits that takes."""
    turn: int
    """Which of them this is."""

    @classmethod
    def of_percent(cls, percent: float, audits: int) -> SamplePartition:
        """A share of about `percent`, after `audits` audits of the copy."""
        parts = max(1, round(100 / percent))
        return cls(parts, audits % parts)

    def takes(self, path: bytes) -> bool:
        """Whether a file is in it."""
        return zlib.crc32(path) % self.of == self.turn


def merged(
    recorded: Iterable[CopyFile], paths: Iterable[bytes]
) -> Iterator[tuple[CopyFile | None, bytes | None]]:
    """The recorded files with the paths that exist, both in order of path.

    A missing file comes with None for its path, an unexpected path with None for the file.
    """
    files, paths = iter(recorded), iter(paths)
    file, path = next(files, None), next(paths, None)
    while file is not None or path is not None:
        if path is None or (file is not None and file.path < path):
            yield file, None
            file = next(files, None)
        elif file is None or path < file.path:
            yield None, path
            path = next(paths, None)
        else:
            yield file, path
            file, path = next(files, None), next(paths, None)


@dataclass(frozen=True)
class AuditFinding:
    """The finding of an audit for one file."""

    damage: Damage | None
    """None: it is unchanged."""
    new_digest: bytes | None = None
    """It had no digest; this one is to be kept."""


def finding(file: CopyFile, sha256: bytes | None, modified: int | None) -> AuditFinding:
    """The finding for a file, by its SHA-256 and time at home; None: it has another size.

    A file without a known digest counts as unchanged if it has the recorded time. A person changed
    one of another size or time; other bytes at the same size and time are damage.
    """
    if sha256 is not None and sha256 == file.sha256:
        return AuditFinding(None)
    if sha256 is None or modified is None or not file.recorded.has_time(modified):
        return AuditFinding(Damage.EDITED)
    return AuditFinding(None, sha256) if file.sha256 is None else AuditFinding(Damage.CHANGED)


def in_order(records: Sequence[CopyRecord]) -> list[CopyRecord]:
    """The copies in the order in which they are audited: the one that waited longest comes first.

    So an audit that is stopped every night still gets to all of them. The order is by number, not
    by time: a copy that was audited by a wrong clock would wait for years.
    """
    return sorted(records, key=lambda item: item.last_audit)
