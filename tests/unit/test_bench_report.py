"""The arithmetic of the benchmark's report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.report import in_round, main, middle, ratio, tables, to_best_peer, to_limit, told


def runs(*rates: float, whole: bool = True, cpu: float = 2.0) -> list[dict[str, Any]]:
    return [
        {"rate": rate, "whole": whole, "seconds": 1.0, "cpu_s_a_gb": cpu, "steady": None}
        for rate in rates
    ]


def a_cell(**more: Any) -> dict[str, Any]:
    cell = {
        "data": "SMALL", "round_trip_ms": 20, "measured_ms": 20.44, "bits_a_second": None,
        "line_cpu_s": 1.26, "size": 10**9, "files": 7,
        "programs": {
            "lftp": runs(7e6, whole=False),
            "rsync": runs(50e6, 40e6, 90e6, cpu=4.0),
            "asynchy": runs(100e6, 100e6, 120e6, cpu=3.0),
            "originals": runs(20e6, 25e6, 20e6),
        },
        "limits": {"tcp": 188e6, "tcp x16": 1342e6, "ssh cat x8": 400e6, "windows": 160e6},
    }  # fmt: skip
    return cell | more


def test_a_ratio_is_of_one_round_and_the_median_is_over_the_rounds():
    ours, theirs = runs(100, 100, 120), runs(50, 40, 90)
    found = ratio(ours, theirs, "rsync")
    assert found is not None
    assert found.value == 2.0  # of 2, 2.5 and 1.33; that of the medians is 2.0, too…
    found = ratio(runs(10, 20, 30), runs(30, 10, 20), "rsync")
    assert found is not None
    assert found.value == 1.5  # …and here it is 1.0
    assert found.whole


def test_one_round_stands_for_all():
    assert in_round(runs(5), 2)["rate"] == 5
    found = ratio(runs(10, 20, 30), runs(5), "lftp")
    assert found is not None
    assert found.value == 4.0


def test_a_cut_off_run_marks_the_ratio():
    assert str(ratio(runs(10), runs(4, whole=False), "lftp")) == "2.50*"
    assert str(ratio(runs(10, whole=False), runs(4), "lftp")) == "2.50*"
    assert str(ratio(runs(10), runs(4), "lftp")) == "2.50"


@pytest.mark.parametrize(("ours", "theirs"), [([], runs(1)), (runs(1), []), (runs(1), runs(0))])
def test_no_ratio_to_what_is_not_there(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]):
    assert ratio(ours, theirs, "x") is None


def test_the_best_peer_is_found_in_each_round():
    programs = {
        "asynchy": runs(100, 100, 100),
        "rsync": runs(50, 200, 25),
        "rsync x8": runs(80, 100, 20),
        "rclone": runs(40),
    }
    found = to_best_peer(programs)
    assert found is not None
    # 100/80, 100/200, 100/40: in the third, rclone's only figure is the best.
    assert found.value == 1.25
    assert to_best_peer({"asynchy": runs(1)}) is None
    assert to_best_peer({"rsync": runs(1)}) is None


def test_the_best_peer_has_the_name_of_the_most_frequent():
    programs = {"asynchy": runs(1, 1, 1), "rsync": runs(9, 1, 1), "rsync x8": runs(2, 2, 2)}
    found = to_best_peer(programs)
    assert found is not None
    assert (found.to, found.value) == ("rsync x8", 0.5)


def test_the_limit_is_the_least_of_those_known():
    found = to_limit(a_cell())
    assert found is not None
    assert (found.to, found.value) == ("windows", 0.625)
    found = to_limit(a_cell(limits={"tcp": 200e6, "windows": None}))
    assert found is not None
    assert (found.to, found.value) == ("tcp", 0.5)
    found = to_limit(a_cell(limits={"tcp": 20e6, "tcp x16": 400e6}))
    assert found is not None
    assert (found.to, found.value) == ("tcp x16", 0.25)
    assert to_limit(a_cell(limits={})) is None


def test_the_middle_of_what_is_known():
    assert middle([{"steady": None}, {"steady": 3.0}, {"steady": 5.0}], "steady") == 4.0
    assert middle([{"steady": None}], "steady") is None


def test_the_tables():
    rates, ours = tables({"cells": [a_cell()]})
    assert rates.head == ["", "SMALL 20 ms"]
    assert rates.rows == [
        ["asynchy", "100"], ["originals", "20"], ["rsync", "50"], ["lftp", "7.0*"], ["limit", "160"],
    ]  # fmt: skip
    assert ours.rows == [
        ["SMALL 20 ms", "20.4 ms", "2.00 (rsync)", "5.00", "0.62 (windows)", "3.00", "4.00", "0.75",
         "1.3"],
    ]  # fmt: skip


def test_a_slow_link_is_told_apart_by_what_flows_after_the_start():
    programs = {"asynchy": runs(90e6), "rsync": runs(60e6)}
    programs["asynchy"][0]["steady"] = 114e6
    cell = a_cell(
        bits_a_second=10**9, programs=programs,
        limits={"tcp": 100e6, "tcp x16": 120e6, "ssh cat x8": 110e6},
    )  # fmt: skip
    (table,) = tables({"cells": [cell]})
    assert table.title == "A link of 1 Gbit/s"
    assert table.rows == [
        ["SMALL 20 ms", "asynchy", "90", "114", "0.95", "120 (tcp x16)"],
        ["SMALL 20 ms", "rsync", "60", "-", "-", "120 (tcp x16)"],
    ]


def test_listings_and_a_million():
    def listed(seconds: float, *, whole: bool = True) -> list[dict[str, Any]]:
        return [{"seconds": seconds, "whole": whole, "peak_bytes": 50e6}]

    trip = {"round_trip_ms": 100, "measured_ms": 100.5, "files": 100_000, "folders": 2000}
    programs = {
        "asynchy": listed(5.0), "rsync": listed(4.0), "rclone": listed(60.0, whole=False),
    }  # fmt: skip
    million = {"files": 10**6, "commands": {"walk": listed(12.0)[0]}}
    first, second = tables({"listing": [{**trip, "programs": programs}], "million": million})
    assert first.title == "Listing 100,000 files in 2,000 folders, seconds"
    assert first.rows == [
        ["asynchy", "5.00"], ["rsync", "4.00"], ["rclone", "60.00*"],
        ["ours / rsync", "1.25"], ["ours / rclone", "0.08*"], ["our memory, MB", "50"],
    ]  # fmt: skip
    assert second.rows == [["walk", "12.0", "50"]]


def test_markdown_and_text(tmp_path, capsys):
    found = {"cells": [a_cell()]}
    text = told(found, markdown=True)
    assert (
        "|           | SMALL 20 ms |\n| --------- | ----------: |\n| asynchy   |         100 |"
        in text
    )
    assert "mscp is not here" in text
    file = tmp_path / "results.json"
    file.write_text(json.dumps(found))
    main([str(file)])
    printed = capsys.readouterr().out
    assert (
        "MB/s, by data and round trip\n           SMALL 20 ms\nasynchy            100\n" in printed
    )
