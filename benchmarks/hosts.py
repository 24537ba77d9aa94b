"""One experiment by 1, 2 and 3 hosts, each with a link of its own: `python -m benchmarks.hosts`.

Each host is a network namespace: a worker runs in it, and it reaches the facility through a delay
line of its own and a token bucket (TBF) of RATE Mbit/s. The coordinator has a namespace with a
delay line, and no limit. DATA (FRAMES,HUGE), RTT (20,100; milliseconds), HOSTS (1,2,3), MB (240 of
data) and RATE (24) choose. Only root can make the links.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.network import Network
from simulator.cluster import LoopbackCluster
from simulator.compare import compare_trees
from simulator.scratch import new_folder, remove

_FACILITY = "10.98.0.1"
_FETCH = """
import json, sys, time
from pathlib import Path
from asynchy.engines.cluster.client import cluster_at
from asynchy.engines.cluster.engine import ClusterEngine
from asynchy.model.cancellation import Stop
from asynchy.model.cluster import ClusterAddress
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerSession
from tests.contract.engines import listed

told = json.loads(sys.argv[1])
server = Server(told["host"], told["user"], told["port"], Path(told["key"]),
                Path(told["known_hosts"]), connections=64)
project = Path(told["project"])
copy = Copy(Experiment("mx", Epn("12282a")), "ny79", told["source"], project, project / "data")
job = listed(server, copy)
address = ClusterAddress(told["scheduler"])
cluster_at(address)
began = time.monotonic()
result = ClusterEngine(ServerSession(server), address).transfer(job, Stop(), lambda *_: None)
print(json.dumps([result.ok, result.reason, result.bytes, time.monotonic() - began]))
"""


class _Hosts:
    """The facility's namespace, the coordinator's (0) and the hosts' (1 and on)."""

    def __init__(self, number: int, round_trip: float, rate: float) -> None:
        self._number = number
        self._trip = round_trip
        self._rate = rate
        self._stack = contextlib.ExitStack()
        self.facility = f"asynchy-{os.getpid()}-f"
        self._edges: list[str] = []
        self.names: list[str] = []

    def __enter__(self) -> _Hosts:
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make(self) -> None:
        self._namespace(self.facility)
        _ip(self.facility, f"addr add {_FACILITY}/32 dev lo")
        for at in range(self._number + 1):
            line = self._stack.enter_context(
                Network(self._trip, name=f"asynchy-{os.getpid()}-{at}")
            )
            host, edge = line.client[-1], line.server[-1]
            self.names.append(host)
            self._to_facility(host, edge, at)
            if at:
                self._limit(edge)
                self._to_coordinator(host, at)

    def _namespace(self, name: str) -> None:
        subprocess.run(["ip", "netns", "add", name], check=True)
        self._stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        _ip(name, "link set lo up")

    def _to_facility(self, host: str, edge: str, at: int) -> None:
        mine = f"10.98.{at + 1}."
        _ip(edge, f"link add name uplink type veth peer name host{at} netns {self.facility}")
        _ip(edge, f"addr add {mine}1/24 dev uplink")
        _ip(edge, "link set uplink up")
        _ip(self.facility, f"addr add {mine}2/24 dev host{at}")
        _ip(self.facility, f"link set host{at} up")
        _ip(host, f"addr add 10.97.{at + 1}.1/32 dev lo")
        _ip(host, f"route add {_FACILITY}/32 dev line src 10.97.{at + 1}.1")
        _ip(edge, f"route add 10.97.{at + 1}.1/32 dev line")
        _ip(edge, f"route add {_FACILITY}/32 via {mine}2")
        _ip(self.facility, f"route add 10.97.{at + 1}.1/32 via {mine}1")
        command = ["ip", "netns", "exec", edge, "sysctl", "-qw", "net.ipv4.ip_forward=1"]
        subprocess.run(command, check=True)

    def _limit(self, edge: str) -> None:
        shape = f"tc qdisc add dev line root tbf rate {self._rate}mbit burst 128kb latency 100ms"
        subprocess.run(["ip", "netns", "exec", edge, *shape.split()], check=True)

    def _to_coordinator(self, host: str, at: int) -> None:
        _ip(host, f"link add name control type veth peer name host{at} netns {self.names[0]}")
        _ip(host, f"addr add {control(at)}/30 dev control")
        _ip(host, "link set control up")
        _ip(self.names[0], f"addr add 10.96.{at}.1/30 dev host{at}")
        _ip(self.names[0], f"link set host{at} up")
        _ip(host, f"route add 10.96.0.0/16 via 10.96.{at}.1")
        command = ["ip", "netns", "exec", self.names[0], "sysctl", "-qw", "net.ipv4.ip_forward=1"]
        subprocess.run(command, check=True)


