"""The recipes in `examples/`: each does its work once, however often it is run."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from scitacean import RemotePath
from scitacean.testing.client import FakeClient

EXAMPLES = Path(__file__).parents[2] / "examples"
ADA = {"name": "Ada Lovelace", "email": "ada@uni.example"}
SPAN = {"start": "2026-11-23T09:00:00+00:00", "end": "2026-11-23T17:00:00+00:00"}
DATA: dict[str, Any] = {
    "experiment": {
        "epn": "12282a", "beamline": "mx", "proposal": "12282",
        "visits": [{**SPAN, "title": "Crystals", "principal": ADA, "scientists": [ADA]}],
    },
    "copy": {
        "id": 7, "project": "ny79", "source": "/data/mx/12282a",
        "destination": "/projects/ny79/12282a/data", "files": 3, "bytes": 30,
        "completed": "2026-11-24T03:04:00+00:00", "again": False,
    },
    "level": "size",
    "manifest": {"algorithm": "sha256", "files": 3, "known": 3, "path": None},
    "receipt": None,
}  # fmt: skip
DOCUMENT = json.dumps({"type": "came-home", "timestamp": SPAN["end"], "data": DATA})
# What MyTardis's documentation shows for POST (docs/dev/api.rst, "Experiments" and "Datasets").
FIELDS = {
    "experiment": {"title": str, "description": str, "institution_name": str},
    "dataset": {"description": str, "experiments": list, "immutable": bool},
}


def loaded(path: Path) -> ModuleType:
    loader = SourceFileLoader(path.name, str(path))
    spec = importlib.util.spec_from_loader(path.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def run(program: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, program],
        input=DOCUMENT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=30,
        check=False,
    )


def test_a_job_is_started_with_the_folder_of_the_copy_and_only_once(tmp_path: Path) -> None:
    programs = {
        "sbatch": f'echo "$@" >> "{tmp_path}/jobs"; echo 4711',
        "sacct": f'[ -e "{tmp_path}/jobs" ] && echo 4711; exit 0',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    for _ in range(2):
        done = run(
            EXAMPLES / "slurm" / "start-job", PATH=path, ASYNCHY_MESSAGE_ID="msg_0123456789abcdef"
        )
        assert (done.returncode, done.stderr) == (0, "")
    (job,) = (tmp_path / "jobs").read_text().splitlines()
    assert "--job-name=asynchy-12282a-0123456789ab" in job
    assert job.endswith("slurm/job.sh 12282a ny79 /projects/ny79/12282a/data")


def test_a_job_that_cannot_be_started_ends_with_its_reason(tmp_path: Path) -> None:
    done = run(EXAMPLES / "slurm" / "start-job", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "sacct is not installed\n")


def test_a_dataset_is_made_in_scicat_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = loaded(EXAMPLES / "scicat" / "ingest")
    client = FakeClient.without_login(url="http://localhost", allow_http=True)

    def query(_scicat: object, fields: dict[str, Any]) -> list[Any]:  # the stand-in has none
        assert fields.keys() == {"sourceFolder"}
        folder = fields["sourceFolder"]
        return [one for one in client.datasets.values() if one.sourceFolder == RemotePath(folder)]

    monkeypatch.setattr(type(client.scicat), "query_datasets", query)
    first = recipe.ingest(client, DATA)
    assert recipe.ingest(client, DATA) == first
    (made,) = client.datasets.values()
    assert (made.type, made.owner, made.ownerGroup) == ("raw", "Ada Lovelace", "ny79")
    assert made.proposalIds == ["12282"]
    assert made.scientificMetadata["asynchy"]["proven"] == "size"


def test_without_people_scicat_gets_nothing() -> None:
    recipe = loaded(EXAMPLES / "scicat" / "ingest")
    alone = {**DATA, "experiment": {**DATA["experiment"], "visits": [SPAN]}}
    with pytest.raises(ValueError, match="people: true"):
        recipe.dataset_of(alone)


class Tardis(BaseHTTPRequestHandler):
    """As MyTardis's documentation says: lists by GET, POST answers 201 with a Location."""

    objects: dict[str, list[dict[str, Any]]]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        model = parts.path.split("/")[3]
        asked = {name: texts[0] for name, texts in parse_qs(parts.query).items()}
        filters = asked.keys() - {"format", "limit"}
        if filters - {"title", "experiments__id"}:
            self._answer(400, {"error": "no filter for it"})
            return
        found = self.objects[model]
        if "title" in asked:
            found = [one for one in found if one["title"] == asked["title"]]
        if "experiments__id" in asked:
            parent = f"/api/v1/experiment/{asked['experiments__id']}/"
            found = [one for one in found if parent in one["experiments"]]
        self._answer(200, {"objects": found})

    def do_POST(self) -> None:
        model = urlsplit(self.path).path.split("/")[3]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        types = {name: type(value) for name, value in body.items()}
        if self.headers["Authorization"] != "ApiKey me:key" or types != FIELDS[model]:
            self._answer(400, {"error": repr(types)})
            return
        uri = f"/api/v1/{model}/{len(self.objects[model]) + 1}/"
        self.objects[model].append({**body, "resource_uri": uri})
        self._answer(201, None, Location=f"http://{self.headers['Host']}{uri}")

    def _answer(self, status: int, body: Any, **headers: str) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def tardis() -> Iterator[ThreadingHTTPServer]:
    Tardis.objects = {"experiment": [], "dataset": []}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tardis)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_copy_is_registered_in_mytardis_and_only_once(
    tardis: ThreadingHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("key\n")
    settings = {
        "MYTARDIS_URL": f"http://127.0.0.1:{tardis.server_address[1]}",
        "MYTARDIS_USER": "me",
        "MYTARDIS_KEY_FILE": str(tmp_path / "key"),
        "MYTARDIS_INSTITUTION": "Uni",
    }
    for _ in range(2):
        done = run(EXAMPLES / "mytardis" / "register", **settings)
        assert (done.returncode, done.stdout, done.stderr) == (0, "/api/v1/dataset/1/\n", "")
    (experiment,), (dataset,) = Tardis.objects["experiment"], Tardis.objects["dataset"]
    assert experiment["title"] == "Proposal 12282"
    assert dataset["experiments"] == [experiment["resource_uri"]]
    (tmp_path / "key").write_text("wrong")
    Tardis.objects["dataset"].clear()
    done = run(EXAMPLES / "mytardis" / "register", **settings)
    assert done.returncode == 1 and "MyTardis answered 400" in done.stderr
