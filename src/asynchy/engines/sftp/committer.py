"""What has arrived is made durable, put in its place, and told; by a thread beside the stream's.

Flushing takes as long as the disk needs, and what arrives meanwhile is flushed the next time: the
slower the disk, the more goes with one flush.
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

    bundle: int
    number: int
    """Of the chunk in its bundle."""
    piece: Chunk
    written: int = 0
    """Bytes."""
    file: int = -1
    temporary: str = ""


@dataclass(frozen=True)
class _Item:
    """An extent that arrived; without one: the piece has ended."""

    fetch: Fetch
    extent: Extent | None


class Committer:
    """Makes durable what a stream fetches. Its methods are for the stream's thread."""

    def __init__(self, task: Task, scratch: int, pipe: Messages) -> None:
        self.safe = 0
        """Bytes that are durable by now."""
        self._task = task
        self._scratch = scratch
        self._pipe = pipe
        self._speaking = threading.Lock()
        self._items: list[_Item] = []
        self._lots: queue.SimpleQueue[list[_Item] | None] = queue.SimpleQueue()
        self._pieces: dict[int, int] = {}
        """By the number of a bundle: its pieces that have not ended."""
        self._trouble: OSError | None = None
        self._began: float | None = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, event: Event) -> None:
        """Tell the coordinator."""
        with self._speaking:
            self._pipe.send(event)

    def expect(self, bundle: WorkUnit) -> None:
        """A bundle is begun."""
        self._pieces[bundle.number] = len(bundle.pieces)

    def arrived(self, fetch: Fetch, extent: Extent) -> None:
        """An extent of a file that is cut was written."""
        self._items.append(_Item(fetch, extent))

    def fail(self, fetch: Fetch, fault: Fault, words: str, hint: str | None = None) -> None:
        """A piece cannot be fetched; `ended` follows."""
        self.say(Failed(fetch.bundle, fetch.number, fault, words, hint))

    def ended(self, fetch: Fetch) -> None:
        """A piece was written, or has failed; a file is under its temporary name."""
        self._items.append(_Item(fetch, None))

    def hand_over(self) -> None:
        """Have made durable what was collected.

        Raises:
            OSError: what was handed over before could not be.
        """
        if self._trouble is not None:
            raise self._trouble
        if self._items:
            self._lots.put(self._items)
            self._items = []

    @property
    def standing(self) -> float:
        """Seconds since it began what it does now; 0 if it has nothing to do."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def finish(self, on_tick: Callable[[], None]) -> OSError | None:
        """Make durable what was collected and end; what went wrong, if anything did.

        `on_tick` is called while it is waited for.
        """
        if self._items:
            self._lots.put(self._items)
        self._lots.put(None)
        while self._thread.is_alive():
            self._thread.join(_POLL_INTERVAL)
            on_tick()
        return self._trouble

    def _run(self) -> None:
        try:
            self._work()
        except OSError as error:
            self._trouble = error
        finally:
            self._began = None

    def _work(self) -> None:
        tolerate(self._task.time_tolerance)
        task = self._task
        tree = CopyTree(task.copy, task.replaced, task.modes, size_only=task.size_only)
        with tree as home:
            while (items := self._next()) is not None:
                flush(self._scratch)
                self._settle(home, items)

    def _next(self) -> list[_Item] | None:
        self._began = None
        items = self._lots.get()
        self._began = time.monotonic()
        if items is None:
            return None
        with contextlib.suppress(queue.Empty):
            while (more := self._lots.get_nowait()) is not None:
                items += more
            self._lots.put(None)
        return items

    def _settle(self, home: CopyTree, items: list[_Item]) -> None:
        extents: dict[int, dict[int, list[Extent]]] = defaultdict(lambda: defaultdict(list))
        files: dict[int, int] = defaultdict(int)
        ended: list[int] = []
        for item in items:
            self._began = time.monotonic()
            fetch = item.fetch
            found = extents[fetch.bundle][fetch.number]
            if item.extent is not None:
                _append(found, item.extent)
                continue
            ended.append(fetch.bundle)
            if fetch.piece.whole and not fetch.failed and self._placed(home, fetch):
                found.append((0, fetch.piece.length))
                files[fetch.bundle] += 1
        for bundle, by_piece in extents.items():
            count = sum(length for some in by_piece.values() for _, length in some)
            self.safe += count
            there = {number: some for number, some in by_piece.items() if some}
            if there:
                self.say(Durable(bundle, files[bundle], count, there))
        for bundle in ended:
            self._pieces[bundle] -= 1
            if not self._pieces[bundle]:
                del self._pieces[bundle]
                self.say(Done(bundle))

    def _placed(self, home: CopyTree, fetch: Fetch) -> bool:
        try:
            home.place(self._scratch, fetch.temporary, fetch.piece.entry)
        except TimeNotHeld as error:
            self.fail(fetch, Fault.NO_TIME, *error_reason(error))
        except OSError as error:
            if not is_about_one_place(error, self._scratch):
                raise
            self.safe += fetch.piece.length  # it is of no use, but no longer at risk either
            self.fail(fetch, Fault.NOT_PLACED, *error_reason(error))
            return False
        return True


def _append(extents: list[Extent], extent: Extent) -> None:
    """Add an extent, to the last one where it goes on from there."""
    if extents and sum(extents[-1]) == extent[0]:
        extents[-1] = (extents[-1][0], extents[-1][1] + extent[1])
    else:
        extents.append(extent)
