"""People and other programs are told: by Apprise, by webhooks, by a site's own commands."""

from __future__ import annotations

import base64
import json
import resource
import signal
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from asynchy.delivery import apprise_sender
from asynchy.errors import DeliveryError
from asynchy.model.cancellation import Stop
from simulator.receiver import Receiver
from tests.conftest import SOON, Home, give, interrupt, wait_until
from tests.integration.test_one_cycle import made

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
CANARY = "token-canary-4711"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def script(home: Home, text: str) -> Path:
    path = home.place / "command"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    give(home.place)
    return path


def lives(number: int) -> bool:
    """Whether a process runs; one that has ended and was not asked for has no command line."""
    try:
        return bool(Path(f"/proc/{number}/cmdline").read_bytes())
    except OSError:
        return False


def listed(home: Home) -> list[dict[str, Any]]:
    answer = home.program.run("asynchy", "--config", home.config, "notify", "list", "--json")
    assert answer.returncode == 0, answer.stderr
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def to_people(receiver: Receiver, **keys: Any) -> dict[str, Any]:
    return {"name": "team", "url": f"json://127.0.0.1:{receiver.port}/{CANARY}", **keys}


def test_people_are_told_once_of_what_came_home_and_of_an_epn_without_project(
    home: Home, receiver: Receiver
) -> None:
    made(home)
    made(home, "7000x")
    ada = {"first_names": "Ada", "last_name": "Lovelace", "email": "ada@uni.example"}
    visit = home.visit("12282a")
    home.facility.portal.clear_visits()
    home.facility.portal.add_raw_visit(23, {**visit, "principal_scientist": ada})
    home.configure(notify=[to_people(receiver)])
    run = home.once()
    assert (run.returncode, run.stderr) == (1, "")  # 7000x needs a project
    told = "\n".join(receiver.texts)
    assert "An experiment came home\n12282a (mx) is at home: " in told
    assert "project ny79, proven: size" in told
    assert "An EPN belongs to no project\n7000x (mx): no project for its proposal 7000" in told
    assert "Ada" not in told and "Lovelace" not in told
    assert {path for path, _, _ in receiver.got} == {f"/{CANARY}"}
    number = len(receiver.got)
    assert home.once().returncode == 1
    assert len(receiver.got) == number
    home.configure(notify=[to_people(receiver, name="with-people", people=True)])
    home.once()
    assert len(receiver.got) == number + 1  # a new channel is told of what holds, not of the past


def test_a_channel_that_is_down_waits_in_order_and_stops_no_transfer(
    home: Home, receiver: Receiver
) -> None:
    made(home)
    home.visit("12282a")
    receiver.status = 500
    home.configure(
        notify=[to_people(receiver)],
        **{"log-files": {"sync": "logs/sync.log"}, "log-level": "logging.DEBUG"},
    )
    run = home.once()
    assert run.returncode == 7
    assert "12282a" in home.ignored
    assert "notify team: not taken: " in run.stdout + run.stderr
    (waiting,) = listed(home)
    assert (waiting["channel"], waiting["kind"], waiting["tries"]) == (
        "notify team",
        "came-home",
        1,
    )
    status = home.program.run("asynchy", "--config", home.config, "status")
    assert "notify team: 1 message since" in status.stdout and "failed 1 time" in status.stdout
    made(home, "12283a")
    home.visit("12283a")
    assert home.once().returncode == 7
    receiver.status, receiver.got[:] = 200, []
    assert home.once().returncode == 0
    (told,) = receiver.texts
    assert told.startswith("2 experiments came home\n12282a (mx)")
    assert listed(home) == []
    everything = (
        run.stdout + run.stderr + status.stdout + (home.place / "logs/sync.log").read_text()
    )
    assert CANARY not in everything


def test_a_webhook_is_signed_and_a_second_try_has_the_same_id(
    home: Home, receiver: Receiver
) -> None:
    made(home)
    home.visit("12282a")
    receiver.status = 503
    hook = {"name": "lims", "url": f"http://127.0.0.1:{receiver.port}/hook", "secret": SECRET}
    home.configure(webhooks=[hook])
    assert home.once().returncode == 7
    receiver.status = 200
    assert home.once().returncode == 0
    (_, first, body), (path, second, again) = receiver.got
    assert path == "/hook" and body == again
    assert first["webhook-id"] == second["webhook-id"]
    found = Webhook(SECRET).verify(body, second)
    assert found["type"] == "came-home"
    data = found["data"]
    assert data["experiment"]["epn"] == "12282a"
    assert data["copy"]["destination"] == str(home.copy("12282a"))
    assert (data["level"], data["manifest"]["known"]) == ("size", data["copy"]["files"])
    assert "title" not in data["experiment"]["visits"][0]


