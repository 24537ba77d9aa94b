"""Whose an EPN probably is, what is told of it, and the tables of the original."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.alerting.content import overdue, unknown_epns
from asynchy.alerting.suggestions import ProjectSuggestions
from asynchy.alerting.text_table import in_rows, table
from asynchy.model.epn import Epn
from asynchy.model.experiment_record import DueNote, ExperimentRecord, combine
from asynchy.model.experiment_state import ExperimentState, experiment_state
from asynchy.model.info_file import MAX_INFO_BYTES, parse_info
from asynchy.model.person import Person, single_line
from asynchy.model.policy import IgnoreEntry, Origin
from asynchy.model.visit import Visit
from tests.tools.records import NOW, copy_of, experiment_of, policy_of, record_of, wanted
from tests.tools.records import visit as told

ADA = Person("Ada", "Lovelace", "ada@uni.example")
ZOE = Person("Zoë", "Nguyễn", "zoe@uni.example")
JO = Person("Jo", "Doe", "jo@uni.example")
NAMELESS = Person("Ada", "Lovelace")
MAPPING = {"1": "one", "2": "two"}


def visit(epn: str, days: int, principal: Person | None = None, *people: Person) -> Visit:
    start = NOW - timedelta(days=days)
    return Visit(
        f"{epn} {days}", Epn(epn), start, start + timedelta(hours=8),
        principal=principal, scientists=people,
    )  # fmt: skip


def suggested(principal: Person | None, people: list[Person], *visits: Visit) -> str | None:
    found = ProjectSuggestions(visits, MAPPING).of(principal, people)
    return None if found is None else f"{found.project}: {found.reason}"


def test_the_principal_scientist_counts_most_and_the_latest_visit() -> None:
    known = (visit("1a", 9, ADA, ZOE, JO), visit("2b", 3, ADA), visit("1c", 1, ZOE, JO))
    assert suggested(ADA, [ZOE, JO], *known) == (
        "two: the same principal scientist as 2b, which belongs to two"
    )


def test_else_the_people_that_most_of_them_measured_with() -> None:
    known = (visit("1a", 9, None, ZOE, JO), visit("2b", 3, None, ZOE), visit("1c", 1, None, JO))
    assert suggested(ADA, [ZOE, JO], *known) == (
        "one: 2 of its people measured for 1c, which belongs to one"
    )
    assert suggested(None, [JO], *known) == (
        "one: 1 of its people measured for 1c, which belongs to one"
    )


def test_nobody_is_taken_for_another_of_the_same_name_and_a_draw_is_no_suggestion() -> None:
    known = (visit("1a", 9, ADA), visit("2b", 3, None, ZOE), visit("3c", 3, JO))
    assert suggested(NAMELESS, [NAMELESS], *known) is None
    assert suggested(None, [ADA, ZOE], *known) is None
    assert suggested(JO, [], *known) is None  # 3 belongs to nobody either
    upper = Person("A.", "Lovelace", "ADA@uni.example")
    assert suggested(upper, [], *known) is not None


def states(*records: ExperimentRecord, **changes: Any) -> list[ExperimentState]:
    policy = policy_of(*records, **changes)
    return [experiment_state(record, policy) for record in records]


def test_every_experiment_of_an_epn_without_a_project_is_looked_for() -> None:
    records = combine(
        [record_of(experiment=experiment_of(epn)) for epn in ("9c", "1d")],
        [
            told("1a", -20, -10), told("7a", -40, -30), told("7a", -20, -10),
            told("7a", -30, -20, "saxs"), told("8b", 30, 40),
        ],
    )  # fmt: skip
    found = unknown_epns(states(*records))
    assert list(found) == [Epn("7a"), Epn("8b"), Epn("9c")]
    assert [one.experiment.beamline for one in found[Epn("7a")]] == ["mx", "saxs"]
    assert len(found[Epn("7a")][0].beamtimes) == 2


def test_an_epn_that_a_person_skips_or_released_belongs_to_nobody_and_is_not_asked_for() -> None:
    skipped, released = record_of(epn="7a"), record_of(epn="8b", released=NOW)
    entry = IgnoreEntry(Origin.PERSON, NOW)
    assert unknown_epns(states(skipped, released, ignored={"7a": entry})) == {}


def test_what_was_left_undone_for_some_days_is_overdue_the_oldest_first() -> None:
    def noted(epn: str, days: float, **changes: Any) -> ExperimentRecord:
        since = NOW - timedelta(days=days)
        return record_of(
            told(epn, -900, -890), epn=epn, note=DueNote("old", since, NOW, f"why {epn}"), **changes
        )

    at_home = copy_of(wanted(experiment_of("1d")))
    lost = noted("1e", 9, vanished=NOW)
    records = [
        noted("1a", 2), noted("1b", 3), noted("2c", 9), noted("1d", 9, copies=(at_home,)), lost,
        noted("9f", 9), noted("1g", 9, vanished=NOW, copies=(copy_of(wanted(experiment_of("1g"))),)),
        record_of(told("1h", -900, -890), epn="1h"),
    ]  # fmt: skip
    found = overdue(states(*records), 3, NOW)
    assert [one.epn.text for one in found] == ["1e", "2c", "1b"]
    assert [(one.project, one.reason) for one in found] == [
        ("ny79", "why 1e"),
        ("kx12", "why 2c"),
        ("ny79", "why 1b"),
    ]
    assert (found[0].since, found[0].latest) == (NOW - timedelta(days=9), NOW)


def test_what_waits_for_a_running_visit_is_not_overdue() -> None:
    note = DueNote("ny79", NOW - timedelta(days=9), NOW, "why")
    record = record_of(told("1a", -900, -890), told("1a", -1, 1), note=note)
    assert overdue(states(record), 3, NOW) == ()


def test_tables_are_those_of_the_original() -> None:
    assert table(("First name", "Email"), [("Ada", "ada@uni.example"), ("", "")]) == (
        "First name    Email\n------------  ---------------\nAda           ada@uni.example\n"
    )
    assert in_rows([], 8) == ""
    assert in_rows(["1a", "22b", "3c"], 2) == "--  ---\n1a  22b\n3c\n--  ---"
    assert in_rows(["1a", "22b"], 2) == "--  ---\n1a  22b\n\n--  ---"
    assert in_rows(["99", "1a", "7"], 2) == "--  --\n99  1a\n 7\n--  --"


def test_an_info_file_is_read_and_never_run() -> None:
    info = parse_info(
        b"{'EPN': '1a', 'PI': {'Email': 'ada@uni.example', 'Name': 'Ada Lovelace', 'ScientistID': 1},"
        b" 'startBooking': '2016-04-29 08:00:00', 'users': [{'Name': 'Zo\xc3\xab'}, None, {}]}\n"
    )
    assert info is not None and info.principal is not None
    assert (info.principal.name, info.principal.email) == ("Ada Lovelace", "ada@uni.example")
    assert [person.name for person in info.users] == ["Zoë"]
    assert info.start == "2016-04-29 08:00:00"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"__import__('os').system('touch pwned')", b"{'PI': ", b"\0", b"{" * 5000,
        b"{'PI': [1, 2], 'users': 7, 'startBooking': 9}"[:-1], b" " * (MAX_INFO_BYTES + 1), b"-" * 60_000 + b"1",
    ],
    ids=range(9),
)  # fmt: skip
def test_what_is_no_info_file_is_none(data: bytes) -> None:
    assert parse_info(data) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    parse_info(data)
    parse_info(b"{'PI': {'Name': '" + data + b"'}}")


@given(st.text())
def test_a_text_from_outside_is_on_one_line(text: str) -> None:
    line = single_line(text)
    assert line.isprintable() and line == " ".join(line.split())
    assert single_line(7) == single_line(None) == ""
