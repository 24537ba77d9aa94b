"""Files of a copy at home that the facility has lost. Pure.

The facility can lose data: files are deleted, or truncated. A listing that is smaller than the copy
does not make the copy smaller; it is reported to people.
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
    """The data of the copy when it was last complete."""
    listed: DataSize
    """The facility's present listing."""
    losses: Losses
    """File by file, as far as the catalogue knows which files the copy holds."""

    @property
    def summary(self) -> str:
        """One line for a log, a table or a mail: the losses, and the data of the copy."""
        losses = "; ".join(self._lost())
        listed = f"{count(self.listed.files, 'file')}, {size(self.listed.bytes)}"
        held = f"{count(self.held.files, 'file')}, {size(self.held.bytes)}"
        return f"the facility {losses}; it lists {listed}, the copy was complete with {held}"

    def _lost(self) -> list[str]:
        vanished, smaller = self.losses.gone, self.losses.smaller
        parts = []
        if vanished.files:
            parts.append(
                f"no longer lists {count(vanished.files, 'file')} ({size(vanished.bytes)})"
            )
        if smaller.files:
            files = count(smaller.files, "file")
            parts.append(f"lists {files} smaller than before (by {size(smaller.bytes)})")
        if not parts:
            return ["lists less than before"]
        sentences = [" and ".join(parts)]
        if self.losses.examples:
            names = ", ".join(
                escaped(path, limit=_MAX_EXAMPLE_LENGTH) for path in self.losses.examples
            )
            sentences.append(
                names if len(self.losses.examples) == self.losses.files else f"{names}, …"
            )
        if self.losses.damaged:
            damaged = count(self.losses.damaged, "file")
            sentences.append(f"of these, {damaged} missing or damaged at home, too")
        else:
            sentences.append("none of these is known to be missing or damaged at home")
        return sentences


def shrinking(held: DataSize, listed: DataSize, losses: Losses) -> Shrinking | None:
    """The losses in a new listing of a copy that was once complete; None: none.

    `held` is what the copy held when it was last complete, `listed` what the listing has. Both
    count where the catalogue does not know each file of a copy; new files hide lost ones there.
    """
    fewer = listed.files < held.files or listed.bytes < held.bytes
    if not losses.files and not fewer:
        return None
    return Shrinking(held, listed, losses)
