"""One experiment over several hosts: a real scheduler, and real workers on loopback."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trustme

from asynchy.config import load
from asynchy.doctor import cluster_checks
from asynchy.engines.cluster.client import Cluster, cluster_at
from asynchy.engines.cluster.engine import ClusterEngine
from asynchy.errors import ClusterError, PackageMissing
from asynchy.model.attempt import EngineResult
from asynchy.model.bandwidth import constant
from asynchy.model.cancellation import Stop
from asynchy.model.cluster import ClusterAddress
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.ssh.session import ServerSession
from simulator.cluster import LoopbackCluster, loopback_cluster
from simulator.compare import compare_trees
from simulator.config import write_config
from simulator.facility import Facility
from simulator.relay import Relay
from tests.conftest import Program, is_alive, quick_facility, wait_until
from tests.contract.engines import listed, remote_of
from tests.tools.dashboard import MadeHome

pytestmark = pytest.mark.extra

SLOWLY = constant(24_000_000)
MIB = 1 << 20


@dataclass
class Site:
    facility: Facility
    cluster: LoopbackCluster
    copy: Copy
    heard: list[tuple[int, int]] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)

    @property
    def source(self) -> Path:
        return Path(self.copy.source)

    @property
    def address(self) -> ClusterAddress:
        return ClusterAddress(self.cluster.address)

    def engine(self, timeout: int = 60, connections: int = 16) -> ClusterEngine:
        remote = replace(remote_of(self.facility, timeout=timeout), connections=connections)
        return ClusterEngine(ServerSession(remote), self.address)

    def fetch(self, engine: ClusterEngine | None = None) -> EngineResult:
        engine = engine or self.engine()
        job = listed(engine.remote, self.copy)
        return engine.transfer(job, self.stop, lambda *told: self.heard.append(told))

    def fetch_beside(self, engine: ClusterEngine | None = None) -> Callable[[], EngineResult]:
        """Begin to fetch, slowly; what is returned waits for the end."""
        found: list[EngineResult] = []
        slow = replace(engine or self.engine(), bandwidth=SLOWLY)
        thread = threading.Thread(target=lambda: found.append(self.fetch(slow)))
        thread.start()

        def result() -> EngineResult:
            thread.join(150)
            assert found, self.cluster.logs()
            return found[0]

        return result

    @property
    def moved(self) -> int:
        return self.heard[-1][0] if self.heard else 0

    def shards(self, worker: str) -> list[str]:
        """What a worker's log says of the shards that it ended."""
        log = (self.cluster.folder / f"{worker}.log").read_text()
        return [line for line in log.splitlines() if "shard " in line]

    def is_home(self) -> bool:
        return compare_trees(self.source, self.copy.destination) == []

    def nothing_else_is_there(self) -> bool:
        """No file on its way, and no earlier version of any file."""
        return [path.name for path in self.copy.destination.parent.iterdir()] == ["data"]


@pytest.fixture
def own_site(place: Path) -> Iterator[Callable[[LoopbackCluster], Site]]:
    """Makes the site of a cluster."""
    folder = place / "facility"
    folder.mkdir()
    project = place / "storage" / "ny79"
    project.mkdir(parents=True)
    with quick_facility(folder, None) as facility:
        copy = Copy(
            experiment=Experiment("mx", Epn("12282a")),
            project="ny79",
            source=str(facility.experiment("mx", "12282a")),
            project_folder=project,
            destination=project / "12282a" / "data",
        )
        yield lambda cluster: Site(facility, cluster, copy)


@pytest.fixture
def site(place: Path, own_site: Callable[[LoopbackCluster], Site]) -> Iterator[Site]:
    with loopback_cluster(place / "cluster") as cluster:
        yield own_site(cluster)


def big_files(site: Site) -> None:
    """Two files that come in ranges, and many that come whole: 320 MB, some seconds of work."""
    for name in ("a.h5", "b.h5"):
        with (site.source / name).open("wb") as file:
            for _ in range(128):
                file.write(os.urandom(MIB))
    (site.source / "frames").mkdir()
    for at in range(64):
        (site.source / "frames" / f"{at}.cbf").write_bytes(os.urandom(MIB))


