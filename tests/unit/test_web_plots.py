"""Plots: a scale that people can read, values on hover and in the table, what comes too late."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.web import charts
from asynchy.web.plots import Bar, Plot, drawn, top_of_scale
from asynchy.web.rendering import marked

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC).astimezone()
DAY = 86_400


def texts(html: str, mark: str) -> list[str]:
    return [unescape(one) for one in re.findall(rf"<{mark}[^>]*>([^<]*)</{mark}>", html)]


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 1), (1, 1), (3, 4), (17, 20), (314e9, 400e9), (1001, 2000), (0.3, 0.4)]
)
def test_the_top_of_a_scale_is_a_short_number(highest: float, top: float) -> None:
    assert top_of_scale(highest) == pytest.approx(top)


@given(st.floats(1e-3, 1e18))
def test_no_bar_is_higher_than_its_scale_or_lost_below_it(highest: float) -> None:
    assert highest * (1 - 1e-9) <= top_of_scale(highest) <= 2.0001 * highest


def test_each_value_is_on_hover_and_in_the_table_and_names_are_text() -> None:
    bars = [Bar("mon", 1, "1 GB", more=("7",)), Bar("<b>", 3, "3 & more", "wrong", more=("8",))]
    plot = Plot("What <came>", bars, lambda value: f"{value:g}", ("Day", "Came", "Files"), "sum",
                line=(2, 9))  # fmt: skip
    html = str(drawn(plot))
    assert texts(html, "title") == ["mon: 1 GB", "<b>: 3 & more"]
    assert texts(html, "td") == ["<b>", "3 & more", "8", "mon", "1 GB", "7"]
    assert texts(html, "li") == ["4", "2", "0"]
    points = html.partition('points="')[2].partition('"')[0]
    assert points == "150.0,50.0 450.0,0.0", "what is above the scale is cut off"
    assert '<rect class="bar wrong" x="322.5" y="25.0"' in html


def test_a_scale_of_whole_numbers_has_no_half_of_one() -> None:
    html = str(drawn(Plot("n", [Bar("a", 1, "1")], lambda value: f"{value:,.0f}", ("a", "b"))))
    assert texts(html, "li") == ["1", "0"]


def expected(rate: float | None, **deadlines: int) -> dict[str, Any]:
    days = [{"day": (NOW + timedelta(days=int(ahead[1:]))).date().isoformat(), "bytes": size}
            for ahead, size in deadlines.items()]  # fmt: skip
    return {"rate": rate, "deadlines": days}


def test_the_backlog_says_from_which_day_on_too_little_can_be_at_home() -> None:
    made = charts.backlog(expected(1000.0, d1=100 * DAY, d4=10_000 * DAY), NOW)
    assert made is not None
    html = str(made)
    assert html.count('class="bar wrong"') == 3, (
        "on day 4, and on the two days that are shown after"
    )
    assert "come too late" in html and "polyline" in html
    rows = texts(html, "td")
    assert rows[:2] == ["2026-11-30", "873 MB"] and "8.64 MB" in rows
    fine = str(charts.backlog(expected(1000.0, d1=100 * DAY), NOW))
    assert "wrong" not in fine and "all of it comes in time" in fine


def test_what_is_past_its_time_must_be_at_home_now() -> None:
    html = str(charts.backlog({"rate": 1.0, "deadlines": [{"day": "2026-11-01", "bytes": 5}]}, NOW))
    assert html.count("5 B must be at home") == 7, "on each day that is shown"


def test_without_a_rate_nothing_is_said_of_what_comes_in_time() -> None:
    html = str(charts.backlog(expected(None, d1=5), NOW))
    assert "not known" in html and "polyline" not in html and "wrong" not in html
    assert charts.backlog(expected(1.0), NOW) is None


def test_what_stands_in_backticks_is_code_and_all_else_is_text() -> None:
    assert marked("run `asynchy <x>` & wait") == "run <code>asynchy &lt;x&gt;</code> &amp; wait"
    assert marked("an odd ` in a name <i>\x1b") == "an odd ` in a name &lt;i&gt;\\x1b"
