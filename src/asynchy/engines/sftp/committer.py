"""A thread beside a stream's: makes arrived files durable, puts them in place and reports them.

Flushing takes as long as the disk needs, and files that arrive meanwhile are flushed the next time:
the slower the disk, the more goes with one flush.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from asynchy.engines.chunks import Chunk, Extent, WorkUnit
from asynchy.engines.faults import Fault
from asynchy.engines.sftp.messages import Done, Durable, Event, Failed, Task
from asynchy.localfs.copy_tree import CopyTree, error_reason, flush
from asynchy.localfs.mode_and_time import TimeNotHeld
from asynchy.localfs.place_trial import is_about_one_place
from asynchy.model.file_times import tolerate
from asynchy.ssh.fork_server import Messages
from asynchy.ssh.sftp.pipelined_reader import FileRead

_POLL_INTERVAL = 0.2  # seconds


@dataclass(eq=False, kw_only=True)
class Fetch(FileRead):
    """A chunk on its way."""

    unit: int
    number: int
    """Of the chunk in its work unit."""
    chunk: Chunk
    written: int = 0
    """Bytes."""
    file: int = -1
    temporary: str = ""


@dataclass(frozen=True)
class _Item:
    """An extent that arrived; without one: the chunk has ended."""

    fetch: Fetch
    extent: Extent | None


class Committer:
    """Makes durable what a stream fetches. Its methods are for the stream's thread."""

    def __init__(self, task: Task, scratch: int, pipe: Messages) -> None:
        self.durable_bytes = 0
        """Bytes that are durable by now."""
        self._task = task
        self._scratch = scratch
        self._pipe = pipe
        self._sending = threading.Lock()
        self._items: list[_Item] = []
        self._batches: queue.SimpleQueue[list[_Item] | None] = queue.SimpleQueue()
        self._chunks: dict[int, int] = {}
        """By the number of a work unit: its chunks that have not ended."""
        self._error: OSError | None = None
        self._began: float | None = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """Send an event to the coordinator."""
        with self._sending:
            self._pipe.send(event)

    def expect(self, unit: WorkUnit) -> None:
        """A work unit is begun."""
        self._chunks[unit.number] = len(unit.chunks)

    def arrived(self, fetch: Fetch, extent: Extent) -> None:
        """An extent of a file that is cut was written."""
        self._items.append(_Item(fetch, extent))

    def fail(self, fetch: Fetch, fault: Fault, message: str, hint: str | None = None) -> None:
        """A chunk cannot be fetched; `ended` follows."""
        self.send(Failed(fetch.unit, fetch.number, fault, message, hint))

    def ended(self, fetch: Fetch) -> None:
        """A chunk was written, or has failed; a file has its temporary name."""
        self._items.append(_Item(fetch, None))

    def hand_over(self) -> None:
        """Hand over the collected items to be made durable.

        Raises:
            OSError: an earlier batch could not be made durable.
        """
        if self._error is not None:
            raise self._error
        if self._items:
            self._batches.put(self._items)
            self._items = []

    @property
    def busy_seconds(self) -> float:
        """Seconds since it began its present step; 0 if it is idle."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def finish(self, on_tick: Callable[[], None]) -> OSError | None:
        """Make the collected items durable and end; returns the error, if there was one.

        `on_tick` is called while waiting.
        """
        if self._items:
            self._batches.put(self._items)
        self._batches.put(None)
        while self._thread.is_alive():
            self._thread.join(_POLL_INTERVAL)
            on_tick()
        return self._error

    def _run(self) -> None:
        try:
            self._work()
        except OSError as error:
            self._error = error
        finally:
            self._began = None

    def _work(self) -> None:
        tolerate(self._task.time_tolerance)
        task = self._task
        tree = CopyTree(task.copy, task.replaced, task.modes, size_only=task.size_only)
        with tree as copy_tree:
            while (items := self._next_batch()) is not None:
                flush(self._scratch)
                self._commit(copy_tree, items)

    def _next_batch(self) -> list[_Item] | None:
        self._began = None
        items = self._batches.get()
        self._began = time.monotonic()
        if items is None:
            return None
        with contextlib.suppress(queue.Empty):
            while (more_items := self._batches.get_nowait()) is not None:
                items += more_items
            self._batches.put(None)
        return items

    def _commit(self, copy_tree: CopyTree, items: list[_Item]) -> None:
        extents: dict[int, dict[int, list[Extent]]] = defaultdict(lambda: defaultdict(list))
        files: dict[int, int] = defaultdict(int)
        ended_units: list[int] = []
        for item in items:
            self._began = time.monotonic()
            fetch = item.fetch
            unit_extents = extents[fetch.unit][fetch.number]
            if item.extent is not None:
                _append(unit_extents, item.extent)
                continue
            ended_units.append(fetch.unit)
            if fetch.chunk.whole and not fetch.failed and self._placed(copy_tree, fetch):
                unit_extents.append((0, fetch.chunk.length))
                files[fetch.unit] += 1
        for unit, by_chunk in extents.items():
            count = sum(
                length for chunk_extents in by_chunk.values() for _, length in chunk_extents
            )
            self.durable_bytes += count
            written = {
                number: chunk_extents for number, chunk_extents in by_chunk.items() if chunk_extents
            }
            if written:
                self.send(Durable(unit, files[unit], count, written))
        for unit in ended_units:
            self._chunks[unit] -= 1
            if not self._chunks[unit]:
                del self._chunks[unit]
                self.send(Done(unit))

    def _placed(self, copy_tree: CopyTree, fetch: Fetch) -> bool:
        try:
            copy_tree.place(self._scratch, fetch.temporary, fetch.chunk.entry)
        except TimeNotHeld as error:
            self.fail(fetch, Fault.NO_TIME, *error_reason(error))
        except OSError as error:
            if not is_about_one_place(error, self._scratch):
                raise
            self.durable_bytes += (
                fetch.chunk.length
            )  # it is of no use, but no longer at risk either
            self.fail(fetch, Fault.NOT_PLACED, *error_reason(error))
            return False
        return True


def _append(extents: list[Extent], extent: Extent) -> None:
    """Add an extent, to the last one where it goes on from there."""
    if extents and sum(extents[-1]) == extent[0]:
        extents[-1] = (extents[-1][0], extents[-1][1] + extent[1])
    else:
        extents.append(extent)