def test_both_workers_fetch_one_experiment_and_the_facility_sees_no_more_connections_than_allowed(
    site: Site,
) -> None:
    big_files(site)
    result = site.fetch_beside(site.engine(connections=7))
    most = 0

    def is_over() -> bool:
        nonlocal most
        processes = [pid for name in ("one", "two") for pid in site.cluster.family(name)]
        commands = [Path(f"/proc/{pid}/comm") for pid in processes]
        most = max(most, sum(_text(path) == "ssh\n" for path in commands))
        return bool(done)

    done: list[EngineResult] = []
    waiter = threading.Thread(target=lambda: done.append(result()))
    waiter.start()
    wait_until(is_over, 200)
    assert (done[0].ok, done[0].reason) == (True, None)
    assert site.is_home() and site.nothing_else_is_there()
    assert 2 <= most <= 7
    assert site.shards("one") and site.shards("two")
    assert site.heard == sorted(site.heard)
    assert site.moved == result().bytes == 320 * MIB


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("how", ["killed", "its worker alone killed", "paused"])
def test_the_loss_of_a_host_costs_its_shards_and_nothing_else(site: Site, how: str) -> None:
    big_files(site)
    result = site.fetch_beside()
    wait_until(lambda: site.moved > 40 * MIB)
    processes = site.cluster.family("two")
    if how == "its worker alone killed":  # what it started asks for a signal at its death
        site.cluster.processes["two"].kill()
    else:
        site.cluster.kill("two", signal.SIGSTOP if how == "paused" else signal.SIGKILL)
    found = result()
    assert (found.ok, found.reason) == (True, None)
    assert site.is_home() and site.nothing_else_is_there()
    before = {path: path.stat().st_mtime_ns for path in site.copy.destination.rglob("*")}
    if how == "paused":
        site.cluster.kill("two", signal.SIGCONT)  # it goes on, and knows nothing
    site.cluster.processes["two"].wait(30)
    wait_until(lambda: not any(is_alive(pid) for pid in processes))
    assert site.is_home() and site.nothing_else_is_there()
    assert before == {path: path.stat().st_mtime_ns for path in site.copy.destination.rglob("*")}


def test_a_host_that_is_cut_off_from_the_scheduler_and_works_on_does_no_harm(site: Site) -> None:
    big_files(site)
    site.cluster.processes["two"].terminate()
    site.cluster.processes["two"].wait(30)
    with Relay("127.0.0.1", int(site.cluster.address.rpartition(":")[2])) as relay:
        site.cluster.start_worker("cut", scheduler=f"tcp://127.0.0.1:{relay.port}")
        result = site.fetch_beside()
        wait_until(lambda: site.moved > 40 * MIB)
        relay.freeze()
        found = result()
        assert (found.ok, found.reason) == (True, None)
        assert site.is_home() and site.nothing_else_is_there()
        before = {path: path.stat().st_mtime_ns for path in site.copy.destination.rglob("*")}
    assert site.cluster.processes["cut"].wait(60) != 0  # its connection was reset with the relay
    assert site.is_home() and site.nothing_else_is_there()
    assert before == {path: path.stat().st_mtime_ns for path in site.copy.destination.rglob("*")}


def test_a_worker_that_is_ended_gives_its_work_back_and_what_it_had_counts(site: Site) -> None:
    big_files(site)
    result = site.fetch_beside()
    wait_until(lambda: site.moved > 40 * MIB)
    site.cluster.processes["two"].terminate()
    assert site.cluster.processes["two"].wait(30) == 0
    found = result()
    assert (found.ok, found.reason) == (True, None)
    assert site.is_home() and site.nothing_else_is_there()
    assert any("is given back" in line for line in site.shards("two"))
    assert found.bytes is not None and found.bytes < 322 * MIB


def test_the_loss_of_the_scheduler_ends_the_transfer_and_the_next_goes_on(site: Site) -> None:
    big_files(site)
    result = site.fetch_beside()
    wait_until(lambda: site.moved > 160 * MIB)
    site.cluster.kill("scheduler")
    found = result()
    assert (found.ok, found.lost) == (False, True)
    assert "the Dask scheduler tcp://127.0.0.1:" in (found.reason or "")
    for name in ("one", "two"):  # systemd starts them again
        assert site.cluster.processes[name].wait(60) != 0
    site.cluster.start_scheduler()
    site.cluster.start_worker("one")
    again = site.fetch()
    assert (again.ok, again.reason) == (True, None)
    assert site.is_home() and site.nothing_else_is_there()
    assert again.bytes is not None and again.bytes < 320 * MIB


def test_a_wait_without_workers_is_named_and_ends(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.source / "a.h5").write_bytes(b"data")
    for name in ("one", "two"):
        site.cluster.processes[name].terminate()
        site.cluster.processes[name].wait(30)
    monkeypatch.setattr("asynchy.engines.cluster.workers._NAMED_AFTER", 1.0)
    found = site.fetch(site.engine(timeout=5))
    assert (found.ok, found.lost) == (False, True)
    assert "there was no worker for 5.0 s at the Dask scheduler" in (found.reason or "")
    assert "no worker is connected to the Dask scheduler" in caplog.text
    site.cluster.start_worker("three")
    assert site.fetch().ok and site.is_home()


