"""One limit for a whole exchange with a server, however slowly it sends.

The time-out of a socket begins again with every byte: a server that sends a byte a second keeps a
reader for as long as it likes, in the headers as well as in the body.
"""

from __future__ import annotations

import io
import socket
import time
from typing import BinaryIO


class Deadline:
    """The moment at which an exchange has taken too long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; 0 if none are."""
        return max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether nothing more is to be waited for."""
        return self.left <= 0

    def bound(self, connection: socket.socket, silence: float) -> None:
        """Have the next call on a socket end by then, and after so many seconds of silence.

        Raises:
            TimeoutError: it has passed.
        """
        if self.passed:
            raise TimeoutError(f"it took longer than {self.seconds:.0f} s")
        connection.settimeout(min(silence, self.left))


class _Reading(io.RawIOBase):
    def __init__(
        self, connection: socket.socket, silence: float, deadline: Deadline, most: int | None
    ) -> None:
        self._connection = connection
        self._raw = connection.makefile("rb", buffering=0)
        self._silence = silence
        self._deadline = deadline
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        self._deadline.bound(self._connection, self._silence)
        read = self._raw.readinto(buffer)
        if self._left is not None:
            self._left -= read or 0
            if self._left < 0:
                raise OverflowError("it says too much")
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


def reader(
    connection: socket.socket, silence: float, deadline: Deadline, most: int | None = None
) -> BinaryIO:
    """What `connection.makefile("rb")` gives, but every read ends by the deadline.

    Its reads raise TimeoutError then, and after `silence` seconds without a byte; and OverflowError
    after `most` bytes (None: no limit).
    """
    return io.BufferedReader(_Reading(connection, silence, deadline, most))
