#!/usr/bin/env python3
"""An SFTP server that does as a scenario says, run in place of ssh; it shares no code with ours.

`SCENARIO` names it. `invented`: a tree of `FOLDERS` folders with `FILES` files each, answered in
rounds: all that the client has sent is taken until it is quiet, then all is answered; the number of
rounds goes to the file `ROUNDS`; there a client is quiet that has nothing to do, however long a busy
machine lets it wait. Every other scenario is a server that misbehaves.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import time
from pathlib import Path

QUIET = 0.05 if "ROUNDS" in os.environ else 0.001
PACKETS = {1: "init", 4: "close", 11: "opendir", 12: "readdir", 16: "realpath", 200: "extended"}
FOLDER, FILE = 0o040755, 0o100644


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def string(text: bytes) -> bytes:
    return u32(len(text)) + text


def status(number: int, code: int, words: bytes = b"") -> bytes:
    return bytes([101]) + u32(number) + u32(code) + string(words) + string(b"")


def entry(name: bytes, mode: int, size: int = 7) -> bytes:
    attributes = u32(1 | 4 | 8) + struct.pack(">Q", size) + u32(mode) + u32(5) + u32(1_500_000_000)
    return string(name) + string(b"ls -l says " + name) + attributes


def names(number: int, entries: list[bytes]) -> bytes:
    return bytes([104]) + u32(number) + u32(len(entries)) + b"".join(entries)


def is_running(process: int) -> bool:
    """Whether one of its threads runs, or waits for a processor."""
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            if (task / "stat").read_text().rpartition(")")[2].split()[0] == "R":
                return True
        except OSError:  # it has ended
            continue
    return False


class Server:
    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.folders = int(os.environ.get("FOLDERS", "3"))
        self.files = int(os.environ.get("FILES", "2"))
        self.most_open = int(os.environ.get("MOST_OPEN", "1000000"))
        self.handles: dict[bytes, tuple[bytes, list[bytes]]] = {}
        self.made = 0
        self.buffer = b""
        self.rounds = 0

    def answer(self, kind: str, number: int, body: bytes) -> bytes | None:
        if kind == "extended":
            return bytes([201]) + u32(number) + struct.pack(">QQQQ", 262144, 261120, 261120, 1019)
        text = body[4 : 4 + struct.unpack(">I", body[:4])[0]]
        if kind == "realpath":
            return names(number, [entry(b"/", FOLDER)])
        if kind == "opendir":
            return self.open(number, text)
        if kind == "readdir":
            return self.read(number, text)
        if kind == "close":
            self.handles.pop(text, None)
            return status(number, 0)
        raise AssertionError(kind)

    def open(self, number: int, path: bytes) -> bytes:
        if path.endswith(b"broken"):
            return status(number, 4, b"input/output error")
        if len(self.handles) >= self.most_open:
            return status(number, 4, b"Failure")
        self.made += 1
        handle = b"h%d" % self.made
        self.handles[handle] = (path, self.content(path))
        return bytes([102]) + u32(number) + string(handle)

    def content(self, path: bytes) -> list[bytes]:
        if self.scenario == "endless":
            return [entry(b"deeper", FOLDER)]
        if self.scenario == "odd names":
            return [
                entry(name, FILE) for name in (b"good", b"../up", b"/etc/passwd", b"nul\0", b"")
            ]
        if self.scenario == "no attributes":
            return [string(b"file") + string(b"") + u32(0)]
        if self.scenario == "one without attributes" and path.endswith(b"/d00001"):
            return [entry(b"good", FILE), string(b"file") + string(b"") + u32(0)]
        if path == b"/top":
            found = [entry(b"d%05d" % at, FOLDER) for at in range(self.folders)]
            return found + ([entry(b"broken", FOLDER)] if self.scenario == "broken folder" else [])
        return [entry(b"f%05d" % at, FILE) for at in range(self.files)]

    def read(self, number: int, handle: bytes) -> bytes:
        if self.scenario == "wrong type":
            return bytes([103]) + u32(number) + string(b"data")
        content = self.handles[handle][1]
        if not content:
            return status(number, 1, b"End of file")
        part, content[:] = content[:100], content[100:]
        return names(number, part)

    def take(self) -> list[bytes]:
        """The requests that the client has sent until it was quiet."""
        while True:
            quiet = QUIET if self.buffer else None
            if not select.select([0], [], [], quiet)[0]:
                if "ROUNDS" in os.environ and is_running(os.getppid()):
                    continue
                break
            data = os.read(0, 1 << 20)
            if not data:
                sys.exit(0)
            self.buffer += data
        found = []
        while len(self.buffer) >= 4:
            length = struct.unpack(">I", self.buffer[:4])[0]
            if len(self.buffer) < 4 + length:
                break
            found.append(self.buffer[4 : 4 + length])
            self.buffer = self.buffer[4 + length :]
        return found

    def send(self, payload: bytes) -> None:
        data = u32(len(payload)) + payload
        while data:
            data = data[os.write(1, data) :]

    def serve(self) -> None:
        while True:
            requests = self.take()
            self.rounds += 1
            if "ROUNDS" in os.environ:
                self.tell_rounds(Path(os.environ["ROUNDS"]))
            answers = []
            for request in requests:
                kind = PACKETS[request[0]]
                if kind == "init":
                    self.hello()
                    continue
                number = struct.unpack(">I", request[1:5])[0]
                answers.append(self.answer(kind, number, request[5:]))
            if self.scenario == "shuffled":
                answers.reverse()
            for answer in answers:
                self.send(answer)
            if answers and self.made:
                self.misbehave(answers[-1])

    def tell_rounds(self, told: Path) -> None:
        """In one step: the test may be reading while the client still closes its folders."""
        fresh = told.with_suffix(".fresh")
        fresh.write_text(str(self.rounds))
        fresh.replace(told)

    def hello(self) -> None:
        if self.scenario == "old version":
            self.send(bytes([2]) + u32(2))
        elif self.scenario == "no limits":
            self.send(bytes([2]) + u32(3))
        else:
            self.send(bytes([2]) + u32(3) + string(b"limits@openssh.com") + string(b"1"))

    def misbehave(self, answer: bytes) -> None:
        if self.scenario == "truncated":
            os.write(1, u32(100) + b"half")
            sys.exit(0)
        if self.scenario == "4 GiB":
            os.write(1, u32(0xFFFFFFFF) + b"x" * 1000)
        if self.scenario == "twice":
            self.send(answer)
        if "death" in self.scenario:
            common = "Connection to scripted closed by remote host."
            sys.stderr.write(f"{common if self.scenario == 'death' else 'the tape has run out'}\n")
            sys.exit(255)
        if self.scenario == "silence":
            while os.read(0, 1 << 20):
                pass
            sys.exit(0)


def main() -> None:
    if "-G" in sys.argv:
        return
    scenario = os.environ["SCENARIO"]
    if scenario == "no subsystem":
        sys.exit("subsystem request failed on channel 0")
    if scenario == "banner":
        os.write(1, b"Welcome! This account may only be used for rsync.\n")
        time.sleep(60)
    if scenario == "mute":
        time.sleep(60)
    Server(scenario).serve()


main()
