"""What channels are told, when a message is tried again, how a webhook is signed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from asynchy.catalogue import Catalogue
from asynchy.config import load
from asynchy.config.channels import EventName, NotifyEntry
from asynchy.delivery import apprise_sender, webhook
from asynchy.delivery.channels import Channel, secrets_of
from asynchy.delivery.collect import collect_conditions
from asynchy.delivery.documents import text_for_people
from asynchy.errors import ConfigError
from asynchy.model.news import Condition, Message, NewsKind, WaitingMessage, wait_after
from asynchy.reporting.conditions import PORTAL, unreachable
from tests.tools.catalogues import new_catalogue

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CANARY = "token-canary-4711"
BASE = """
user: me
ignore: ignore.yml
beamline: mx
destination-root-path: storage
equipment:
  - {id: 23, username: u, password: p, client_name: c, client_password: q}
"""


def config(folder: Path, text: str) -> Path:
    path = folder / "config.yml"
    path.write_text(BASE + text)
    path.chmod(0o600)
    return path


def channel(**keys: Any) -> Channel:
    entry = NotifyEntry.model_validate({"name": "team", "url": "json://127.0.0.1:9", **keys})
    return Channel("notify", entry)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return new_catalogue(tmp_path / "catalogue.db")


def test_each_event_of_the_config_is_a_kind_of_news() -> None:
    assert set(get_args(EventName)) == {one.value for one in NewsKind} - {"report"}


def test_a_webhook_is_signed_as_in_the_published_example() -> None:
    found = webhook.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        datetime.fromtimestamp(1614265330, UTC),
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_waits_double_up_to_six_hours() -> None:
    waits = [wait_after(tries) for tries in (1, 2, 3, 9, 10, 1000)]
    assert waits == [timedelta(minutes=number) for number in (1, 2, 4, 256, 360, 360)]


def test_a_time_that_a_clock_ahead_noted_does_not_hold_a_message_back() -> None:
    def waiting(hours: float) -> WaitingMessage:
        at = NOW + timedelta(hours=hours)
        return WaitingMessage("mail", NewsKind.REPORT, "", NOW, b"", "id", at)

    assert [waiting(hours).is_due(NOW) for hours in (-1, 0, 5, 13, 9999)] == [
        True, True, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"notify: [{{name: a, url: '{CANARY}'}}]", "notify[0].url: found something else"),
        (f"webhooks: [{{name: a, url: 'https://u:{CANARY}@h/x', secret: x}}]", "webhooks[0].url"),
        (f"webhooks: [{{name: a, url: 'https://h/x', secret: {CANARY}}}]", "whsec_ and 24 to 64"),
        ("on-complete: [{name: a, command: 'sh -c x'}]", "a list: the program, then each"),
        ("on-complete: [{name: a, command: [x]}, {name: a, command: [y]}]", "a is there twice"),
        ("notify: [{name: a, url: 'json://h', events: [came-hom]}]", "'came-home'"),
        ("notify: [{name: a, url: 'json://h', event: came-home}]", "did you mean events?"),
        (
            "notify: [{name: a, url: 'json://h', events: came_home}]",
            "found 'came_home'; accepted is",
        ),
        ("notify: [{name: a, url: 'json://h', events: came_home}]", "did you mean came-home?"),
    ],
)
def test_a_mistake_in_a_channel_is_named_without_its_secret(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(config(tmp_path, text))
    assert said in str(error.value)
    assert CANARY not in str(error.value)


def test_a_secret_in_a_file_that_everybody_reads_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "chat").write_text("json://h/token-of-the-chat\n")
    (tmp_path / "chat").chmod(0o644)
    loaded = load(config(tmp_path, "notify: [{name: a, url: {file: chat}, projects: ny79}]"))
    assert any("chat holds secrets" in one for one in loaded.warnings)
    assert "json://h/token-of-the-chat" in secrets_of(loaded.settings)
    assert loaded.settings.notify[0].projects == ("ny79",)


def test_apprise_knows_an_address_or_it_is_a_problem_without_the_address() -> None:
    assert apprise_sender.address_problem("json://127.0.0.1:9/x") is None
    problem = apprise_sender.address_problem(f"nonsense://{CANARY}")
    assert problem is not None and CANARY not in problem


def test_a_condition_is_told_once_until_it_ends_and_begins_again(catalogue: Catalogue) -> None:
    team = channel(events="at-risk")
    risk = Condition(NewsKind.AT_RISK, "1a soon", "1a: soon deleted", people="Ada")
    other = Condition(NewsKind.DAMAGED, "1a 1", "1a: damaged")
    for held in ([risk, other], [risk], [], [risk]):
        collect_conditions(catalogue, [team], held, NOW)
    waiting = catalogue.outbox.waiting()
    assert [one.kind for one in waiting] == [NewsKind.AT_RISK] * 2
    assert b"Ada" not in waiting[0].body
    collect_conditions(catalogue, [channel(name="new", people=True)], [risk], NOW)
    assert b"; Ada" in catalogue.outbox.waiting("notify new")[0].body


def test_a_channel_of_a_project_is_told_of_it_alone(catalogue: Catalogue) -> None:
    mine = Condition(NewsKind.AT_RISK, "1a soon", "1a", project="ny79")
    others = Condition(NewsKind.AT_RISK, "2a soon", "2a", project="kx12")
    nobodys = Condition(NewsKind.UNKNOWN_EPN, "3a", "3a")
    collect_conditions(catalogue, [channel(projects="ny79")], [mine, others, nobodys], NOW)
    assert len(catalogue.outbox.waiting()) == 1


def test_an_outage_is_told_after_some_hours_and_its_end_too(catalogue: Catalogue) -> None:
    team = channel()
    texts = []
    for hour, reason in enumerate(["no answer", "no answer", "other", None, "no answer"]):
        now = NOW + timedelta(hours=hour)
        since = {PORTAL: catalogue.outbox.note_outage(PORTAL, reason, now)}
        held = unreachable(since, {PORTAL: [reason] if reason else []}, 2, now)
        collect_conditions(catalogue, [team], held, now)
        texts.append([text_for_people([one], now)[1] for one in catalogue.outbox.waiting()])
    assert [len(one) for one in texts] == [0, 0, 1, 2, 2]
    assert texts[-1][0].startswith("The portal could not be asked completely since")
    assert texts[-1][1].startswith("The portal can be asked again")


def test_a_message_to_people_names_ten_and_counts_the_rest() -> None:
    body = b'{"text": "one"}'
    some = [
        WaitingMessage("notify a", NewsKind.CAME_HOME, "", NOW, body, str(at)) for at in range(12)
    ]
    title, text = text_for_people(some, NOW)
    assert title == "12 experiments came home"
    assert text.splitlines() == ["one"] * 10 + ["and 2 more: see `asynchy status`"]


def test_what_waits_for_a_channel_that_is_gone_is_removed(catalogue: Catalogue) -> None:
    risk = Condition(NewsKind.AT_RISK, "1a soon", "1a")
    collect_conditions(catalogue, [channel(), channel(name="old")], [risk], NOW)
    assert catalogue.outbox.keep_channels({"mail", "notify team"}) == {"notify old": 1}
    assert [one.channel for one in catalogue.outbox.waiting()] == ["notify team"]


def test_tries_and_reasons_are_kept_with_a_message(catalogue: Catalogue) -> None:
    message = Message("on-complete job", NewsKind.CAME_HOME, "1a", NOW, b"{}", "id")
    catalogue.outbox.tell("on-complete job", [message], [], [], NOW)
    for _ in range(2):
        catalogue.outbox.failed(catalogue.outbox.waiting(), NOW, "it ended with 3", 3)
    (one,) = catalogue.outbox.waiting()
    assert (one.tries, one.exit_code, one.error) == (2, 3, "it ended with 3")
    assert (one.failing_since, one.not_before) == (NOW, NOW + timedelta(minutes=2))
    catalogue.outbox.delivered([one], NOW)
    assert catalogue.outbox.waiting() == []


def test_what_apprise_says_is_shown_without_any_part_of_the_address() -> None:
    url = f"slack://T1JJ3T3L2/{CANARY}/TIiajkdnlazkcOXrIdevi7FQ"
    said = f"Slack refused {CANARY} at https://hooks.slack.com/services/T1JJ3T3L2 (error=403)"
    shown = apprise_sender.without_secrets(said, url)
    assert shown == "Slack refused ******** at … (error=403)"
