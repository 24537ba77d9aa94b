"""What a run learns of a server."""

from __future__ import annotations

import pickle

import pytest

from asynchy.model.verification import ComparisonMethod
from asynchy.ssh import server
from asynchy.ssh.server import Server
from asynchy.ssh.session import ServerFacts, ServerSession

THERE = Server(host="there", user="me")


def test_the_round_trip_falls_at_once_and_rises_slowly() -> None:
    session = ServerSession(THERE)
    found = []
    for seconds in (0.034, 0.020, 0.034):
        session.note_round_trip(seconds)
        found.append(session.facts.round_trip)
    assert found == [0.034, 0.020, pytest.approx(0.0206)]
    for _ in range(60):  # another way through the network
        session.note_round_trip(0.100)
    assert session.facts.round_trip == 0.100


def test_the_facts_of_a_session_are_those_of_the_process_that_gets_them() -> None:
    session = ServerSession(THERE)
    assert session.facts == ServerFacts()
    session.note_no_sftp()
    session.note_round_trip(0.1)
    session.note_comparison_method(ComparisonMethod.RSYNC)
    there = ServerSession(*pickle.loads(pickle.dumps((session.server, session.facts))))
    assert there.facts == ServerFacts(
        offers_sftp=False, round_trip=0.1, comparison_method=ComparisonMethod.RSYNC
    )


def test_ssh_is_asked_once_for_its_options_and_not_by_the_process_that_gets_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def answer(command: list[str]) -> dict[str, str]:
        asked.append(command)
        return {"stdinnull": "yes", "logverbose": "none"}

    monkeypatch.setattr(server, "_settings", answer)
    here = Server(host="there", user="me")
    there = pickle.loads(pickle.dumps(here)) if here.options else None
    assert there is not None and there.options == here.options
    assert "StdinNull=no" in here.options
    assert len(asked) == 2  # as ssh_config has it, and as it is built