def control(at: int) -> str:
    """A host's address in the network of the cluster."""
    return f"10.96.{at}.2"


def _ip(namespace: str, command: str) -> None:
    subprocess.run(["ip", "-n", namespace, *command.split()], check=True)


def _inside(namespace: str) -> list[str]:
    return ["ip", "netns", "exec", namespace]


@contextlib.contextmanager
def _facility(place: Path, namespace: str) -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "benchmarks.server", str(place), _FACILITY]
    with subprocess.Popen(
        [*_inside(namespace), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.communicate(b"", timeout=30)


def _measure(place: Path, hosts: int, trip: float, rate: float) -> tuple[float, float]:
    """Seconds and bytes of one transfer."""
    cluster = LoopbackCluster(place / "cluster")
    cluster.folder.mkdir()
    home = place / "home"
    home.mkdir()
    with (
        _Hosts(hosts, trip, rate) as network,
        _facility(place / "facility", network.facility) as told,
    ):
        try:
            cluster.prefix = _inside(network.names[0])
            cluster.start_scheduler("--port", "8786", host="10.96.1.1")
            for at in range(1, hosts + 1):
                cluster.prefix = _inside(network.names[at])
                cluster.start_worker(f"host{at}", "--host", control(at))
            source = f"{told['data']}/mx/12282a"
            what = {**told, "host": _FACILITY, "project": str(home), "source": source}
            what["scheduler"] = cluster.address
            answer = subprocess.run(
                [*_inside(network.names[0]), sys.executable, "-c", _FETCH, json.dumps(what)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if answer.returncode:
                raise RuntimeError(answer.stderr + cluster.logs())
            ok, reason, size, seconds = json.loads(answer.stdout.splitlines()[-1])
            if not ok or compare_trees(Path(source), home / "data"):
                raise RuntimeError(f"{reason}\n{cluster.logs()}")
            return seconds, size
        finally:
            cluster.close()


def _data(folder: Path, name: str, size: int) -> None:
    folder.mkdir(parents=True)
    each = size if name == "HUGE" else 6
    for at in range(size // each):
        with (folder / f"scan_{at:04}.cbf").open("wb") as file:
            for _ in range(each):
                file.write(os.urandom(1_000_000))


def main() -> None:
    """Measure, and print a table."""
    rate, size = float(os.environ.get("RATE", "24")), int(os.environ.get("MB", "240"))
    print("| data | round trip | hosts | seconds | MB/s | of N times one host |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in os.environ.get("DATA", "FRAMES,HUGE").split(","):
        for trip in map(int, os.environ.get("RTT", "20,100").split(",")):
            one = 0.0
            for hosts in map(int, os.environ.get("HOSTS", "1,2,3").split(",")):
                place = new_folder("asynchy-hosts-")
                try:
                    _data(place / "facility" / "data" / "mx" / "12282a", name, size)
                    seconds, moved = _measure(place, hosts, trip / 1000, rate)
                finally:
                    remove(place)
                speed = moved / seconds / 1e6
                one = one or speed / hosts
                print(
                    f"| {name} | {trip} ms | {hosts} | {seconds:.1f} | {speed:.2f} | "
                    f"{speed / hosts / one:.2f} |", flush=True,
                )  # fmt: skip
                time.sleep(1)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("benchmarks: only root can make the links that are measured over; run it as root")
    main()
