"""asynchy sync: the catalogue's experiments come home to one destination."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulator.compare import compare_trees
from simulator.experiments import big_sparse_file, mx_experiment
from simulator.facility import Facility
from simulator.scratch import remove
from tests.conftest import (
    Group,
    Home,
    Program,
    comes_in_part,
    give,
    stop_between_writes,
    wait_until,
)

SLOWLY = "bandwidth-limit: 60 MB\n"
"""So that what is to be disturbed goes on for seconds, however fast the machine is."""


@dataclass
class History:
    """Years of experiments at the facility, and an original's database that names them."""

    place: Path
    facility: Facility
    program: Program

    def __post_init__(self) -> None:
        self.dest = self.place / "vault"
        self.dest.mkdir()
        self.config = self.place / "as.yaml"
        self.configure()
        with closing(sqlite3.connect(self.place / "files.db")) as db, db:
            db.execute(
                "CREATE TABLE files (epn TEXT, path TEXT UNIQUE, size INTEGER, modified DATETIME)"
            )
        give(self.place)

    def configure(self, further: str = "") -> None:
        """Write the config file; `further`: lines at its end."""
        self.config.write_text(
            f"host: {self.facility.host}\nport: {self.facility.port}\n"
            f"user: {self.facility.user}\nkeypath: {self.facility.key_file}\ndb: files.db\n"
            f"known-hosts: {self.facility.known_hosts}\nwalk-root: {self.facility.data}\n{further}"
        )

    def experiment(self, epn: str, year: int, *, big: int = 0) -> Path:
        source = self.facility.experiment("mx", epn)
        mx_experiment(source, epn, frames=2, frame_bytes=3000)
        if big:
            big_sparse_file(source / "zz" / "z-image.sqfs", big)
        give(source)
        with closing(sqlite3.connect(self.place / "files.db")) as db, db:
            for path in source.rglob("*"):
                if path.is_file():
                    values = (epn, str(path), path.stat().st_size, f"{year}-07-01 08:00:00")
                    db.execute("INSERT INTO files VALUES (?, ?, ?, ?)", values)
        return source

    def command(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        return ("asynchy", "--config", self.config, *arguments)

    def sync(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.program.run(*self.command("sync", "--dest", self.dest, *arguments), **options)

    def status(self, epn: str) -> dict[str, Any]:
        answer = self.program.run(*self.command("status", epn, "--json"))
        assert answer.returncode == 0, answer.stderr
        (row,) = json.loads(answer.stdout)["copies"]
        found: dict[str, Any] = row
        return found

    @property
    def at_home(self) -> list[str]:
        return sorted(path.name for path in self.dest.iterdir())


@pytest.fixture
def history(place: Path, facility: Facility, program: Program) -> Iterator[History]:
    folder = place / "us"
    folder.mkdir()
    yield History(folder, facility, program)


def test_a_small_experiment_takes_one_listing_and_one_stream(history: History) -> None:
    history.experiment("12a", 2012)
    before = history.facility.sshd_log().count("Accepted publickey")
    assert history.sync().returncode == 0
    # The connection that was begun while the code was loaded lists, before and after.
    assert history.facility.sshd_log().count("Accepted publickey") - before == 2


FAR = 2.0
"""Seconds of a round trip."""


def connections(facility: Facility) -> int:
    return facility.sshd_log().count("Connection from")


def walked_from_afar(group: Group) -> Path:
    """An experiment that has been walked, as it seems from as far as no busy machine adds to it."""
    source = group.experiment("12282a")
    big_sparse_file(source / "image.sqfs", 2**28)
    give(source)
    (group.place / "vault").mkdir()
    give(group.place)
    assert group.walk().returncode == 0
    ((far,),) = group.rows("SELECT round_trip FROM sightings")
    assert 0 < far < FAR
    with closing(sqlite3.connect(group.place / "catalogue.db")) as db, db:
        db.execute("UPDATE sightings SET round_trip = ?", [FAR])
    give(group.place)
    return source


def test_far_away_the_streams_connect_at_once_where_the_walk_could_log_in(group: Group) -> None:
    source = walked_from_afar(group)
    before = connections(group.facility)
    run = group.asynchy("sync", "--dest", group.place / "vault")
    assert run.returncode == 0, run.stdout + run.stderr
    assert compare_trees(source, group.place / "vault" / "12282a", modes=False) == []
    # With that for the listings; sshd may log them after the command has ended.
    wait_until(lambda: connections(group.facility) - before >= 8)
    assert all(0 < far < FAR for (far,) in group.rows("SELECT round_trip FROM sightings")[1:])


def test_a_key_that_is_refused_is_not_tried_by_many_again(group: Group) -> None:
    walked_from_afar(group)
    other = group.place / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    give(group.place)
    group.configure(key_path=other)
    tried = []
    for _ in range(2):
        before = connections(group.facility)
        run = group.asynchy("sync", "--dest", group.place / "vault")
        assert (run.returncode, "refused the SSH key" in run.stdout) == (6, True), (
            run.stderr + run.stdout
        )
        wait_until(lambda: not group.facility.sessions())  # sshd has logged them
        tried.append(connections(group.facility) - before)
    # All connect at once, and that for the listing twice; the end of the command ends those that
    # a busy machine has not begun.
    assert 4 <= tried[0] <= 9
    assert 2 <= tried[1] <= 3


def test_all_of_history_comes_home_once(history: History) -> None:
    sources = {epn: history.experiment(epn, year) for epn, year in (("12a", 2012), ("9b", 2011))}
    run = history.sync("--threads", "2")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 experiments completed, 0 still due." in run.stdout
    for epn, source in sources.items():
        assert compare_trees(source, history.dest / epn) == []
    row = history.status("12a")
    assert (row["history"][0]["verdict"], row["history"][0]["exit_code"]) == ("complete", 0)
    with closing(sqlite3.connect(history.place / "files.db")) as db:
        assert db.execute("SELECT epn, complete FROM epns ORDER BY epn").fetchall() == [
            ("12a", 1),
            ("9b", 1),
        ]
    again = history.sync()
    assert again.returncode == 0
    assert "Nothing to transfer." in again.stdout


def test_in_order_of_date_up_to_the_limit(history: History) -> None:
    for epn, year in (("12a", 2012), ("9b", 2011), ("15c", 2015)):
        history.experiment(epn, year)
    before = {path: path.read_bytes() for path in history.place.glob("files.db*")}
    dry = history.sync("--dry-run")
    lines = [line.split()[0] for line in dry.stdout.splitlines() if "never fetched" in line]
    assert lines == ["9b", "12a", "15c"], dry.stderr
    assert {path: path.read_bytes() for path in history.place.glob("files.db*")} == before
    refused = history.program.run(*history.command("status"))
    assert (refused.returncode, "a database of the original" in refused.stderr) == (5, True)
    limited = history.sync("--limit", "1")
    assert limited.returncode == 1  # two are left
    assert "2 more experiments are due, beyond --limit" in limited.stdout
    assert "1 experiment completed, 2 still due." in limited.stdout
    assert history.at_home == ["9b"]
    dry = history.sync("--dry-run", "--order", "DESC")
    lines = [line.split()[0] for line in dry.stdout.splitlines() if "never fetched" in line]
    assert lines == ["15c", "12a"]
    assert history.at_home == ["9b"]
    assert history.sync("--since", "2014-01-01").returncode == 0
    assert history.at_home == ["15c", "9b"]
    assert history.sync("--epn", "12a", "--until", "2012-01-01").returncode == 0
    assert history.at_home == ["15c", "9b"]
    assert history.sync("--epn", "12a").returncode == 0
    assert history.at_home == ["12a", "15c", "9b"]


def test_a_copy_at_another_destination_is_another_copy(history: History) -> None:
    history.experiment("12a", 2012)
    assert history.sync().returncode == 0
    other = history.place / "other"
    other.mkdir()
    give(other)
    run = history.program.run(*history.command("sync", "--dest", other))
    assert run.returncode == 0
    assert (other / "12a").is_dir()


def test_each_in_a_process_of_its_own_whose_death_costs_it_alone(history: History) -> None:
    history.experiment("12a", 2012, big=2**29)
    history.experiment("9b", 2011)
    history.configure(SLOWLY)
    command = history.command("sync", "--dest", history.dest, "--parallel", "--threads", "2")
    with history.program.start(*command) as process:
        wait_until(lambda: comes_in_part(history.dest / "12a"))
        (worker,) = _workers(history, "12a")
        # It could be done before the other has begun.
        stop_between_writes(worker, history.place / "files.db")
        with closing(sqlite3.connect(history.place / "files.db")) as db:
            pids = {pid for (pid,) in db.execute("SELECT pid FROM claims")}
        assert process.pid not in pids
        wait_until((history.dest / "9b").is_dir)
        os.kill(worker, signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    assert "its process died" in out
    assert "1 experiment completed, 1 still due." in out
    history.configure()
    assert history.sync("--partial").returncode == 0
    assert [a["verdict"] for a in history.status("12a")["history"]] == ["interrupted", "complete"]


def _workers(history: History, epn: str) -> list[int]:
    with closing(sqlite3.connect(history.place / "files.db")) as db:
        query = (
            "SELECT pid FROM claims JOIN copies ON copies.id = copy_id"
            " JOIN experiments ON experiments.id = experiment_id WHERE epn = ?"
        )
        return [pid for (pid,) in db.execute(query, (epn,))]


@pytest.mark.parametrize(
    "parallel",
    [
        pytest.param((), id="threads"),
        pytest.param(("--parallel",), id="processes", marks=pytest.mark.extra),
    ],
)
def test_ctrl_c_ends_it_cleanly_and_partial_goes_on(
    history: History, parallel: tuple[str, ...]
) -> None:
    source = history.experiment("12a", 2012, big=2**29)
    history.configure(SLOWLY)
    command = history.command("sync", "--dest", history.dest, "--partial", *parallel)
    with history.program.start(*command) as process:
        wait_until(lambda: comes_in_part(history.dest / "12a"))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; fetched data is kept" in out
    history.configure()
    assert history.sync("--partial", *parallel).returncode == 0
    attempts = history.status("12a")["history"]
    assert [attempt["verdict"] for attempt in attempts] == ["stopped", "complete"]
    assert attempts[1]["bytes"] < 2**29
    assert compare_trees(source, history.dest / "12a") == []


@pytest.mark.parametrize("parallel", [(), ("--parallel",)], ids=["threads", "processes"])
def test_without_sftp_rsync_brings_it(history: History, parallel: tuple[str, ...]) -> None:
    history.facility.stop_sshd()
    history.facility.offers_sftp = False
    history.facility.start_sshd()
    source = history.experiment("12a", 2012)
    assert history.sync(*parallel).returncode == 0
    (attempt,) = history.status("12a")["history"]
    assert (attempt["engine"], attempt["chosen"]) == ("rsync", "the server offers no SFTP")
    assert compare_trees(source, history.dest / "12a") == []


def test_a_lost_connection_is_tried_again(history: History) -> None:
    history.experiment("12a", 2012)
    history.facility.stop_sshd()
    command = history.command("sync", "--dest", history.dest, "--retry", "5")
    with history.program.start(*command) as process:
        assert process.stderr is not None
        wait_until(lambda: "trying again in 2.0 s" in process.stderr.readline())  # type: ignore[union-attr]
        history.facility.start_sshd()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert history.at_home == ["12a"]


def test_what_cannot_be_done_is_said(history: History) -> None:
    history.experiment("12a", 2012)
    missing = history.program.run(*history.command("sync", "--dest", history.place / "nope"))
    assert (missing.returncode, "is not there" in missing.stderr) == (3, True)
    unknown = history.sync("--epn", "99z")
    assert (unknown.returncode, "does not know 99z" in unknown.stderr) == (5, True)
    nothing = history.sync("--src_prefix", "/nowhere")
    assert nothing.returncode == 6
    assert "there is no such folder at the facility: /nowhere/12a" in nothing.stdout
    dashed = history.sync("--src-prefix", f"{history.facility.data}/mx")
    assert dashed.returncode == 0, dashed.stdout


def test_a_list_of_epns_is_fetched_and_what_is_not_known_costs_no_other(
    history: History,
) -> None:
    for epn in ("12a", "13b", "14c"):
        history.experiment(epn, 2012)
    listed = history.place / "epns.txt"
    listed.write_text("# of the paper\n12a\n13B, late\nnonsense\n99z\n")
    give(history.place)
    run = history.sync("--list", str(listed))
    assert run.returncode == 1
    assert history.at_home == ["12a", "13b"]
    assert "99z" in run.stdout and "the catalogue does not know it" in run.stdout
    assert "no EPN: epns.txt, line 4: nonsense" in run.stderr
    listed.write_text("12a, 13b,14c\n")
    assert history.sync("--list", str(listed)).returncode == 0
    assert history.at_home == ["12a", "13b", "14c"]
    listed.write_text("99z\n98z\n")
    none = history.sync("--list", str(listed))
    assert (none.returncode, "does not know 98z, 99z" in none.stderr) == (5, True)
    missing = history.sync("--list", str(history.place / "nope"))
    assert (missing.returncode, "No such file" in missing.stderr) == (3, True)


def test_what_was_never_fetched_and_is_gone_needs_a_person_until_it_is_released(
    group: Group,
) -> None:
    group.experiment("12282a")
    lost = group.experiment("12283a")
    vault = group.place / "vault"
    vault.mkdir()
    give(vault)
    assert group.walk().returncode == 0
    remove(lost)
    assert group.walk().returncode == 0
    run = group.asynchy("sync", "--dest", vault)
    assert run.returncode == 1
    assert "gone from the facility, and not complete at home" in run.stdout
    assert group.asynchy("copies", "forget", "12283a", "--reason", "a test").returncode == 0
    assert group.asynchy("sync", "--dest", vault).returncode == 0


def test_what_was_never_listed_is_named_if_experiments_are_asked_for_by_their_time(
    home: Home,
) -> None:
    mx_experiment(home.facility.experiment("mx", "12282a"), "12282a", frames=2, frame_bytes=3000)
    give(home.facility.data)
    assert home.once().returncode == 0  # it is visible, and in no visit
    vault = home.place / "vault"
    vault.mkdir()
    give(vault)
    sync = ("asynchy", "--config", home.config, "sync", "--dest", vault, "--since", "2020-01-01")
    unknown = home.program.run(*sync)
    assert unknown.returncode == 6
    assert "it is not known of when its files are" in unknown.stdout
    assert home.program.run("asynchy", "--config", home.config, "walk").returncode == 0
    assert home.program.run(*sync).returncode == 0


def test_mxsync_and_sync_share_one_catalogue(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=3000)
    give(source)
    home.visit("12282a")
    assert home.once().returncode == 0
    vault = home.place / "vault"
    vault.mkdir()
    give(vault)
    run = home.program.run("asynchy", "--config", home.config, "sync", "--dest", vault)
    assert run.returncode == 0, run.stderr
    assert compare_trees(source, vault / "12282a") == []
    assert {row["destination"] for row in home.status()} == {
        str(home.copy("12282a")),
        str(vault / "12282a"),
    }


@pytest.mark.parametrize(
    "arguments",
    [("--order", "UP"), ("--limit", "0"), ("--threads", "0"), ("--retry", "-1"), ("--epn", "../x"),
     ("--src_prefix", "/data/$(id)"), ("--since", "yesterday")],
)  # fmt: skip
def test_a_wrong_option_is_a_usage_error(program: Program, arguments: tuple[str, ...]) -> None:
    run = program.run("asynchy", "sync", *arguments)
    assert run.returncode == 2
    assert "accepted is" in run.stderr or "is not an EPN" in run.stderr


def test_the_option_lines_are_those_of_the_founding_document(program: Program) -> None:
    run = program.run("asynchy", "sync", "--help")
    wanted = """\
  --dest TEXT        Destination directory  [default: ./]
  --src_prefix TEXT  Prefix to append to EPNs to create their path  [default:
                     /]
  --order TEXT       Order of transfers by date  [default: ASC]
  --limit INTEGER    Number of EPNs transfer  [default: 50]
  --retry INTEGER    Number of time to retry SSH connection  [default: 0]
  --parallel         Use multiple processes for parallelisation  [default:
                     False]
  --threads INTEGER  Number of threads to use. If parallel, the number of
                     Python processes to use  [default: 1]
  --partial          Enable partial transfers  [default: False]
  --compress         Enable compression prior to transfer  [default: False]
"""
    assert wanted in run.stdout
    assert "  --help             Show this message and exit.\n" in run.stdout


def test_init_asks_for_what_is_missing_and_overwrites_nothing(
    program: Program, place: Path
) -> None:
    config = place / "as.yaml"
    command = (
        "asynchy", "--config", config, "init", "--host", "sftp.example", "--port", "2222",
        "--user", "me@uni.example", "--keypath", "key", "--db", "./files.db",
    )  # fmt: skip
    keyless = program.run(*command)
    assert (keyless.returncode, config.exists()) == (3, False)
    assert f"there is no key file {place}/key that this user can reach" in keyless.stderr
    (place / "key").write_text("no key")
    give(place)
    taken = program.run(*command[:-1], "key")
    assert (taken.returncode, config.exists()) == (3, False)
    assert f"the database {place}/key is not an SQLite file" in taken.stderr
    made = program.run(*command)
    assert made.returncode == 0
    assert "Warning: " in made.stderr
    (place / "key").unlink()
    written = config.read_text()
    assert f"keypath: {place}/key\n" in written and f"db: {place}/files.db\n" in written
    checked = program.run("asynchy", "config", "check", config)
    assert checked.returncode == 3
    assert "/key cannot be read: No such file" in checked.stderr
    again = program.run(*command)
    assert (again.returncode, "is there already" in again.stderr) == (3, True)
    assert config.read_text() == written
    (place / "key").write_text("no key")
    assert program.run(*command, "--overwrite").returncode == 0
    unasked = program.run("asynchy", "--config", config, "init")
    assert (unasked.returncode, "Host" in unasked.stdout) == (3, False)
    deep = place / "etc" / "asynchy" / "as.yaml"
    assert program.run(*("asynchy", "--config", deep, *command[3:])).returncode == 0
    assert deep.is_file()
    assert program.run("asynchy", "--config", place / "other", "init").returncode == 1  # no answer
    assert not (place / "other").exists()


def test_init_writes_the_host_key_whose_fingerprint_the_facility_names(
    group: Group, place: Path
) -> None:
    config, facility = place / "as.yaml", group.facility
    command = (
        "asynchy", "--config", config, "init", "--host", facility.host, "--port",
        str(facility.port), "--user", facility.user, "--keypath", facility.key_file, "--db", "c.db",
    )  # fmt: skip
    wrong = group.program.run(*command, "--fingerprint", f"SHA256:{'A' * 43}")
    assert (wrong.returncode, config.exists()) == (4, False)
    assert "does not offer a host key with the fingerprint" in wrong.stderr
    public = facility.folder / "ssh" / "host_key.pub"
    told = subprocess.run(
        ["ssh-keygen", "-l", "-E", "sha256", "-f", public],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()[1]
    assert group.program.run(*command, "--fingerprint", told).returncode == 0
    assert f"known-hosts: {place}/as.known_hosts\n" in config.read_text()
    walked = group.program.run("asynchy", "--config", config, "doctor")
    assert "host key and key accepted" in walked.stdout, walked.stdout


def test_status_of_an_epn_says_the_state_of_what_sync_fetched(group: Group) -> None:
    group.experiment("12282a")
    vault = group.place / "vault"
    vault.mkdir()
    give(vault)
    assert group.walk().returncode == 0
    assert group.asynchy("sync", "--dest", vault).returncode == 0
    assert "12282a (mx): complete" in group.asynchy("status", "12282a").stdout
    remove(vault / "12282a")
    (vault / "other").mkdir()
    said = group.asynchy("status", "12282a").stdout
    assert "why: its folder is missing" in said and "copies list 12282a" in said
