"""A facility and a copy for engines that run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asynchy.engines.cluster.engine import ClusterEngine
from asynchy.engines.rsync_engine import RsyncEngine
from asynchy.model.cluster import ClusterAddress
from asynchy.model.epn import Epn
from asynchy.model.experiment import Copy, Experiment
from asynchy.ssh.session import ServerSession
from simulator.cluster import LoopbackCluster, loopback_cluster
from simulator.facility import Facility
from tests.conftest import quick_facility
from tests.contract.engines import Engine, MakeEngine, by_sftp, remote_of


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackCluster]:
    """Two workers as on two hosts; their streams are those of this user."""
    with loopback_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(
    params=["rsync", "sftp", pytest.param("cluster", marks=pytest.mark.extra)],
)
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    if request.param == "cluster":
        address = ClusterAddress(request.getfixturevalue("cluster").address)
        return lambda remote: ClusterEngine(ServerSession(remote), address)
    return {"rsync": RsyncEngine, "sftp": by_sftp}[request.param]


@pytest.fixture
def own_facility(place: Path) -> Iterator[Facility]:
    """A facility of the user that runs the tests: here the engine runs in this process."""
    folder = place / "facility"
    folder.mkdir()
    with quick_facility(folder, None) as running:
        yield running


@pytest.fixture
def engine(own_facility: Facility, make_engine: MakeEngine) -> Engine:
    return make_engine(remote_of(own_facility))


@pytest.fixture
def copy(own_facility: Facility, place: Path) -> Copy:
    source = own_facility.experiment("mx", "12282a")
    project = place / "storage" / "ny79"
    project.mkdir(parents=True)
    return Copy(
        experiment=Experiment("mx", Epn("12282a")),
        project="ny79",
        source=str(source),
        project_folder=project,
        destination=project / "12282a" / "data",
    )
