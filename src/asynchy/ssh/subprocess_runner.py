"""Child processes that never block us, are stopped at once, and never outlive us."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from asynchy.model import heartbeat
from asynchy.model.cancellation import Stop
from asynchy.ssh.hang_detector import HangDetector

_POLL_INTERVAL = 0.2  # seconds
"""Seconds between two looks at the wish to stop."""
_KILL_DELAY = 5.0  # seconds
"""Seconds between SIGTERM and SIGKILL; rsync uses them to keep its partial file."""
_PIPE_TIMEOUT = 2.0  # seconds
"""Seconds that grandchildren may hold our pipes once the child is gone."""
_MAX_LINE_BYTES = 1 << 20
_LINE_END = re.compile(rb"\r?\n|\r(?!\n)")
_NUL = re.compile(rb"\0")
_TAIL_LINES = 40
_SHIM = Path(__file__).with_name("pdeathsig_exec.py")

_maker = ThreadPoolExecutor(1, "maker")

Line = Callable[[bytes], None]


@dataclass(frozen=True)
class ProcessResult:
    """How a child process ended."""

    code: int
    """Exit code; minus the signal's number where a signal ended it."""
    stderr: str
    """The last lines of stderr."""
    stopped: bool
    """Whether we ended it, because we were asked to stop."""
    was_silent: bool = False
    """Whether we ended it, because it had no output for too long."""
    hung_process: str | None = None
    """The process that hung, as text for people, if we ended it for that."""
    waited: float = 0.0
    """Seconds that it did."""


def state_of(pid: int) -> str:
    """The state that blocks a process, as the kernel shows it: proc(5); empty if none does.

    A process that waits for a file system that hangs cannot be killed before that answers.
    """
    states = {"T": "it is stopped", "t": "it is traced", "D": "it waits for a disk"}
    return states.get(_state_letter(pid), "")


def is_stopped(pid: int) -> bool:
    """Whether a process has been stopped by a signal, or by who traces it."""
    return _state_letter(pid) in {"T", "t"}


def _state_letter(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def bound_to_parent(
    command: Sequence[str], *, parent: int = 0, number: signal.Signals = signal.SIGTERM
) -> list[str]:
    """The command line that runs the command so that it gets a signal when its parent dies."""
    return [sys.executable, "-I", "-S", str(_SHIM), str(int(number)), str(parent), *command]


def start(
    command: Sequence[str], *, number: signal.Signals = signal.SIGTERM, **streams: Any
) -> subprocess.Popen[bytes]:
    """Start a process that may outlive the thread that wants it, but not this process.

    Its parent's death means that of the thread that made it: prctl(2). So one thread that stays
    until the end makes them all. `streams`: as for `Popen`.
    """
    bound = bound_to_parent(command, parent=os.getpid(), number=number)

    def start_process() -> subprocess.Popen[bytes]:
        return subprocess.Popen(bound, start_new_session=True, bufsize=0, **streams)

    return _maker.submit(start_process).result()


def run(  # noqa: PLR0913 - most of them have defaults that nearly everyone wants
    command: Sequence[str],
    *,
    stop: Stop,
    on_stdout: Line,
    on_stderr: Line,
    environment: Mapping[str, str],
    stdin: bytes = b"",
    grace: float = _KILL_DELAY,
    idle_timeout: float | None = None,
    timeout: float | None = None,
    wakes: float | None = None,
    nul_ends: bool = False,
    folder: int | None = None,
    inherited: Mapping[str, str] | None = None,
) -> ProcessResult:
    """Run a command to its end, handing over each line of its output without its end.

    A carriage return ends a line, too: that is how rsync overwrites its progress. If `nul_ends`,
    only a NUL ends a line of stdout. Both streams are drained as they come. When `stop` is asked,
    the whole process group gets SIGTERM, and SIGKILL after `grace` seconds or when asked twice.
    What a callback raises ends the child too and is raised here. A line is never longer than 1
    MiB: longer ones come in pieces. `stdin` is what the command reads. It is ended after
    `idle_timeout` seconds without any output, and if one of its processes does nothing at all for
    `timeout` seconds: see `HangDetector`, also for `wakes`. One that cannot be killed, because it
    waits in the kernel, is left to itself. `folder` is a folder that is open: the command's working
    directory. `inherited` takes the place of this process's environment, to which `environment` is
    added.
    """
    process = subprocess.Popen(
        bound_to_parent(command, parent=os.getpid()),
        cwd=None if folder is None else f"/proc/self/fd/{folder}",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **(os.environ if inherited is None else inherited),
            **environment,
            **({} if folder is None else _same_programs()),
        },
        start_new_session=True,
        bufsize=0,
    )
    tail: deque[bytes] = deque(maxlen=_TAIL_LINES)

    def keep_and_hand_over(line: bytes) -> None:
        tail.append(line[:2000])
        on_stderr(line)

    hang_detector = None if timeout is None else HangDetector(process.pid, timeout, wakes)
    watch = _Watch(process, stop, grace, idle_timeout, hang_detector)
    try:
        watch.drain(
            _LineBuffer(on_stdout, _NUL if nul_ends else _LINE_END),
            _LineBuffer(keep_and_hand_over, _LINE_END),
            memoryview(stdin),
        )
    finally:
        watch.end()
    text = b"\n".join(tail).decode("utf-8", "backslashreplace")
    waited = hang_detector.limit if hang_detector is not None else 0.0
    return ProcessResult(
        watch.code, text, watch.ended_by_us, watch.was_silent, watch.hung_process, waited
    )


