"""A time limit for Python code of others, such as a loop in a site's template."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc


class TookTooLong(Exception):
    """It was ended."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End the block after `seconds`, by raising TookTooLong in this thread.

    It comes between two steps of Python's own: what one call of C does is not ended (a power with
    a million digits), and a signal would come in the main thread alone.

    Raises:
        TookTooLong: the time limit has passed.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    timed_out = False

    def end() -> None:
        with lock:
            if not timed_out:
                _raise_in(thread, ctypes.py_object(TookTooLong))

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except TookTooLong as error:
        error.args = (f"it takes longer than {seconds:.0f} s",)
        raise
    finally:
        with lock:
            timed_out = True
            _raise_in(thread, None)  # one that is on its way
        timer.cancel()
