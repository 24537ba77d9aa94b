"""Typical mistakes of a newcomer: what, where and what to do, in one or two lines, once."""

from __future__ import annotations

import contextlib
import os
import pty
import pwd
import re
import subprocess

import pytest

from simulator.experiments import mx_experiment
from tests.conftest import USER, Home, as_user, give, scripts

CHECK_AGAIN = "What to do: correct the file; `asynchy config check FILE` looks at it again\n"
CONFIGS = [  # a pattern in the config, what stands there instead, and what is said of it
    (r"^beamline:", " beamline:", ":6: not YAML: a quote or bracket is not closed in this line or above it, or the line is not indented as those above"),
    (r"^beamline:.*", "retention-days:\n\tmx: 90", ":7: not YAML: a tab, or another character that YAML does not take here; indent with blanks"),
    (r"^max-tasks: 2", "max-tasks: 2\nretention-days: {mx: ninety}", ":19: retention-days.mx: found 'ninety'; accepted is a number of days, such as 90"),
    (r'^beamline: "mx"', 'beamline: "mx', ":7: not YAML: a quote or bracket is not closed in this line or above it, or the line is not indented as those above"),
    (r"^max-tasks: 2", "max-tasks: two", ":18: max-tasks: found 'two'; accepted is a whole number"),
    (r"^max-tasks: 2", "max-task: 2", ":18: max-task: unknown key; did you mean max-tasks?"),
    (r"^destination-root-path.*", "", ":1: destination-root-path: is required, and not there"),
    (r"^epn_cap_map.*", "epn_cap_map:\n  12282: ny79\n  12282: kx12", ":4: epn_cap_map.12282: is there twice; remove one"),
    (r"^epn_cap_map.*", "epn_cap_map: {12282a: ny79}", ":2: epn_cap_map.12282a: found '12282a'; accepted is a proposal number: digits only, such as \"12282\""),
    (r"^base-url.*", "base-url: portal.example", ":5: base-url: found 'portal.example'; accepted is the portal's address, such as https://portal.synchrotron.org.au:443"),
    (r'"password": "[^"]*"', '"password": {"file": "/nowhere/pw"}', ":4: equipment[0].password: the secret file /nowhere/pw cannot be read: No such file or directory"),
    (r'"password": "[^"]*"', '"password": {"env": "NOWHERE"}', ":4: equipment[0].password: the environment variable NOWHERE is not set"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "instead", "said"), CONFIGS)
def test_a_mistake_in_the_config_is_said_in_two_lines(
    home: Home, pattern: str, instead: str, said: str
) -> None:
    text = home.config.read_text()
    changed = re.sub(pattern, lambda _: instead, text, count=1, flags=re.MULTILINE)
    assert changed != text
    home.config.write_text(changed)
    for command in (("mxsync", "--config"), ("asynchy", "config", "check")):
        run = home.program.run(*command, home.config)
        assert (run.returncode, run.stdout) == (3, "")
        assert run.stderr == f"Error: {home.config}{said}\n{CHECK_AGAIN}"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["mxsync", "--excute"], 2, "Error: No such option '--excute'. Did you mean '--execute'?\n"),
        (["asynchy", "stauts"], 2, "Error: No such command 'stauts'. Did you mean 'status'?\n"),
        (["asynchy", "report", "usge"], 2, "Error: No such command 'usge'. Did you mean 'usage'?\n"),
        (
            ["mxsync", "--config", "/nowhere/config.yml"], 3,
            "Error: /nowhere/config.yml: No such file or directory\nWhat to do: name the config "
            "file with --config FILE; `asynchy init` or the README's example make a new one\n",
        ),
        (
            ["asynchy", "--config", "config.yml", "status", "1228a2"], 2,
            "1228a2 is not an EPN (digits and a letter, such as 12282a)\n",
        ),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_named_with_the_right_word(
    home: Home, command: list[str], code: int, said: str
) -> None:
    run = home.program.run(*command)
    assert (run.returncode, run.stdout) == (code, "")
    assert run.stderr.endswith(said)


def test_state_whose_folder_is_missing_is_named_with_what_to_do(home: Home) -> None:
    home.configure(catalogue="/nowhere/catalogue.db")
    run = home.once()
    assert run.returncode == 5
    assert run.stderr == (
        "Error: /nowhere/catalogue.db cannot be written: /nowhere does not exist\n"
        "What to do: make the folder /nowhere\n"
    )


