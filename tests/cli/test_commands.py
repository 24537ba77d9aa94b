"""Literal command lines: options, output, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from asynchy.cli.commands.alert import epnalert
from asynchy.cli.commands.mxsync import mxsync
from asynchy.cli.commands.walk import as_walker
from asynchy.cli.main import asynchy
from simulator.experiments import mx_experiment
from tests.conftest import Home, Program, give

GOOD = """\
beamline: mx
ignore: ignore.yml
destination-root-path: storage
user: me@uni.example
equipment:
  - id: 23
    username: me
    password: {env: PORTAL_PASSWORD}
    client_name: us
    client_password: cp-canary
"""


def write(place: Path, text: str) -> Path:
    path = place / "config.yml"
    path.write_text(text)
    path.chmod(0o600)
    return give(path)


@pytest.mark.parametrize("option", ["--config FILE", "--execute", "--once", "--version"])
def test_the_options_of_mxsync(program: Program, option: str) -> None:
    answer = program.run("mxsync", "--help")
    assert answer.returncode == 0
    assert option in answer.stdout


def test_the_commands_of_asynchy(program: Program) -> None:
    answer = program.run("asynchy", "--help")
    assert answer.returncode == 0
    assert "[default: ~/.as.yaml]" in answer.stdout
    for command in ("catalogue", "config", "doctor", "init", "status", "sync"):
        assert f"\n  {command} " in answer.stdout


_LIST = """
import sys
from asynchy.cli.main import asynchy
asynchy(["-h"], standalone_mode=False)
assert "sqlalchemy" not in sys.modules
"""


def test_the_list_of_commands_has_the_help_of_each_and_loads_none(program: Program) -> None:
    made = subprocess.run([sys.executable, "-c", _LIST], capture_output=True, text=True, check=True)
    lines = made.stdout.partition("Commands:\n")[2].splitlines()
    assert len(lines) > 10
    for command, text in (line.split(None, 1) for line in lines):
        shown = program.run("asynchy", command, "-h").stdout
        assert text.removesuffix("...") in " ".join(shown.split()), command


def below(names: tuple[str, ...], command: click.Command) -> Iterator[tuple[str, ...]]:
    """A command and all commands below it, by their names."""
    yield names
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            one = command.get_command(click.Context(command), name)
            assert one is not None
            yield from below((*names, name), one)


ALL_OF_ASYNCHY = tuple(below(("asynchy",), asynchy))
OTHERS = {("mxsync",): mxsync, ("epnalert",): epnalert, ("as-walker",): as_walker}
UNCLEAR = re.compile(
    r"\b(anew|hear[ds]?|holds? \w+ against|lies|likewise|mend|misses|so many|tell[s]?|told|too many|"
    r"where (it|there|people|what))\b",
    re.IGNORECASE,
)
"""What is not standard technical English."""


@pytest.mark.parametrize("command", [*OTHERS, *ALL_OF_ASYNCHY], ids=" ".join)
def test_help_is_printed_for_a_single_h_in_standard_english(command: tuple[str, ...]) -> None:
    program = OTHERS.get(command, asynchy)
    answer = CliRunner().invoke(program, [*command[1:], "-h"], prog_name=command[0])
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"Usage: {' '.join(command)} ")
    assert "--config FILE" in answer.stdout
    assert UNCLEAR.findall(answer.stdout) == []


@pytest.mark.parametrize("command", [*OTHERS, ("asynchy", "report", "at-risk")], ids=" ".join)
def test_an_installed_command_takes_a_single_h(program: Program, command: tuple[str, ...]) -> None:
    answer = program.run(*command, "-h")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"Usage: {' '.join(command)} ")


def test_the_config_is_named_before_or_after_a_command_or_by_the_environment(
    program: Program, place: Path
) -> None:
    path = str(write(place, f'{GOOD}epn_cap_map: {{"12282": ny79}}\n'))
    secret = {"PORTAL_PASSWORD": "x"}
    for command in (
        ("asynchy", "--config", path, "map", "list"),
        ("asynchy", "map", "--config", path, "list"),
        ("asynchy", "map", "list", f"--config={path}"),
        ("asynchy", "--config", "/nowhere", "map", "list", "--config", path),
    ):
        answer = program.run(*command, environment=secret)
        assert (answer.returncode, "12282" in answer.stdout) == (0, True), answer.stderr
    away = {**secret, "ASYNCHY_CONFIG": path, "HOME": str(place)}
    for command in (("asynchy", "map", "list"), ("asynchy", "config", "check")):
        answer = program.run(*command, environment=away)
        assert answer.returncode == 0, answer.stderr
    at_home = {**away, "ASYNCHY_CONFIG": "~/config.yml"}
    assert program.run("asynchy", "map", "list", environment=at_home).returncode == 0
    nowhere = {**secret, "ASYNCHY_CONFIG": "/nowhere/config.yml"}
    for program_name in ("mxsync", "epnalert", "as-walker"):
        answer = program.run(program_name, environment=nowhere)
        assert (answer.returncode, "/nowhere/config.yml: No such file" in answer.stderr) == (
            3,
            True,
        )
    answer = program.run("asynchy", "map", "list", "--config", path, environment=nowhere)
    assert answer.returncode == 0


@pytest.mark.parametrize(("zone", "name"), [("Australia/Melbourne", "AE[DS]T"), ("UTC", "UTC")])
def test_times_have_the_zone_of_the_reader_and_show_it(home: Home, zone: str, name: str) -> None:
    home.visit("12282a")
    mx_experiment(home.facility.experiment("mx", "12282a"), "12282a", frames=1, frame_bytes=10)
    give(home.facility.data)
    home.program.environment["TZ"] = zone
    assert home.once().returncode == 0
    shown = home.program.run("asynchy", "--config", home.config, "status", "12282a").stdout
    times = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d ?\S*", shown)
    assert len(times) >= 3
    assert all(re.fullmatch(rf"[-\d]+ [:\d]+ {name}\W*", time) for time in times), times


@pytest.mark.parametrize(
    "command",
    [
        ("mxsync", "--nonsense"),
        ("mxsync", "--once"),
        ("asynchy", "nonsense"),
        ("asynchy", "config", "nonsense"),
        ("asynchy", "status", "../../etc"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(program: Program, command: tuple[str, ...]) -> None:
    answer = program.run(*command)
    assert answer.returncode == 2
    assert "Error:" in answer.stderr


@pytest.mark.parametrize(
    "command", [("mxsync",), ("asynchy", "config", "show"), ("asynchy", "status")]
)
def test_a_missing_config_file(program: Program, command: tuple[str, ...]) -> None:
    answer = program.run(*command)
    assert answer.returncode == 3
    assert "No such file" in answer.stderr
    assert "What to do:" in answer.stderr


def test_config_check_reports_every_problem_with_its_place(program: Program, place: Path) -> None:
    path = write(place, "beamline: a/b\nmax-tasks: many\nvisit-day-rnage: 3\nequipment: []\n")
    answer = program.run("asynchy", "config", "check", path)
    assert answer.returncode == 3
    assert f"{path}:1: beamline: found 'a/b'; accepted is" in answer.stderr
    assert f"{path}:2: max-tasks: found 'many'; accepted is a whole number" in answer.stderr
    assert f"{path}:3: visit-day-rnage: unknown key; did you mean visit-day-range?" in answer.stderr
    assert f"{path}:4: equipment: " in answer.stderr
    assert "ignore: is required" in answer.stderr
    assert "destination-root-path: is required" in answer.stderr


def test_config_check_names_what_is_wrong_with_the_key_file(program: Program, place: Path) -> None:
    def made(name: str, mode: int, passphrase: str = "") -> Path:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", place / name], check=True
        )
        (place / name).chmod(mode)
        return give(place / name)

    good, locked = made("good", 0o600), made("locked", 0o600, "passphrase")
    seen, damaged = made("seen", 0o644), place / "damaged"
    damaged.write_text("no key\n")
    damaged.chmod(0o600)
    give(damaged)
    os.mkfifo(place / "pipe")
    for key, code, said in (
        (good, 0, "no problems found"),
        (locked, 0, "no problems found"),  # an agent may have it
        (good.with_suffix(".pub"), 0, "no problems found"),  # likewise
        (seen, 3, f"key-file: others may read the key file {seen} (mode 0644)"),
        (damaged, 3, f"key-file: ssh cannot use the key file {damaged}: "),
        (place / "pipe", 3, f"key-file: the key file {place}/pipe is a named pipe"),
        (place, 3, f"key-file: the key file {place} is a folder (name a file with `key-file`)"),
        (place / "none", 3, f"key-file: the key file {place}/none cannot be read: No such file"),
    ):
        path = str(write(place, f"{GOOD}key-file: {key}\n"))
        answer = program.run(
            "asynchy", "config", "check", path, environment={"PORTAL_PASSWORD": "x"}
        )
        assert answer.returncode == code, answer.stdout + answer.stderr
        assert said in answer.stdout + answer.stderr


def test_config_check_names_the_lines_of_channels(program: Program, place: Path) -> None:
    channels = (
        "notify:\n- name: team\n  url: nosuch://host\non-complete:\n- name: a\n  command: [/no]\n"
    )
    path = write(place, GOOD + channels)
    line = GOOD.count("\n")
    answer = program.run("asynchy", "config", "check", path, environment={"PORTAL_PASSWORD": "x"})
    assert answer.returncode == 3
    assert f"{path}:{line + 3}: notify team: Apprise does not know" in answer.stderr
    assert f"{path}:{line + 6}: on-complete a: /no is not a program" in answer.stderr


def test_config_check_of_a_good_file(program: Program, place: Path) -> None:
    path = write(place, GOOD)
    answer = program.run("asynchy", "config", "check", path, environment={"PORTAL_PASSWORD": "x"})
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "no problems found" in answer.stdout


def test_a_secret_that_others_can_read_draws_a_warning(program: Program, place: Path) -> None:
    path = write(place, GOOD)
    path.chmod(0o644)
    answer = program.run("asynchy", "config", "check", path, environment={"PORTAL_PASSWORD": "x"})
    assert answer.returncode == 0
    assert "everybody can read it" in answer.stderr


def test_config_show_prints_what_is_in_force_with_secrets_masked(
    program: Program, place: Path
) -> None:
    path = write(place, GOOD)
    environment = {"PORTAL_PASSWORD": "pp-canary"}
    answer = program.run("asynchy", "--config", path, "config", "show", environment=environment)
    assert answer.returncode == 0
    assert "canary" not in answer.stdout + answer.stderr
    assert "password: ********" in answer.stdout
    assert "    beamline: mx\n" in answer.stdout
    assert "log-level: logging.INFO  # default" in answer.stdout
    assert f"ignore: {place}/ignore.yml" in answer.stdout
    assert f"catalogue: {place}/catalogue.db  # default" in answer.stdout
    assert "host: sftp.synchrotron.org.au  # default" in answer.stdout


def test_status_before_anything_is_known_makes_no_catalogue(program: Program, place: Path) -> None:
    path = write(place, f'{GOOD}epn_cap_map: {{"12282": ny79}}\n')
    environment = {"PORTAL_PASSWORD": "x"}
    answer = program.run("asynchy", "--config", path, "status", environment=environment)
    assert answer.returncode == 0
    assert "knows no copies yet" in answer.stdout

    def status(epn: str) -> subprocess.CompletedProcess[str]:
        return program.run("asynchy", "--config", path, "status", epn, environment=environment)

    unknown = status("99999z")
    assert unknown.returncode == 5
    assert "99999z is unknown" in unknown.stderr
    mapped = status("12282a")
    assert mapped.returncode == 0
    assert "12282a: not seen yet" in mapped.stdout and "project: ny79" in mapped.stdout
    assert sorted(item.name for item in place.iterdir()) == ["config.yml"]
    (place / "ignore.yml").write_text("previouslySynched: [99999z]\n")
    skipped = status("99999z")
    assert skipped.returncode == 0
    assert "99999z: skipped" in skipped.stdout
    assert "listed in ignore.yml: by the original program" in " ".join(skipped.stdout.split())
    as_json = program.run(
        "asynchy", "--config", path, "status", "--json", "99999z", environment=environment
    )
    assert as_json.returncode == 0
    (row,) = json.loads(as_json.stdout)["without_copy"]
    assert (row["epn"], row["state"], row["history"]) == ("99999z", "skipped", [])


def test_status_as_a_table_and_as_json(home: Home) -> None:
    source = home.facility.experiment("mx", "12282a")
    mx_experiment(source, "12282a", frames=2, frame_bytes=1000)
    give(source)
    home.visit("12282a")
    assert home.once().returncode == 0
    table = home.program.run("asynchy", "--config", home.config, "status", "12282a")
    assert table.returncode == 0
    assert "12282a" in table.stdout and "complete 20" in table.stdout
    assert "Attempts to " in table.stdout and "sftp" in table.stdout and "size" in table.stdout
    answer = home.program.run("asynchy", "--config", home.config, "status", "--json")
    told = json.loads(answer.stdout)
    (row,) = told["copies"]
    assert (told["service"], told["due"], told["without_copy"]) == (None, [], [])
    assert row["epn"] == "12282a" and row["progress"] is None
    assert row["completed"].endswith("+00:00")
    assert row["claim"] is None
    assert (row["state"], row["reason"], row["next_step"]) == ("at home", None, None)


def test_status_as_json_has_the_state_of_an_experiment_without_a_copy(home: Home) -> None:
    for epn in ("12282a", "99999z"):
        source = home.facility.experiment("mx", epn)
        mx_experiment(source, epn, frames=2, frame_bytes=1000)
        give(source)
    home.visit("12282a")
    home.visit("99999z")
    assert home.once().returncode == 1
    mine, unowned = home.status()
    assert mine.keys() == unowned.keys()
    assert (mine["state"], unowned["state"]) == ("at home", "no project")
    assert (unowned["epn"], unowned["beamline"]) == ("99999z", "mx")
    assert (unowned["id"], unowned["destination"]) == (None, None)
    assert unowned["reason"] == "no project for its proposal in epn_cap_map: proposal 99999"
    assert unowned["next_step"].endswith("map add 99999 PROJECT")
    assert home.status("99999z") == [{**unowned, "history": [], "checks": [], "events": []}]


def test_a_shell_is_offered_the_epns_that_the_catalogue_knows(home: Home) -> None:
    for epn in ("12282a", "12283b", "8020l"):
        mx_experiment(home.facility.experiment("mx", epn), epn, frames=1, frame_bytes=10)
        give(home.facility.experiment("mx", epn))
        home.visit(epn)
    assert home.once().returncode == 0
    asked = {"COMP_WORDS": f"asynchy --config {home.config} status 122", "COMP_CWORD": "4"}
    environment = {**asked, "_ASYNCHY_COMPLETE": "bash_complete"}
    offered = home.program.run("asynchy", environment=environment).stdout
    assert offered.splitlines() == ["plain,12282a", "plain,12283b"]
    broken = {**environment, "COMP_WORDS": "asynchy --config /nowhere verify 122"}
    run = home.program.run("asynchy", environment=broken)
    assert (run.stdout.strip(), run.stderr) == ("", "")
