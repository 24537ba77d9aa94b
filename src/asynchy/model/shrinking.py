"""What the facility has lost of an experiment that a copy at home holds. Pure.

The facility can lose data: files are deleted, or truncated. A listing that is smaller than the copy
is no reason to make the copy smaller; people have to hear of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from asynchy.model.experiment import DataSize
from asynchy.model.formatting import count, escaped, size

_MAX_EXAMPLE_LENGTH = 100  # characters
"""Characters of a path that is named as an example."""


@dataclass(frozen=True)
class Losses:
    """Files that a copy was found to hold and that the facility does not list as they were."""

    gone: DataSize
    """Files that are no longer listed, and their bytes."""
    smaller: DataSize
    """Files that are listed with fewer bytes, and by how many fewer in all."""
    damaged: int
    """Files among them that are missing or damaged at home, too."""
    examples: tuple[bytes, ...]
    """Paths of some of them, relative to the experiment's folder, in order."""

    @property
    def files(self) -> int:
        """How many files they are."""
        return self.gone.files + self.smaller.files


NO_LOSSES = Losses(DataSize(0, 0), DataSize(0, 0), 0, ())


@dataclass(frozen=True)
class Shrinking:
    """A listing with less than the copy holds."""

    held: DataSize
    """What the copy held when it was last complete."""
    listed: DataSize
    """What the facility lists now."""
    losses: Losses
    """File by file, as far as the catalogue knows which files the copy holds."""

    @property
    def summary(self) -> str:
        """One line for a log, a table, a mail: what the facility lost, what we hold."""
        lost = "; ".join(self._lost())
        there = f"{count(self.listed.files, 'file')}, {size(self.listed.bytes)}"
        here = f"{count(self.held.files, 'file')}, {size(self.held.bytes)}"
        return f"the facility {lost}; it lists {there}, the copy was complete with {here}"

    def _lost(self) -> list[str]:
        gone, smaller = self.losses.gone, self.losses.smaller
        parts = []
        if gone.files:
            parts.append(f"no longer lists {count(gone.files, 'file')} ({size(gone.bytes)})")
        if smaller.files:
            files = count(smaller.files, "file")
            parts.append(f"lists {files} smaller than before (by {size(smaller.bytes)})")
        if not parts:
            return ["lists less than before"]
        told = [" and ".join(parts)]
        if self.losses.examples:
            names = ", ".join(
                escaped(path, limit=_MAX_EXAMPLE_LENGTH) for path in self.losses.examples
            )
            told.append(names if len(self.losses.examples) == self.losses.files else f"{names}, …")
        if self.losses.damaged:
            bad = count(self.losses.damaged, "file")
            told.append(f"of these, {bad} missing or damaged at home, too")
        else:
            told.append("none of these is known to be missing or damaged at home")
        return told


def shrinking(held: DataSize, listed: DataSize, losses: Losses) -> Shrinking | None:
    """What to report of a new listing of a copy that was complete once; None: nothing is lost.

    `held` is what the copy held when it was last complete, `listed` what the listing has. Both
    count where the catalogue does not know each file of a copy; new files hide lost ones there.
    """
    fewer = listed.files < held.files or listed.bytes < held.bytes
    if not losses.files and not fewer:
        return None
    return Shrinking(held, listed, losses)