def _same_programs() -> dict[str, str]:
    """A PATH that leads to the same programs from any folder: some have `.` in theirs."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return {"PATH": os.pathsep.join(map(os.path.abspath, folders))}


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _written(stream: IO[bytes], data: memoryview) -> memoryview:
    """Write what is taken; the rest, which is none if nobody reads any more."""
    if not data:
        return data
    try:
        return data[os.write(stream.fileno(), data) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return data[:0]


class _Watch:
    """Drains the output of a running child and passes a stop on to its process group."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stop: Stop,
        grace: float,
        idle_timeout: float | None,
        hang_detector: HangDetector | None,
    ) -> None:
        self._hang_detector = hang_detector
        self._checked_at = self._killed_at = 0.0
        self.hung_process: str | None = None
        self._process = process
        self._stop = stop
        self._grace = grace
        self._idle_timeout = idle_timeout
        self._last_output = time.monotonic()
        self._asked_at: float | None = None
        self._gone_at: float | None = None
        self.ended_by_us = False
        self.was_silent = False

    def drain(self, stdout: _LineBuffer, stderr: _LineBuffer, stdin: memoryview) -> None:
        """Write all of `stdin` as it is taken, and hand over both outputs as they come."""
        out, err = _stream(self._process.stdout), _stream(self._process.stderr)
        stdin_pipe = _stream(self._process.stdin)
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ, stdout)
            selector.register(err, selectors.EVENT_READ, stderr)
            os.set_blocking(stdin_pipe.fileno(), False)
            selector.register(stdin_pipe, selectors.EVENT_WRITE)
            reading = {out, err}
            while reading and not self._lingering():
                for key, _ in selector.select(_POLL_INTERVAL):
                    if key.fileobj is stdin_pipe:
                        stdin = _written(stdin_pipe, stdin)
                        if not stdin:
                            selector.unregister(stdin_pipe)
                            stdin_pipe.close()
                        continue
                    data = os.read(key.fd, 1 << 16)
                    self._last_output = time.monotonic()
                    key.data.feed(data)
                    if not data:
                        selector.unregister(key.fileobj)
                        reading.discard(key.fileobj)
                self._check_limits()
        stdin_pipe.close()
        while self._process.poll() is None and not self._unkillable:
            self._check_limits()  # it closed its output but goes on
            time.sleep(_POLL_INTERVAL / 4)

    def end(self) -> None:
        """End every process that is left of the group."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._grace)
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PIPE_TIMEOUT)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            _stream(stream).close()

    @property
    def code(self) -> int:
        """Its exit code; if it cannot be killed, the code of a killed process."""
        code = self._process.returncode
        return -signal.SIGKILL if code is None else code

    @property
    def _unkillable(self) -> bool:
        return bool(self._killed_at) and time.monotonic() - self._killed_at > _PIPE_TIMEOUT

    def _hangs(self, now: float) -> bool:
        """Whether one of the processes hangs; checked now and then while there is no output."""
        if self._hang_detector is None or self.hung_process is not None:
            return self.hung_process is not None
        every = self._hang_detector.limit / 8
        if now - max(self._last_output, self._checked_at) > every:
            self._checked_at = now
            self.hung_process = self._hang_detector.find_hung()
        return self.hung_process is not None

    def _check_limits(self) -> None:
        """Stop the process if a stop was requested, or if it had no output for too long."""
        now = time.monotonic()
        if self._idle_timeout is not None and now - self._last_output > self._idle_timeout:
            self.was_silent = self.was_silent or self._process.poll() is None
        if not (self._stop.requested or self.was_silent or self._hangs(now)):
            if self._idle_timeout is not None or self._hang_detector is not None:
                heartbeat.beat()
            return
        if self._asked_at is None:
            self._asked_at = now
            self.ended_by_us = self._stop.requested and self._process.poll() is None
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)  # a stopped process gets no signal but SIGKILL
        elif self._stop.forced or now - self._asked_at > self._grace:
            self._signal(signal.SIGKILL)
            self._killed_at = self._killed_at or now

    def _lingering(self) -> bool:
        if self._unkillable:
            return True
        if self._process.poll() is None:
            return False
        self._gone_at = self._gone_at or time.monotonic()
        return time.monotonic() - self._gone_at > _PIPE_TIMEOUT

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class _LineBuffer:
    """Bytes in, whole lines out."""

    def __init__(self, hand_over: Line, end: re.Pattern[bytes]) -> None:
        self._hand_over = hand_over
        self._end = end
        self._parts: list[bytes] = []
        """Of the line that has no end yet; joined once, however many they are."""

    def feed(self, data: bytes) -> None:
        """Take what was read; nothing more means the end of the stream."""
        first, *others = self._end.split(data)
        self._parts.append(first)
        lines = []
        if others or not data or sum(map(len, self._parts)) > _MAX_LINE_BYTES:
            line = b"".join(self._parts)
            lines = [line] if line or others else []
            self._parts = others[-1:]
        lines += others[:-1]
        for line in lines:
            for start in range(0, max(1, len(line)), _MAX_LINE_BYTES):
                self._hand_over(line[start : start + _MAX_LINE_BYTES])