def test_a_command_is_run_until_it_ends_with_0_and_what_it_said_is_recorded(home: Home) -> None:
    made(home)
    home.visit("12282a")
    out = home.place / "out"
    out.mkdir()
    text = f'cat > "{out}/got"\nenv > "{out}/env"\n[ -e "{out}/good" ] || {{ printf "no queue\\033[31m\\377" >&2; exit 3; }}'
    entry = {"name": "job", "command": [str(script(home, text)), "a b; $(touch /x)"]}
    home.configure(receipt=True, **{"on-complete": [entry]})
    give(out)
    run = home.once()
    assert run.returncode == 7
    said = r"it ended with 3: no queue\x1b[31m\xff"
    assert f"on-complete job, 12282a (mx): {said}" in run.stdout
    (waiting,) = listed(home)
    assert (waiting["exit_code"], waiting["error"]) == (3, said)
    for command in (("notify", "list"), ("status",), ("status", "12282a"), ("doctor",)):
        assert said in home.program.run("asynchy", "--config", home.config, *command).stdout
    (out / "good").touch()
    assert home.once().returncode == 0
    document = json.loads((out / "got").read_text())["data"]
    assert document["copy"]["again"] is False
    assert Path(document["receipt"], "ro-crate-metadata.json").is_file()
    assert Path(document["manifest"]["path"]).is_file()
    (row,) = home.status("12282a")
    assert [(one["what"], one["detail"]) for one in row["events"]] == [
        ("not handed on", f"job: {said}"),
        ("handed on", "job"),
    ]
    (out / "got").unlink()
    assert home.once().returncode == 0
    assert not (out / "got").exists()  # nothing came


def test_a_command_ends_at_its_time_limit_with_all_that_it_started(home: Home) -> None:
    made(home)
    home.visit("12282a")
    child = home.place / "logs" / "child"
    entry = {
        "name": "slow",
        "command": [str(script(home, f'sleep 1000 & echo $! > "{child}"; wait'))],
        "time-limit": 1,
    }
    home.configure(**{"on-complete": [entry]})
    run = home.once()
    assert run.returncode == 7
    assert "it was ended after 1.0 s, its time limit" in run.stdout
    assert not lives(int(child.read_text()))


def test_what_a_command_leaves_in_the_background_is_ended_with_it(home: Home) -> None:
    made(home)
    home.visit("12282a")
    child = home.place / "logs" / "child"
    text = f'nohup sleep 1000 > /dev/null 2>&1 & echo $! > "{child}"; exit 0'
    home.configure(**{"on-complete": [{"name": "job", "command": [str(script(home, text))]}]})
    assert home.once().returncode == 0
    assert not lives(int(child.read_text()))
    assert listed(home) == []


def test_a_service_tells_while_it_runs_and_its_command_dies_with_it(
    home: Home, receiver: Receiver
) -> None:
    made(home)
    home.visit("12282a")
    child = home.place / "logs" / "child"
    hook = {"name": "lims", "url": f"http://127.0.0.1:{receiver.port}/hook", "secret": SECRET}
    entry = {
        "name": "slow",
        "command": [str(script(home, f'echo $$ > "{child}"; exec sleep 1000'))],
    }
    home.configure(webhooks=[hook], **{"on-complete": [entry]})
    with home.serving() as service:
        wait_until(lambda: bool(receiver.got) and child.exists() and bool(child.read_text()))
        wait_until(lambda: len(listed(home)) == 1)  # that the webhook was taken is stored
        service.send_signal(signal.SIGKILL)
        service.wait()
        number = int(child.read_text())
        wait_until(lambda: not lives(number))
    (waiting,) = listed(home)
    assert (waiting["channel"], waiting["tries"]) == ("on-complete slow", 0)


