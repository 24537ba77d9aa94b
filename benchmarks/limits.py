"""What a link allows at most: raw TCP, and `ssh cat` of zeros, each in several streams."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.network import SERVER, Network
from benchmarks.peers import Login

_SECONDS = 7.0
_AFTER = 3.0
"""Seconds that connections have to gather speed before anything is counted."""
_SEND = """
import socket, sys, threading
data = bytes(1 << 20)
def serve(s):
    try:
        while True:
            s.sendall(data)
    except OSError:
        pass
with socket.create_server((sys.argv[1], 5201)) as listening:
    print("ready", flush=True)
    while True:
        threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
_TAKE = """
import socket, sys, threading
def take():
    buffer = bytearray(1 << 20)
    with socket.create_connection((sys.argv[1], 5201)) as s:
        while s.recv_into(buffer):
            pass
for _ in range(int(sys.argv[2])):
    threading.Thread(target=take, daemon=True).start()
threading.Event().wait()
"""
_WINDOW = 2_000_000
"""Bytes that a connection of OpenSSH carries in a round trip (its channel window)."""
_CONNECTIONS = 16


def limits(network: Network, login: Login, round_trip: float) -> dict[str, float]:
    """Bytes a second by name; `windows`: what the windows of sixteen connections carry."""
    found = {"tcp": _tcp(network, 1), "tcp x16": _tcp(network, _CONNECTIONS)}
    streams = 2 if round_trip < 0.004 else 8 if round_trip < 0.05 else 16
    start = login.ssh().split()
    cat = [[*network.client, *start, login.host, "cat", "/dev/zero"]] * streams
    found[f"ssh cat x{streams}"] = _steady(network, cat)
    if round_trip >= 0.004:
        found["windows"] = _CONNECTIONS * _WINDOW / round_trip
    return found


def _tcp(network: Network, streams: int) -> float:
    send = [*network.server, sys.executable, "-c", _SEND, SERVER]
    with subprocess.Popen(send, stdout=subprocess.PIPE) as sending:
        assert sending.stdout is not None
        sending.stdout.readline()
        take = [*network.client, sys.executable, "-c", _TAKE, SERVER, str(streams)]
        try:
            return _steady(network, [take])
        finally:
            sending.kill()


def _steady(network: Network, commands: list[list[str]]) -> float:
    """Bytes a second that arrive once the connections have gathered speed."""
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        time.sleep(_AFTER)
        before, began = network.received(), time.monotonic()
        time.sleep(_SECONDS - _AFTER)
        return (network.received() - before) / (time.monotonic() - began)
    finally:
        for process in processes:
            process.kill()
            process.wait()
