"""Reads files at home again in several threads: their SHA-256, or why it could not be computed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from asynchy.errors import Stopped
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy
from asynchy.model.verification import CopyFile, Damage, batches

_BUFFER_BYTES = 1 << 20
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""Nothing is there, or something else does: a link, or a socket."""
_MAX_BATCH_FILES = 64
"""Files that a thread takes at a time at most."""
_MAX_BATCH_BYTES = 32 << 20
"""Bytes that it takes at a time, unless one file has more."""
_THREADS = 4
_BURST_SECONDS = 0.2
"""Seconds of reading that may be made up for."""


@dataclass(frozen=True)
class HashResult:
    """The result of reading a file again."""

    file: CopyFile
    sha256: bytes | None
    """Of its bytes; None if there is none, for the reason below."""
    damage: Damage | None = None
    """It is not there, or is of another size."""
    problem: str | None = None
    """Why it could not be read."""
    modified: int | None = None
    """Its time in seconds since 1970 in UTC; None if it is not there."""


def threads() -> int:
    """How many threads read at a time: no more than pay."""
    return min(_THREADS, len(os.sched_getaffinity(0)))


class Throttle:
    """A limit in bytes a second, for all threads together."""

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._used_until = 0.0

    def wait_for(self, count: int, stop: Stop) -> None:
        """Wait until a number of bytes more may be read, or a stop is asked for."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            begin = max(self._used_until, now - _BURST_SECONDS)
            self._used_until = begin + count / self._rate
        if begin > now:
            stop.wait(begin - now)


@dataclass(frozen=True)
class Reader:
    """Reads the files of one copy."""

    copy: Copy
    stop: Stop
    threads: int
    throttle: Throttle
    cold: bool
    """Read from the disks, not from the page cache, as far as the system lets us."""
    on_bytes: Callable[[int], None]
    """Called with the number of bytes that were read, from several threads."""

    def read(self, files: Iterable[CopyFile]) -> Iterator[HashResult]:
        """Read files; yields their results in order.

        Raises:
            Stopped: a stop was requested meanwhile.
            OSError: the copy's own folder cannot be opened.
        """
        pending: deque[Future[list[HashResult]]] = deque()
        stopped = threading.Event()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for batch in batches(files, _MAX_BATCH_FILES, _MAX_BATCH_BYTES):
                    pending.append(pool.submit(self._batch, batch, stopped))
                    if len(pending) > 3 * self.threads:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            finally:
                stopped.set()
                for future in pending:
                    future.cancel()

    def _batch(self, files: list[CopyFile], stopped: threading.Event) -> list[HashResult]:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        with SafeTree.of(self.copy) as tree:
            return [self._hash_file(tree, file, buffer, stopped) for file in files]

    def _hash_file(
        self, tree: SafeTree, file: CopyFile, buffer: memoryview, stopped: threading.Event
    ) -> HashResult:
        try:
            descriptor = tree.open(file.path)
            try:
                file_stat = os.fstat(descriptor)
                if not stat.S_ISREG(file_stat.st_mode):
                    return HashResult(file, None, Damage.MISSING)
                modified = file_stat.st_mtime_ns // 1_000_000_000
                if file_stat.st_size != file.size:
                    return HashResult(file, None, Damage.EDITED, modified=modified)
                sha256, read = self._digest(descriptor, file.size, buffer, stopped)
                now = os.fstat(descriptor)
                if read != file.size or now.st_mtime_ns != file_stat.st_mtime_ns:  # meanwhile
                    return HashResult(file, None, Damage.EDITED, modified=now.st_mtime_ns // 10**9)
                return HashResult(file, sha256, modified=modified)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return HashResult(file, None, Damage.MISSING)
            return HashResult(file, None, problem=error.strerror)

    def _digest(
        self, descriptor: int, size: int, buffer: memoryview, stopped: threading.Event
    ) -> tuple[bytes, int]:
        """The SHA-256 of a file, and how many bytes it is of.

        More than `size` are not read: a file may grow as fast as we read it.
        """
        if self.cold:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        sha256 = hashlib.sha256()
        total = 0
        while total <= size and (count := os.readv(descriptor, [buffer])):
            sha256.update(buffer[:count])
            total += count
            self.on_bytes(count)
            self.throttle.wait_for(count, self.stop)
            if self.stop.requested or stopped.is_set():
                raise Stopped("stopped")
        if self.cold:  # a nightly audit must not evict the data of others
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return sha256.digest(), total
