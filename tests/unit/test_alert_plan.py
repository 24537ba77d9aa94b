"""Whose an EPN probably is, what is told of it, and the tables of the original."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.domain.info import LARGEST, parse_info
from asynchy.domain.person import Person, on_one_line
from asynchy.domain.visit import EquipmentVisits, UnreadableVisit, Visit
from asynchy.notify.tables import in_rows, table
from asynchy.plan.alert import Found, Overdue, overdue, suggest

NOW = datetime(2026, 11, 24, tzinfo=UTC)
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
    found = suggest(principal, people, [EquipmentVisits(23, "mx", visits)], MAPPING)
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


def test_what_is_unknown_is_looked_for_everywhere() -> None:
    answers = [
        EquipmentVisits(23, "mx", (visit("1a", 2), visit("7a", 3), visit("7a", 1))),
        EquipmentVisits(24, "mx2", (visit("7a", 2),), (UnreadableVisit(Epn("8b"), "no end"),)),
    ]
    found = Found(frozenset({Experiment("mx", Epn("9c")), Experiment("mx", Epn("2d"))}), answers)
    assert found.unknown(MAPPING) == [Epn("7a"), Epn("8b"), Epn("9c")]
    assert [item.visit.id for item in found.beamtimes(Epn("7a"))] == ["7a 1", "7a 2", "7a 3"]
    assert found.beamlines(Epn("7a")) == ("mx", "mx2")
    assert found.beamlines(Epn("9c")) == ("mx",)


def test_what_is_overdue() -> None:
    def item(epn: str, days: int) -> Overdue:
        return Overdue(Epn(epn), "p", NOW - timedelta(days=days), NOW, "why")

    due = [item("1a", 2), item("2b", 3), item("3c", 9), item("4d", 9)]
    found = overdue(due, frozenset({"4d"}), 3, NOW)
    assert [one.epn.text for one in found] == ["3c", "2b"]


def test_tables_are_those_of_the_original() -> None:
    assert table(("First name", "Email"), [("Ada", "ada@uni.example"), ("", "")]) == (
        "First name    Email\n------------  ---------------\nAda           ada@uni.example\n"
    )
    assert in_rows(["1a", "22b", "3c"], 2) == "1a   22b\n3c"
    assert in_rows([], 8) == ""


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
        b"{'PI': [1, 2], 'users': 7, 'startBooking': 9}"[:-1], b" " * (LARGEST + 1), b"-" * 60_000 + b"1",
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
    line = on_one_line(text)
    assert line.isprintable() and line == " ".join(line.split())
    assert on_one_line(7) == on_one_line(None) == ""