def on_a_terminal(home: Home) -> str:
    """What a person sees of `mxsync --execute --once`."""
    leader, follower = pty.openpty()
    command = [*as_user(), scripts() / "mxsync", "--config", home.config, "--execute", "--once"]
    said = b""
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=follower, stderr=follower,
        cwd=home.place, env={"PATH": os.environ["PATH"], "HOME": str(home.place), "COLUMNS": "500"},
    ):  # fmt: skip
        os.close(follower)
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while part := os.read(leader, 65536):
                said += part
    os.close(leader)
    return said.decode()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"known_hosts": "/dev/null"}, "`ssh-keyscan -p {port} 127.0.0.1 > new` fetches it"),
        ({"key_file": "/nowhere/key"}, "the key file /nowhere/key cannot be read: No such file or directory (check `key-file`"),
        ({"base_url": "http://127.0.0.1:9"}, "the portal cannot be reached (Connection refused): http://127.0.0.1:9/api/v1/oauth/token (check its address"),
        ({"epn_cap_map": {"12282": "kx12"}}, "the project folder is not there: {storage}/kx12"),
    ],
)  # fmt: skip
def test_a_fault_of_a_run_is_said_once_to_a_person_at_a_terminal(
    home: Home, keys: dict[str, object], said: str
) -> None:
    mx_experiment(home.facility.experiment("mx", "12282a"), "12282a", frames=1, frame_bytes=10)
    give(home.facility.data)
    home.visit("12282a")
    home.configure(**keys)
    shown = on_a_terminal(home)
    expected = said.format(port=home.facility.port, storage=home.storage)
    assert shown.count(expected) == 1, shown


CLOSED = {  # a key of the config, and what doctor says of it
    "known-hosts": "note  {config}: known-hosts: {path}: Permission denied; {remedy}\n",
    "key-file": "the key file {path} cannot be read: Permission denied\n",
    "log-files": "FAIL  log sync: {path} cannot be written: Permission denied\n      {remedy}\n",
    "ignore": "FAIL  ignore.yml: {path}: Permission denied\n      {remedy}\n",
    "catalogue": "FAIL  catalogue: {path} cannot be written: Permission denied\n      {remedy}\n",
    "destination-root-path": "FAIL  destination: {path}: Permission denied\n      {remedy}\n",
}


@pytest.mark.parametrize("key", CLOSED)
def test_a_path_in_a_folder_that_may_not_be_entered_is_named_with_the_missing_right(
    home: Home, key: str
) -> None:
    closed = home.place / "closed"
    path = closed / "within" / "it"
    path.parent.mkdir(parents=True)
    text = re.sub(rf"^{key}:.*\n", "", home.config.read_text(), flags=re.MULTILINE)
    value = f"{{sync: {path}}}" if key == "log-files" else str(path)
    home.config.write_text(f"{text}{key}: {value}\n")
    closed.chmod(0)
    try:
        doctor = home.program.run("asynchy", "--config", home.config, "doctor")
        others = [
            home.program.run("asynchy", "--config", home.config, *command)
            for command in (["status"], ["logs", "12282a"], ["map", "add", "99", "ny79"])
        ]
        plan = home.program.run("mxsync", "--config", home.config)
    finally:
        closed.chmod(0o755)
    user = pwd.getpwuid(USER[0] if USER else os.getuid()).pw_name
    remedy = f"let user {user} enter the folder {closed}, or name another path"
    assert CLOSED[key].format(config=home.config, path=path, remedy=remedy) in doctor.stdout
    assert "\nNot ready: see FAIL above.\n" in doctor.stdout
    for run in (doctor, *others, plan):
        assert run.returncode != 70
        assert "did not expect" not in run.stdout + run.stderr


def test_init_names_the_folder_that_may_not_be_entered(home: Home) -> None:
    closed = home.place / "closed"
    closed.mkdir(mode=0)
    run = home.program.run("asynchy", "init", "--config_path", closed / "within" / "b.yaml")
    closed.chmod(0o755)
    assert run.returncode == 3
    assert run.stderr.startswith(f"Error: {closed}/within/b.yaml: Permission denied\n")
    assert f" enter the folder {closed}, or name another path\n" in run.stderr
