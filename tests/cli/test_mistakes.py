"""Typical mistakes of a newcomer: what, where and what to do, in one or two lines, once."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess

import pytest

from simulator.experiments import mx_experiment
from tests.conftest import Home, as_user, give, scripts

CHECK_AGAIN = "What to do: correct the file; `asynchy config check FILE` looks at it again\n"
CONFIGS = [  # a pattern in the config, what stands there instead, and what is said of it
    (r"^beamline:", " beamline:", ":6: not YAML: a quote or bracket is not closed in this line or above it, or the line is not indented as those above"),
    (r"^beamline:.*", "retention-days:\n\tmx: 90", ":7: not YAML: a tab, or another character that YAML does not take here; indent with blanks"),
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
