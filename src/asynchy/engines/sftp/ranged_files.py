"""Files that are fetched in ranges: begun, noted, and put in their places by one process alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from asynchy.engines.chunks import Chunk, Extent, WorkUnit, aligned
from asynchy.engines.placement import Placement
from asynchy.engines.sftp import partial_files
from asynchy.engines.sftp.partial_files import Part
from asynchy.localfs.copy_tree import CopyTree
from asynchy.localfs.mode_and_time import TimeNotHeld
from asynchy.localfs.place_trial import is_about_one_place
from asynchy.localfs.scratch_folder import Scratch
from asynchy.model.experiment import Entry
from asynchy.model.formatting import escaped

log = logging.getLogger(__name__)


class RangedFiles:
    """The files that are fetched in ranges: begun, noted, and put in their places."""

    def __init__(
        self, scratch: Scratch, copy_tree: CopyTree, placement: Placement, *, alignment: int = 1
    ) -> None:
        """See what is there; what is gone on with begins and ends at multiples of `alignment`."""
        self._scratch = scratch.descriptor
        self._copy_tree = copy_tree
        self._alignment = alignment
        self._placement = placement
        self._parts = {part.path: part for part in partial_files.ours_alone(self._scratch)}
        self.existing: dict[bytes, Sequence[Extent]] = {
            path: self.there(path) for path in self._parts
        }
        """What was there of each file when this run began."""
        self._obsolete = set(self._parts)
        self._shared: set[bytes] = set()

    def completes(self, entry: Entry) -> bool:
        """See what there is of a file that is missing; if it is all of it, put it in its place."""
        part = self._parts.get(entry.path)
        if part is None:
            return False
        self._obsolete.discard(entry.path)
        if not part.is_of(entry):
            log.info("%s has changed at the facility; starting over", escaped(entry.path))
            self._drop(part)
            return False
        log.info("%s goes on where it was", escaped(entry.path))
        if part.is_whole:
            self._finish(part, entry)
            return True
        return False

    def prepared(self, units: Iterable[WorkUnit]) -> Iterator[WorkUnit]:
        """The work units, each once there is a partial file for every range in it."""
        for unit in units:
            for chunk in unit.chunks:
                if not chunk.whole and chunk.entry.path not in self._parts:
                    part = partial_files.begin(self._scratch, chunk.entry)
                    self._parts[chunk.entry.path] = part
            yield unit

    def durable(self, chunk: Chunk, extents: Sequence[Extent]) -> bool:
        """Note what is durable of a file; once that is all of it, put it in its place.

        Whether it was. Files that come at one go are put there by their stream.
        """
        if chunk.whole:
            return False
        self.keep(chunk.entry.path, extents)
        return self.finish(chunk.entry)

    def there(self, path: bytes) -> list[Extent]:
        """What is durable of a file, as far as it can be gone on with."""
        part = self._parts.get(path)
        return [] if part is None else list(aligned(part.extents, self._alignment, part.size))

    def keep(self, path: bytes, extents: Sequence[Extent]) -> None:
        """Note what is durable of a file to which somebody may still write."""
        if extents and (part := self._parts.get(path)) is not None:
            part.note(extents)

    def finish(self, entry: Entry) -> bool:
        """Put a file to which nobody writes any more in its place if it is whole; whether it was.

        A file that a lost host may still write to is copied first.
        """
        part = self._parts.get(entry.path)
        if part is None or not part.is_whole:
            return False
        if entry.path in self._shared:
            part.renew()
        return self._finish(part, entry)

    def share(self, path: bytes) -> None:
        """A host that was lost may still write to a file (docs/decisions/0058)."""
        self._shared.add(path)

    def drop_obsolete(self) -> None:
        """Remove the parts of files that are not missing, or not there, any more."""
        for path in self._obsolete:
            self._drop(self._parts[path])

    def close(self) -> None:
        """Let go of the journals."""
        for part in self._parts.values():
            part.close()

    def _drop(self, part: Part) -> None:
        part.drop()
        del self._parts[part.path]
        self.existing.pop(part.path, None)

    def _finish(self, part: Part, entry: Entry) -> bool:
        """Put a file in its place; if it has none, what was fetched stays for the next run."""
        try:
            self._copy_tree.place(self._scratch, part.name, entry)
        except TimeNotHeld as error:
            self._placement.refuse(entry.path, error)
        except OSError as error:
            if not is_about_one_place(error, self._scratch):
                raise
            self._placement.refuse(entry.path, error)
            return False
        self._drop(part)
        return True
