"""A dashboard of a made catalogue, in a process of its own, and a browser without scripts for it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from asynchy.catalogue import Catalogue
from asynchy.catalogue.database import Database
from asynchy.catalogue.schema import attempts, copies, experiments, files, held, visits
from asynchy.model.verification import Level
from tests.conftest import Program, give

NOW = datetime.now(UTC).replace(microsecond=0)
LIMIT = 60.0
"""Seconds; a slow machine is no failure."""


class Browser:
    """Follows no redirect; keeps cookies as a browser does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.cookies: dict[str, str] = {}
        self._http = urllib3.PoolManager(retries=False, timeout=LIMIT)

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        return self._asked("GET", path, headers)

    def post(
        self, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        more = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self._asked("POST", path, more, urlencode(form or {}))

    def log_in(self, token: str) -> Browser:
        answer = self.post("/login", {"token": token})
        assert answer.status == 303, answer.data.decode()
        return self

    def form_key(self, path: str = "/") -> str:
        """What the first form of a page sends back."""
        found = re.search(r'name="form_key" value="([0-9a-f]+)"', self.get(path).data.decode())
        assert found is not None
        return found[1]

    def act(self, action: str, **form: str) -> urllib3.BaseHTTPResponse:
        """Send the form of an action, as the page would."""
        return self.post(f"/actions/{action}", {"form_key": self.form_key(), "back": "/", **form})

    def text(self, path: str) -> str:
        """The text of a page, without its marks."""
        answer = self.get(path)
        assert answer.status == 200, answer.data.decode()
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.data.decode())).split())

    def api(self, path: str, token: str) -> Any:
        answer = self.get(f"/api/v1/{path}", Authorization=f"Bearer {token}")
        assert answer.status == 200, answer.data.decode()
        return json.loads(answer.data)

    def _asked(
        self, method: str, path: str, headers: dict[str, str], body: str | None = None
    ) -> urllib3.BaseHTTPResponse:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if cookie:
            sent = {"Cookie": cookie, **sent}
        answer = self._http.request(
            method, self.address + path, headers=sent, body=body, redirect=False
        )
        for line in answer.headers.getlist("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line or not value.strip('"'):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer


def person_named(name: str) -> dict[str, str]:
    return {"first_names": "Ada", "last_name": name, "email": f"{name}@uni.example",
            "organisation": ""}  # fmt: skip


class MadeHome:
    """A config and a catalogue in a folder; no facility answers."""

    def __init__(self, place: Path, program: Program, **web: object) -> None:
        self.place, self.program = place, program
        self.config = place / "config.yml"
        self.storage = place / "storage"
        for project in ("ny79", "kx12"):
            (self.storage / project).mkdir(parents=True)
        self.write_config(**web)
        self.catalogue_path = place / "catalogue.db"
        Catalogue.open(self.catalogue_path)
        give(place)

    def write_config(self, **web: object) -> None:
        settings = {
            "beamline": "mx", "ignore": "ignore.yml", "destination-root-path": str(self.storage),
            "equipment": [{"id": 23, "username": "u", "password": "p", "client_name": "c",
                           "client_password": "s"}],
            "base-url": "http://127.0.0.1:9", "host": "127.0.0.1", "port": 9, "user": "nobody",
            "epn_cap_map": {"1": "ny79", "2": "kx12"}, "retention-days": {"mx": 14},
            "web": {"listen": "127.0.0.1:0", **web},
        }  # fmt: skip
        self.config.write_text(json.dumps(settings, indent=1))
        self.config.chmod(0o600)
        give(self.config)

    def experiment(
        self,
        epn: str,
        *,
        title: str = "Structures of things",
        person: str = "Bragg",
        complete: bool = False,
        reason: str | None = None,
        paths: tuple[bytes, ...] = (b"frames/one.cbf",),
        ended: float = 10,
        also: tuple[str, ...] = (),
    ) -> int:
        """An experiment of mx whose visit ended so many days ago; its number."""
        project = {"1": "ny79", "2": "kx12"}.get(epn[:-1])
        end = NOW - timedelta(days=ended)
        place = self.storage / (project or "none") / epn / "data"
        with Database.open(self.catalogue_path).transaction() as db:
            row = {
                "beamline": "mx", "epn": epn, "proposal": epn[:-1], "source": f"/data/mx/{epn}",
                "first_seen": end, "last_seen": NOW, "files": len(paths), "bytes": 10 * len(paths),
                "modified": end,
            }  # fmt: skip
            number = int(db.execute(experiments.insert(), row).inserted_primary_key[0])
            db.execute(visits.insert(), {
                "equipment": 23, "visit": f"v{number}", "epn": epn, "beamline": "mx",
                "start": end - timedelta(hours=8), "end": end, "title": title, "scientists": [person_named(name) for name in also],
                "principal": person_named(person),
                "told": NOW,
            })  # fmt: skip
            listed = [{"experiment_id": number, "path": path, "size": 10, "modified": 0,
                       "since": 1, "seen": 1} for path in paths]  # fmt: skip
            db.execute(files.insert(), listed)
            if complete or reason:
                done = NOW - timedelta(days=1)
                db.execute(copies.insert(), {
                    "id": number, "experiment_id": number, "project": project or "",
                    "destination": str(place), "project_folder": str(place.parents[1]),
                    "completed": done if complete else None,
                    "completed_listing": done if complete else None,
                    "files": len(paths), "bytes": 10 * len(paths),
                    "level": Level.SIZE if complete else None, "verified": done if complete else None,
                })  # fmt: skip
                db.execute(attempts.insert(), {
                    "copy_id": number, "started": done - timedelta(seconds=10), "ended": done,
                    "host": "h", "pid": 1, "engine": "sftp", "check": "size", "compare": "time",
                    "verdict": "complete" if complete else "failed", "reason": reason, "stderr": "",
                    "files": len(paths), "bytes": 10 * len(paths),
                })  # fmt: skip
                db.execute(held.insert(), [
                    {"copy_id": number, "path": path, "size": 10, "modified": 0, "checked": 0,
                     "level": Level.SIZE, "damage": None if complete else "missing"}
                    for path in paths
                ])  # fmt: skip
        if complete:
            place.mkdir(parents=True, exist_ok=True)
            (place / "one").touch()
        give(self.place)
        return number

    def bring(self, epn: str, **options: Any) -> Path:
        """An experiment that is complete, with its files at home and their digests known."""
        number = self.experiment(epn, complete=True, **options)
        place = self.storage / {"1": "ny79", "2": "kx12"}[epn[:-1]] / epn / "data"
        (place / "one").unlink()
        with Database.open(self.catalogue_path).transaction() as db:
            mine = held.c.copy_id == number
            for path in db.scalars(held.select().with_only_columns(held.c.path).where(mine)):
                file = place / os.fsdecode(path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(bytes(10))
                os.utime(file, (0, 0))
            digest = hashlib.sha256(bytes(10)).digest()
            db.execute(held.update().where(mine).values(sha256=digest))
        give(self.place)
        return place

    def asynchy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.program.run("asynchy", "--config", self.config, *arguments)

    def token(self, name: str, role: str = "reader") -> str:
        made = self.asynchy("web", "token", "add", name, "--role", role)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    @contextmanager
    def serving(self) -> Iterator[Browser]:
        """The dashboard, until the end of this."""
        with served(self.program, self.config) as address:
            yield Browser(address)


@contextmanager
def served(program: Program, config: Path) -> Iterator[str]:
    """The address of a dashboard, which runs until the end of this and ends with exit code 0."""
    with program.start("asynchy", "--config", config, "web") as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line.startswith("The dashboard is at "), process.stderr.read()
            yield line.removeprefix("The dashboard is at ").strip()
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=LIMIT)
        assert (process.returncode, "Traceback" in errors) == (0, False), errors