def test_a_worker_of_another_version_gets_no_work_and_is_named(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    (site.source / "a.h5").write_bytes(b"data")
    site.cluster.start_foreign_worker("old", {"asynchy-places-0.9.0/2025.1.0": 2})
    assert site.fetch().ok and site.is_home()
    assert "worker old has another version (0.9.0/2025.1.0" in caplog.text
    assert {worker.host: worker.places for worker in cluster_at(site.address).workers()} == {
        "one": 2,
        "two": 2,
        "old": 0,
    }


def test_a_scheduler_that_cannot_be_reached_is_named_at_once(site: Site) -> None:
    (site.source / "a.h5").write_bytes(b"data")
    address = site.address
    site.cluster.close()
    with pytest.raises(ClusterError, match="cannot be reached") as caught:
        Cluster(address)
    assert "systemctl status asynchy-scheduler" in (caught.value.hint or "")


def test_with_certificates_of_one_authority_all_hosts_work_together(
    place: Path, own_site: Callable[[LoopbackCluster], Site]
) -> None:
    authority = trustme.CA()
    tls = _certificate(place, authority, "ours")
    cluster = LoopbackCluster(place / "cluster", [
        "--ca", str(tls["ca"]), "--cert", str(tls["cert"]), "--key", str(tls["key"]),
    ])  # fmt: skip
    cluster.folder.mkdir()
    try:
        cluster.start_scheduler(
            "--port", "0", "--protocol", "tls", "--tls-ca-file", str(tls["ca"]),
            "--tls-cert", str(tls["cert"]), "--tls-key", str(tls["key"]),
        )  # fmt: skip
        cluster.start_worker("one")
        site = own_site(cluster)
        (site.source / "a.h5").write_bytes(b"data")
        engine = replace(site.engine(), address=ClusterAddress(cluster.address, **tls))
        assert engine.address.scheduler is not None
        assert engine.address.scheduler.startswith("tls://")
        assert site.fetch(engine).ok and site.is_home()
        others = _certificate(place, trustme.CA(), "theirs")
        with pytest.raises(ClusterError, match="cannot be reached"):
            Cluster(ClusterAddress(cluster.address, **others))
    finally:
        cluster.close()


def _certificate(place: Path, authority: trustme.CA, name: str) -> dict[str, Path]:
    found = {part: place / f"{name}-{part}.pem" for part in ("ca", "cert", "key")}
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(found["ca"]))
    issued.cert_chain_pems[0].write_to_path(str(found["cert"]))
    issued.private_key_pem.write_to_path(str(found["key"]))
    return found


def test_the_doctor_names_the_workers_and_what_they_do_not_share(site: Site, place: Path) -> None:
    config = write_config(
        place / "config.yml",
        site.facility,
        destination=place / "storage",
        epn_cap_map={"12282": "ny79"},
        executor={"dask": site.cluster.address},
    )
    settings = load(config).settings
    found = {one.what: one for one in cluster_checks.cluster(settings)}
    assert all(one.good for one in found.values()), found
    assert {"scheduler", "worker one", "worker one, files", "worker two"} <= set(found)
    assert "2 shards at a time, 16 connections, version " in found["worker one"].found
    assert [path.name for path in site.copy.project_folder.iterdir()] == []

    missing = settings.model_copy(update={"key_file": place / "no-key"})
    found = {one.what: one for one in cluster_checks.cluster(missing)}
    assert found["worker one"].found == f"{place}/no-key cannot be read there"
    site.cluster.start_foreign_worker("old", {"asynchy-places-0.9.0/2025.1.0": 2})
    for name in ("one", "two"):
        site.cluster.processes[name].terminate()
        site.cluster.processes[name].wait(30)
    found = {one.what: one for one in cluster_checks.cluster(settings)}
    assert (found["worker old"].good, found["worker old"].found) == (
        False,
        "it has version 0.9.0/2025.1.0",
    )
    site.cluster.kill("scheduler")
    found = {one.what: one for one in cluster_checks.cluster(settings)}
    assert not found["scheduler"].good and found["workers"].skipped


def test_without_the_extra_a_message_says_how_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asynchy.engines.cluster.client.find_spec", lambda _name: None)
    with pytest.raises(PackageMissing, match="need the package distributed") as caught:
        cluster_at(ClusterAddress("tcp://127.0.0.1:1"))
    assert "requirements/cluster.txt" in (caught.value.hint or "")


def test_the_health_page_shows_the_hosts_and_a_scheduler_that_is_gone(place: Path) -> None:
    home = MadeHome(place, Program(place))
    with loopback_cluster(place / "cluster", workers=["node1"]) as cluster:
        settings = json.loads(home.config.read_text())
        home.config.write_text(json.dumps({**settings, "executor": {"dask": cluster.address}}))
        token = home.token("lea")
        with home.serving() as browser:
            browser.log_in(token)
            wait_until(lambda: "node1 tcp://127.0.0.1:" in browser.text("/health"))
            assert "takes work 2 16 " in browser.text("/health")
            cluster.close()
            wait_until(lambda: "does not answer" in browser.text("/health"))
