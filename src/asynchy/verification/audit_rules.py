"""What an audit reads, a share of the files at a time, and what that says of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from asynchy.model.copy_record import CopyRecord
from asynchy.model.verification import CopyFile, Damage


@dataclass(frozen=True)
class SamplePartition:
    """The files that one audit of several reads; all of them together read each file once."""

    of: int
    """How many audits that takes."""
    turn: int
    """Which of them this is."""

    @classmethod
    def of_percent(cls, percent: float, audits: int) -> SamplePartition:
        """The share of about so much, after so many audits of the copy."""
        parts = max(1, round(100 / percent))
        return cls(parts, audits % parts)

    def takes(self, path: bytes) -> bool:
        """Whether a file is in it."""
        return zlib.crc32(path) % self.of == self.turn


def merged(
    held: Iterable[CopyFile], there: Iterable[bytes]
) -> Iterator[tuple[CopyFile | None, bytes | None]]:
    """The files that should be there with those that are, both in order of path.

    A file that is missing comes with None instead of its path, one that is too many with None
    instead of what is held.
    """
    files, paths = iter(held), iter(there)
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
    """What the bytes of a file say of it."""

    damage: Damage | None
    """None: it is what it was."""
    new_digest: bytes | None = None
    """It had no digest; this one is to be kept."""


def finding(file: CopyFile, sha256: bytes | None, modified: int | None) -> AuditFinding:
    """What is said of a file by its SHA-256 and time at home; None: it is of another size.

    A file of which no digest is known is taken for good if it has the time that it had. One of
    another size or time was changed by a person; other bytes at the same size and time are damage.
    """
    if sha256 is not None and sha256 == file.sha256:
        return AuditFinding(None)
    if sha256 is None or modified is None or not file.recorded.has_time(modified):
        return AuditFinding(Damage.EDITED)
    return AuditFinding(None, sha256) if file.sha256 is None else AuditFinding(Damage.CHANGED)


def in_order(kept: Sequence[CopyRecord]) -> list[CopyRecord]:
    """The copies in the order in which they are audited: the one that waited longest comes first.

    So an audit that is stopped night after night gets around all the same. Numbers tell whose turn
    it is, and no times: a copy that was audited by a wrong clock would wait for years.
    """
    return sorted(kept, key=lambda item: item.last_audit)
