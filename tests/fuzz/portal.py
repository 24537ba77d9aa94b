"""Fuzzing of the portal's answers, and of `.info`: understood, or named; never an error of ours."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from typing import Any

import atheris

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports():
    from asynchy.errors import PortalError
    from asynchy.facility.portal.parser import parse_token, parse_visits
    from asynchy.model.epn import Epn
    from asynchy.model.info_file import parse_info

_PERSON = {"first_names": "Ada", "last_name": "Lovelace", "email": "ada@uni.example"}
_VISIT = {
    "id": 7,
    "epn": "12282a",
    "start_time": "2016-04-29T08:00:00+10:00",
    "end_time": "2016-04-30T08:00:00+10:00",
    "equipment_id": 23,
    "principal_scientist": {**_PERSON, "id": 1, "organisation": {"name_short": "U"}},
    "data_scientists": [_PERSON],
    "proposal": {"title": "Lysozyme", "type": {}},
}
_SEEDS = [
    json.dumps({"data": {"visits": [_VISIT]}, "meta": {"total": 1}}).encode(),
    json.dumps({"data": {"access_token": "t"}}).encode(),
    json.dumps({"meta": {"error_message": "no"}}).encode(),
    repr(
        {"EPN": "12282a", "PI": {"Name": "A"}, "startBooking": "x", "users": [{"Name": "B"}]}
    ).encode(),
    b"\1" + b"epn\0start_time\0end_time" * 9,
]


def one(data: bytes) -> None:
    """Take one input as it is, and as the values of a visit's keys."""
    take(data)
    parse_info(data)
    if data[:1] == b"\1":
        take(json.dumps(shaped(atheris.FuzzedDataProvider(data[1:]))).encode())


def take(body: bytes) -> None:
    """What must hold of any answer."""
    with contextlib.suppress(PortalError):
        assert parse_token(body)
    with contextlib.suppress(PortalError):
        answer = parse_visits(body)
        for visit in answer.visits:
            assert Epn.parse(visit.epn.text) == visit.epn
            assert timedelta(0) <= visit.end - visit.start <= timedelta(days=366)
            assert "\n" not in f"{visit.title}{visit.principal}{visit.scientists}"
        for item in answer.unreadable:
            assert item.reason.isprintable()


def shaped(source: atheris.FuzzedDataProvider) -> Any:
    """An answer with one visit, some of whose values are odd."""
    visit: dict[str, Any] = dict(_VISIT)
    for _ in range(source.ConsumeIntInRange(1, 4)):
        visit[source.PickValueInList(list(_VISIT))] = value(source, 3)
    around = {"data": {"visits": [visit]}, "meta": value(source, 2)}
    if source.ConsumeBool():
        around[source.PickValueInList(["total", "next", "page"])] = value(source, 1)
    return around


def value(source: atheris.FuzzedDataProvider, depth: int) -> Any:
    """Any value that JSON has."""
    kind = source.ConsumeIntInRange(0, 8 if depth else 5)
    if kind == 0:
        return source.PickValueInList([None, True, False, "", 0, -1, 10**30, float("nan")])
    if kind == 1:
        return source.ConsumeInt(8)
    if kind == 2:
        return source.ConsumeFloat()
    if kind in (3, 4):
        return source.ConsumeUnicode(source.ConsumeIntInRange(0, 40))
    if kind == 5:
        return source.PickValueInList(
            [
                "0001-01-01T00:00:00+14:00",
                "9999-12-31T23:59:59-14:00",
                "2016-04-29T08:00:00",
                "12282",
            ]
        )
    if kind == 6:
        return [value(source, depth - 1) for _ in range(source.ConsumeIntInRange(0, 3))]
    keys = [*_PERSON, "organisation", "name_long", "title", "x"]
    return {
        source.PickValueInList(keys): value(source, depth - 1)
        for _ in range(source.ConsumeIntInRange(0, 4))
    }


if __name__ == "__main__":
    fuzz(one, _SEEDS)
