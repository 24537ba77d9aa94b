"""The bandwidth limit over real connections, which transfers of both engines share."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from asynchy.engines.cluster.engine import ClusterEngine
from asynchy.engines.rsync_engine import RsyncEngine
from asynchy.engines.sftp.worker_pool import WorkerPool
from asynchy.model.bandwidth import BandwidthTimetable, constant
from asynchy.model.cancellation import Stop
from asynchy.model.experiment import Copy
from asynchy.model.transfer_options import TransferOptions
from simulator.compare import compare_trees
from simulator.experiments import many_small_files
from simulator.facility import Facility
from tests.contract.engines import Engine, by_sftp, ignored, in_several_streams, remote_of, transfer


def limited(engine: Engine, timetable: BandwidthTimetable) -> Engine:
    if isinstance(engine, RsyncEngine):
        return replace(
            engine, transfer_options=replace(engine.transfer_options, bandwidth=timetable)
        )
    if isinstance(engine, ClusterEngine):
        return replace(engine, bandwidth=timetable)
    return replace(engine, worker_pool=WorkerPool(engine.worker_pool.session, timetable))


def beside(copy: Copy, name: str) -> Copy:
    """Another copy, of the folder beside the source."""
    source = Path(copy.source).with_name(name)
    source.mkdir()
    return replace(copy, source=str(source), destination=copy.project_folder / name / "data")


def test_transfers_of_both_engines_share_one_limit(own_facility: Facility, copy: Copy) -> None:
    limit = constant(12_000_000)
    remote = remote_of(own_facility)
    other = beside(copy, "12283a")
    for source in (copy.source, other.source):
        (Path(source) / "frame.h5").write_bytes(os.urandom(20_000_000))
    engines = [
        limited(by_sftp(remote), limit),
        RsyncEngine(remote, TransferOptions(bandwidth=limit)),
    ]
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(transfer, engine, one, Stop(), ignored)
            for engine, one in zip(engines, (copy, other), strict=True)
        ]
        assert [run.result().ok for run in runs] == [True, True]
    seconds = time.monotonic() - began
    assert seconds > 0.9 * 40 / 12
    for one in (copy, other):
        assert compare_trees(Path(one.source), one.destination) == []


def test_small_files_come_while_frames_do(engine: Engine, copy: Copy) -> None:
    frames = beside(copy, "12283a")
    for at in range(40):
        (Path(frames.source) / f"frame_{at}.h5").write_bytes(bytes(5_000_000))
    many_small_files(Path(copy.source), 500)
    engine = limited(engine, constant(4_000_000))
    stop, begun = Stop(), threading.Event()
    with ThreadPoolExecutor() as pool:
        other = pool.submit(
            transfer, in_several_streams(engine), frames, stop,
            lambda done, _files: begun.set() if done else None,
        )  # fmt: skip
        assert begun.wait(30)
        try:
            assert transfer(engine, copy, Stop(), ignored).ok
            assert not other.done()  # alone it takes 50 s
        finally:
            stop.request()
        assert other.result().stopped
    assert compare_trees(Path(copy.source), copy.destination) == []
