from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.domain.text import count, duration, shown, size


@given(st.one_of(st.binary(), st.text()))
def test_what_is_shown_always_prints_on_one_line(name: bytes | str) -> None:
    text = shown(name)
    assert text.isprintable()
    assert len(text) <= 400
    text.encode("utf-8")


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_different_names_are_shown_differently(one: bytes, two: bytes) -> None:
    if one != two:
        assert shown(one) != shown(two)


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
    assert shown(name) == text


def test_a_long_name_is_cut_in_the_middle() -> None:
    assert shown("a" * 50 + "b" * 50, limit=11) == "aaaaa…bbbbb"


def test_a_path_of_the_system_is_shown() -> None:
    assert shown(os.fsdecode(b"/x/\xff")) == "/x/\\xff"


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
