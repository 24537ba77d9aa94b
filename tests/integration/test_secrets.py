"""No secret in a log, an error, an argument, the environment of a child, the catalogue or a mail.

Canaries stand in for each secret. Everything that the commands wrote or said is searched for them,
as they are and in each form in which they travel; and so is the command line and the environment of
every ssh and rsync that was started, and the command line of whoever started it: wrappers that
stand before them on the PATH write it down.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import trustme

from simulator.demo import main as demo
from simulator.experiments import mx_experiment
from simulator.mail import MailSink
from simulator.portal.handle import OMIT
from simulator.portal.state import ACCOUNT
from simulator.scratch import remove
from tests.conftest import Home, give
from tests.integration.test_verify import FRAME

MAIL = "mail/canary+p@ss %word"
WRONG = "wrong/canary+p@ss %word"

_RECORDER = """#!/bin/sh
record={records}/$$-{name}
tr '\\0' '\\n' < /proc/$$/environ > $record
process=$$
while [ "$process" -gt 1 ]; do
    tr '\\0' '\\n' < /proc/$process/cmdline >> $record
    process=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$process/status)
done 2>> $record
exec {real} "$@"
"""


def recorders(place: Path) -> Path:
    """A folder with an ssh and an rsync that write down in `records` who calls them, and how."""
    records, tools = place / "records", place / "bin"
    for folder in (records, tools):
        folder.mkdir()
    for name in ("ssh", "rsync"):
        script = _RECORDER.format(records=records, name=name, real=shutil.which(name))
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    give(records)
    return tools


class Watch:
    """All that was said and written by commands of a home."""

    def __init__(self, home: Home, place: Path) -> None:
        self.home = home
        self.place = place
        self.said: list[str] = []
        self.records = place / "records"
        home.program.environment["PATH"] = f"{recorders(place)}:{os.environ['PATH']}"

    def run(self, *command: str | Path, config: Path | None = None, **options: Any) -> int:
        name, *rest = map(str, command)
        run = self.home.program.run(name, "--config", config or self.home.config, *rest, **options)
        self.said.append(f"{command}\n{run.stdout}\n{run.stderr}")
        return run.returncode

    def written(self) -> Iterator[tuple[str, bytes]]:
        """What was written, with its place."""
        for at, text in enumerate(self.said):
            yield f"output {at}", text.encode()
        hidden = {self.home.config, *self.home.place.glob("secret-*")}
        for top in (self.home.place, self.place / "mails", self.records):
            for path in top.rglob("*"):
                if path.is_file() and path not in hidden:
                    yield str(path), path.read_bytes()
        with closing(sqlite3.connect(self.home.place / "catalogue.db")) as db:
            yield "the catalogue", "\n".join(db.iterdump()).encode()

    def search(self, secrets: set[str]) -> list[str]:
        """Where there is one."""
        assert any(name.endswith("-ssh") for name in os.listdir(self.records))
        needles = {form for secret in secrets for form in forms(secret)}
        return [
            f"{where}: {needle!r}"
            for where, data in self.written()
            for needle in needles
            if needle in data
        ]

    def tokens(self) -> set[str]:
        asked = self.home.facility.portal.requests()
        return {item.query["access_token"] for item in asked if "access_token" in item.query}


def forms(secret: str) -> set[bytes]:
    """A secret as it is, and as it looks in URLs, JSON, hexadecimal and, however it begins, Base64."""
    data = secret.encode()
    found = {data, quote(data, safe="").encode(), quote_plus(data).encode(), data.hex().encode()}
    found |= {quote(data).encode(), json.dumps(secret)[1:-1].encode(), repr(secret)[1:-1].encode()}
    for skipped in range(3):
        encoded = base64.b64encode(b"\0" * skipped + data)
        whole = encoded[4 if skipped else 0 : -4 if encoded.endswith(b"=") else None]
        found.add(whole)
    assert all(len(form) >= 8 for form in found), found
    return found


def basic() -> str:
    return f"{ACCOUNT['client_name']}:{ACCOUNT['client_password']}"


@pytest.fixture
def pem(place: Path, home: Home) -> Path:
    authority = trustme.CA()
    path = place / "mail.pem"
    certificate = authority.issue_cert("127.0.0.1")
    path.write_bytes(certificate.private_key_pem.bytes() + certificate.cert_chain_pems[0].bytes())
    authority.cert_pem.write_to_path(str(home.place / "authority.pem"))
    return path


def configure(home: Home, sink: MailSink, **keys: Any) -> None:
    for name, secret in (("portal", ACCOUNT["password"]), ("mail", MAIL), ("wrong", WRONG)):
        (home.place / f"secret-{name}").write_text(secret + "\n")
        (home.place / f"secret-{name}").chmod(0o600)
    portal = {"file": str(home.place / "secret-portal")}
    home.configure(**{
        "equipment": [{"id": 23, "password": portal}],
        "log_level": "logging.DEBUG",
        "receipt": "true",
        "epnalert_email_smtp": f"{sink.host}:{sink.port}",
        "epnalert_smtp_security": "starttls",
        "epnalert_smtp_user": "me",
        "epnalert_smtp_password": {"file": str(home.place / "secret-mail")},
        "epnalert_template_folder": OMIT,
        "epnalert_template_text": OMIT,
        "epnalert_template_html": OMIT,
        "ca_bundle": str(home.place / "authority.pem"),
        **keys,
    })  # fmt: skip


@pytest.mark.extra
def test_no_secret_is_written_shown_or_handed_on(home: Home, place: Path, pem: Path) -> None:
    watch = Watch(home, place)
    facility, portal = home.facility, home.facility.portal
    for epn in ("12282a", "7000x"):
        source = facility.experiment("mx", epn)
        mx_experiment(source, epn, frames=2, frame_bytes=3000)
        give(facility.data)
        home.visit(epn)
    key = facility.key_file.read_text().splitlines()[2]
    secrets = {ACCOUNT["password"], ACCOUNT["client_password"], basic(), MAIL, WRONG, key}
    secrets.add(f"\0me\0{MAIL}")
    with MailSink(place / "mails", security="starttls", pem=pem, login=f"me:{MAIL}") as sink:
        configure(home, sink)
        portal.expire_tokens_after(1)
        assert watch.run("asynchy", "doctor") == 0, watch.said
        watch.run("mxsync")
        watch.run("mxsync", "--execute", "--once")
        assert home.copy("12282a").is_dir()
        configure(home, sink, engine="rsync")
        (home.place / "ignore.yml").write_text("previouslySynched: []\n")
        (home.copy("12282a") / FRAME).unlink()
        watch.run("mxsync", "--execute", "--once")
        assert watch.run("asynchy", "verify") == 0
        assert watch.run("asynchy", "audit") == 0
        assert watch.run("asynchy", "receipt", "12282a", "--out", home.place / "receipt") == 0
        assert watch.run("asynchy", "status", "12282a", "--json") == 0
        assert watch.run("epnalert", "--dry-run") == 0
        assert watch.run("epnalert") == 0, watch.said[-1]
        assert len(sink.mails) == 1
        assert watch.run("asynchy", "walk") == 0
        (home.place / "vault").mkdir()
        give(home.place / "vault")
        sync = ("sync", "--dest", home.place / "vault", "--threads", "2", "--parallel")
        assert watch.run("asynchy", *sync) == 0
        assert watch.run("asynchy", "catalogue", "export", "--files") == 0

        # Others quote what they were asked: the portal, something before it, the mail server.
        troubles: list[dict[str, Any]] = [
            {"name": "refuse_credentials"},
            {"name": "echo", "path": "token", "code": 401},
            {"name": "echo", "path": "token"},
            {"name": "echo", "path": "token", "html": True, "times": 1},
            {"name": "echo", "path": "visits"},
            {"name": "echo", "path": "visits", "html": True, "times": 1},
            {"name": "status", "code": 500, "path": "visits", "times": 1},
        ]
        for trouble in troubles:
            portal.set_fault(**trouble)
            watch.run("mxsync")
            portal.clear_faults()
            quoted = trouble["name"] == "echo" and trouble.get("path") == "visits"
            assert not quoted or "********" in watch.said[-1], watch.said[-1]
        wrong = {"file": str(home.place / "secret-wrong")}
        configure(home, sink, equipment=[{"id": 23, "client_password": wrong}])
        assert watch.run("mxsync") == 4
        assert "the portal refused the credentials" in watch.said[-1]
        configure(home, sink, epnalert_smtp_password=wrong)
        assert watch.run("epnalert") == 7
        assert "refused the user or the password" in watch.said[-1]
        sink.refuse(f"550 {MAIL} {base64.b64encode(MAIL.encode()).decode()} is no good")
        configure(home, sink)
        assert watch.run("epnalert") == 7
        assert "550 ******** ******** is no good" in watch.said[-1]
        sink.refuse(None)
        (place / "mails" / "refuse").unlink(missing_ok=True)
        configure(home, sink, key_file=str(home.place / "secret-portal"))
        assert watch.run("asynchy", "doctor") == 1
    assert len(watch.tokens()) >= 3
    assert watch.search(secrets | watch.tokens()) == []


def test_the_search_finds_what_it_is_to_find(home: Home, place: Path) -> None:
    """Who trusts a search must have seen it find something."""
    watch = Watch(home, place)
    with closing(sqlite3.connect(home.place / "catalogue.db")) as db:
        db.execute("CREATE TABLE t (x)")
    environment = {**os.environ, "X": MAIL}
    tool = place / "bin" / "ssh"
    subprocess.run([tool, "-V", MAIL], env=environment, check=False, capture_output=True)
    (log,) = watch.records.iterdir()
    assert log.read_text().count(MAIL) == 2
    for text in (f"a {quote(MAIL)}", base64.b64encode(b"user:" + MAIL.encode()).decode()):
        (home.place / "some.log").write_text(text)
        assert any("some.log" in where for where in watch.search({MAIL}))


@pytest.mark.extra
@pytest.mark.timeout(400)
def test_the_demo_writes_no_secret(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", f"{recorders(place)}:{os.environ['PATH']}")
    searched: list[Path] = []

    def search(folder: Path) -> None:
        (key,) = folder.glob("facility/ssh/key")
        secrets = {ACCOUNT["password"], ACCOUNT["client_password"], basic()}
        secrets.add(key.read_text().splitlines()[2])
        needles = {form for secret in secrets for form in forms(secret)}
        out, err = capfd.readouterr()
        assert "== The first run" in out
        assert not [needle for needle in needles if needle in (out + err).encode()]
        hidden = {folder / "home" / "config.yml", folder / "facility"}
        for path in [*folder.rglob("*"), *(place / "records").iterdir()]:
            small = path.is_file() and path.stat().st_size < 2**26
            if small and not hidden & {path, *path.parents}:
                data = path.read_bytes()
                assert not [needle for needle in needles if needle in data], path
                searched.append(path)
        remove(folder)

    monkeypatch.setattr("simulator.demo.keep", search)
    assert demo() == 0
    assert {"catalogue.db", "sync.log", "0001.eml"} <= {path.name for path in searched}
    assert any(path.name.endswith("-ssh") for path in searched)
