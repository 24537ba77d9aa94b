from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.model.formatting import count, duration, escaped, moment, size


@given(st.one_of(st.binary(), st.text()))
def test_what_is_shown_always_prints_on_one_line(name: bytes | str) -> None:
    text = escaped(name)
    assert text.isprintable()
    assert len(text) <= 400
    text.encode("utf-8")


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_different_names_are_shown_differently(one: bytes, two: bytes) -> None:
    if one != two:
        assert escaped(one) != escaped(two)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain name.h5", "plain name.h5"),
        (b"new\nline", "new\\nline"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"caf\xe9", "caf\\xe9"),
        ("café".encode(), "café"),
        (b"back\\slash", "back\\\\slash"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
    ],
)
def test_how_names_are_shown(name: bytes | str, text: str) -> None:
    assert escaped(name) == text


def test_a_long_name_is_cut_in_the_middle() -> None:
    assert escaped("a" * 50 + "b" * 50, limit=11) == "aaaaa…bbbbb"


def test_a_path_of_the_system_is_shown() -> None:
    assert escaped(os.fsdecode(b"/x/\xff")) == "/x/\\xff"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"),
        (12_345_678, "12.3 MB"), (4_294_971_393, "4.29 GB"), (10**15, "1.00 PB"),
    ],
)  # fmt: skip
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (41, "41 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"),
     (7500, "2 h 05 min"), (200_000, "2 d 07 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts() -> None:
    assert [count(n, "file") for n in (0, 1, 20_004)] == ["0 files", "1 file", "20,004 files"]


@pytest.mark.parametrize("code", [0x80, 0x9B, 0xA0, 0xAD])
def test_a_byte_and_the_character_of_its_number_are_shown_differently(code: int) -> None:
    assert escaped(bytes([code])) != escaped(chr(code).encode())


@pytest.mark.parametrize("limit", [3, 10, 11])
@pytest.mark.parametrize("length", [0, 3, 10, 11, 12, 10_000])
def test_what_is_shown_is_never_longer_than_asked(length: int, limit: int) -> None:
    text = escaped("x" * length, limit=limit)
    assert len(text) <= limit
    assert ("…" in text) == (length > limit)


@given(st.integers(0, 10**20))
def test_a_size_is_off_by_less_than_a_percent(number: int) -> None:
    value, unit = size(number).split()
    scale = 1000 ** ["B", "kB", "MB", "GB", "TB", "PB", "EB"].index(unit)
    assert abs(float(value) * scale - number) <= number / 100


@given(st.floats(0, 10**9), st.floats(0, 10**9))
def test_a_duration_never_shows_more_units_than_fit(one: float, two: float) -> None:
    for text in map(duration, (one, two)):
        parts = text.split()
        rest = dict(zip(parts[1::2], map(float, parts[::2]), strict=True))
        assert rest.get("min", 0) < 60 and rest.get("s", 0) < 60 and rest.get("h", 0) < 48


def test_a_moment_is_in_the_readers_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Australia/Melbourne")
    time.tzset()
    try:
        assert moment(datetime(2026, 11, 24, 3, 5, 59, tzinfo=UTC)) == "2026-11-24 14:05 AEDT"
    finally:
        monkeypatch.undo()
        time.tzset()