def test_killed_between_two_messages_all_are_delivered_in_order_and_none_is_lost(
    home: Home,
) -> None:
    for epn in ("12282a", "12283a", "8020l"):
        made(home, epn)
        home.visit(epn)
    logs = home.place / "logs"
    text = f"""cd "{logs}"; cat >> got; echo >> got
        [ "$(grep -c epn got)" -ne 2 ] || [ -e go-on ] || {{ touch reached; exec sleep 1000; }}"""
    home.configure(**{"on-complete": [{"name": "job", "command": [str(script(home, text))]}]})
    with home.serving("--once") as run:
        # The second one is being handed over, and the third waits.
        wait_until(lambda: (logs / "reached").exists() and len(listed(home)) == 2)
        run.send_signal(signal.SIGKILL)
        run.wait()
    waiting = [one["subject"] for one in listed(home)]
    (logs / "go-on").touch()
    assert home.once().returncode == 0
    assert listed(home) == []
    told = [json.loads(line) for line in (logs / "got").read_text().splitlines() if line]
    names = [f"{one['data']['experiment']['epn']} (mx)" for one in told]
    assert names[1:] == [waiting[0], *waiting]  # the second one twice: it was not taken
    assert len({*names}) == 3


def test_what_is_in_the_way_at_home_is_told_and_listed_in_words(
    home: Home, receiver: Receiver
) -> None:
    made(home)
    home.visit("12282a")
    home.copy("12282a").parent.mkdir(parents=True)
    home.copy("12282a").symlink_to("/nowhere")
    give(home.copy("12282a").parent)
    receiver.status = 503
    hook = {"name": "lims", "url": f"http://127.0.0.1:{receiver.port}/hook", "secret": SECRET}
    home.configure(webhooks=[{**hook, "events": "needs-person"}])
    home.once()
    assert "a symbolic link or a file is in its place at home" in receiver.got[0][2].decode()
    shown = home.program.run("asynchy", "--config", home.config, "notify", "list").stdout
    assert "webhook lims, needs-person, 12282a (mx)\n" in shown


def test_a_test_message_is_sent_at_once_and_failures_name_the_channel(
    home: Home, receiver: Receiver
) -> None:
    hook = {"name": "lims", "url": f"http://127.0.0.1:{receiver.port}/hook", "secret": SECRET}
    home.configure(notify=[to_people(receiver)], webhooks=[hook])
    call = ("asynchy", "--config", home.config, "notify", "test")
    run = home.program.run(*call)
    assert (run.returncode, run.stdout) == (
        0,
        "ok   notify team: taken\nok   webhook lims: taken\n",
    )
    assert len(receiver.got) == 2
    receiver.status = 401
    run = home.program.run(*call, "lims")
    assert (run.returncode, run.stdout) == (7, "FAIL webhook lims: the receiver answered 401\n")
    run = home.program.run(*call, "nobody")
    assert run.returncode == 5 and "has no channel nobody" in run.stderr


@pytest.mark.parametrize("channel", ["notify", "webhooks"])
def test_a_receiver_whose_answer_has_no_end_does_not_hold_up_a_stop(
    home: Home, receiver: Receiver, channel: str
) -> None:
    made(home)
    home.visit("12282a")
    receiver.status, receiver.parts = 200, receiver.drip()
    hook = {"name": "lims", "url": f"http://127.0.0.1:{receiver.port}/hook", "secret": SECRET}
    home.configure(**{channel: [to_people(receiver) if channel == "notify" else hook]})
    with home.serving("--once") as run:
        wait_until(lambda: bool(receiver.got))
        code, seconds = interrupt(run, signal.SIGTERM)
    assert (code, seconds < SOON) == (143, True)
    (waiting,) = listed(home)
    assert waiting["tries"] == 0


def test_a_service_is_given_up_at_the_time_limit_and_where_its_answer_is_too_large(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(to_people(receiver)["url"])
    receiver.status, receiver.parts = 200, repeat(b"x" * 65536)
    largest = max(_largest_child(), 300 << 10)
    with pytest.raises(DeliveryError, match=r"^not taken: its answer is too large$"):
        apprise_sender.send(url, "title", "text", Stop())
    assert _largest_child() <= largest
    receiver.parts = receiver.drip()
    monkeypatch.setattr(apprise_sender, "_TIME_LIMIT", 2.0)
    with pytest.raises(DeliveryError, match=r"the service took more than 2.0 s to answer"):
        apprise_sender.send(url, "title", "text", Stop())


def _largest_child() -> int:
    """Memory of the largest process that this one has started, in KiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def test_a_redirect_of_a_service_counts_as_a_failure(receiver: Receiver) -> None:
    receiver.status, receiver.location = 302, f"http://127.0.0.1:{receiver.port}/log-in"
    with pytest.raises(DeliveryError, match="error=302"):
        apprise_sender.send(str(to_people(receiver)["url"]), "title", "text", Stop())
    assert len(receiver.got) == 1
