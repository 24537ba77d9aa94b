"""Tables and a plot of what was measured: `python -m benchmarks.report [FILE.json]`.

`--markdown` for docs/performance.md, `--plot FILE.svg` draws. A ratio is of two programs in one
round; what is told is the median over the rounds. A program that was measured in one round alone,
since it was far behind, stands with that figure in every round.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import place

OURS = "asynchy"
ORIGINALS = "originals"
PROGRAMS = (OURS, ORIGINALS, "rsync", "rsync x4", "rsync x8", "rclone", "lftp")
"""In the order in which they are told; others follow."""

NOTES = """\
MB are 10^6 bytes. `*`: ended at the cap; the rate is that of what had arrived, start-up included.
Medians over the rounds of one run; a ratio is of one round.
mscp is not here: it cannot be built from what the package registries offer, since the libssh that
it needs, with patches of its own, is not among it."""

Run = dict[str, Any]
"""One round of one program: rate, whole, seconds, …, as `transfer` wrote it."""


@dataclass(frozen=True)
class Ratio:
    """Ours to something else: the median over the rounds."""

    to: str
    """What it is a ratio to; the best peer may be another in each round: the most frequent one."""
    value: float
    whole: bool = True
    """Whether no figure in it is from a run that was ended at the cap."""

    def __str__(self) -> str:
        return f"{self.value:.2f}{'' if self.whole else '*'}"


@dataclass(frozen=True)
class Table:
    """Rows of text under a title."""

    title: str
    head: list[str]
    rows: list[list[str]]

    def text(self, *, markdown: bool) -> str:
        """As aligned text, or as a table of Markdown."""
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            [
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            for line in lines
        ]
        if not markdown:
            return "\n".join([self.title, *("  ".join(line).rstrip() for line in aligned)])
        rule = [
            "-" * width if not at else "-" * (width - 1) + ":" for at, width in enumerate(widths)
        ]
        rows = ["| " + " | ".join(line) + " |" for line in [aligned[0], rule, *aligned[1:]]]
        return "\n".join([f"**{self.title}**", "", *rows])


def in_round(results: Sequence[Run], at: int) -> Run:
    """A program's run in a round; one with fewer rounds stands with its last."""
    return results[min(at, len(results) - 1)]


def ratio(
    ours: Sequence[Run], theirs: Sequence[Run], to: str, figure: str = "rate"
) -> Ratio | None:
    """Ours / theirs in a figure; None where either was not measured."""
    if not ours or not theirs:
        return None
    pairs = [(one, in_round(theirs, at)) for at, one in enumerate(ours)]
    if any(not their[figure] for _, their in pairs):
        return None
    value = statistics.median(our[figure] / their[figure] for our, their in pairs)
    return Ratio(to, value, all(our["whole"] and their["whole"] for our, their in pairs))


def to_best_peer(programs: dict[str, list[Run]]) -> Ratio | None:
    """Ours to whichever other program was fastest in the same round."""
    peers = {name: runs for name, runs in programs.items() if name != OURS and runs}
    ours = programs.get(OURS, [])
    if not ours or not peers:
        return None
    best = [
        max(peers, key=lambda name: float(in_round(peers[name], at)["rate"]))
        for at in range(len(ours))
    ]
    fastest = [in_round(peers[name], at) for at, name in enumerate(best)]
    return ratio(ours, fastest, Counter(best).most_common(1)[0][0])


def least_limit(cell: dict[str, Any]) -> tuple[str, float] | None:
    """The least of what the link, ssh and its windows allow: its name, and bytes a second."""
    limits = {name: rate for name, rate in cell.get("limits", {}).items() if rate}
    if any(name.startswith("tcp x") for name in limits):
        limits.pop("tcp", None)  # one connection is no limit for several
    return min(limits.items(), key=lambda limit: float(limit[1]), default=None)


def to_limit(cell: dict[str, Any]) -> Ratio | None:
    """Ours to the least limit."""
    least = least_limit(cell)
    if least is None:
        return None
    name, rate = least
    return ratio(cell["programs"].get(OURS, []), [{"rate": rate, "whole": True}], name)


def middle(results: Sequence[Run], figure: str) -> float | None:
    """The median of what is known of a figure."""
    known = [one[figure] for one in results if one.get(figure) is not None]
    return statistics.median(known) if known else None


def tables(found: dict[str, Any]) -> list[Table]:
    """All for which there are figures."""
    cells = found.get("cells", [])
    plain = [cell for cell in cells if not cell.get("bits_a_second")]
    limited = [cell for cell in cells if cell.get("bits_a_second")]
    told: list[Table] = []
    if plain:
        told += [_rates(plain), _ratios(plain)]
    if limited:
        told.append(_gigabit(limited))
    if found.get("listing"):
        told.append(_listing(found["listing"]))
    if found.get("million"):
        told.append(_million(found["million"]))
    return told


def ordered(names: Iterable[str]) -> list[str]:
    """Programs in the order in which they are told, each once."""
    known = dict.fromkeys(names)
    return [name for name in PROGRAMS if name in known] + [
        name for name in known if name not in PROGRAMS
    ]


def _rates(cells: list[dict[str, Any]]) -> Table:
    names = ordered(name for cell in cells for name in cell["programs"])
    rows = [[name, *(_rate(cell["programs"].get(name, [])) for cell in cells)] for name in names]
    limits = []
    for cell in cells:
        least = least_limit(cell)
        limits.append(_mb(least[1]) if least else "-")
    return Table(
        "MB/s, by data and round trip", ["", *map(_name, cells)], [*rows, ["limit", *limits]]
    )


def _ratios(cells: list[dict[str, Any]]) -> Table:
    rows = []
    for cell in cells:
        programs = cell["programs"]
        ours, rsync = programs.get(OURS, []), programs.get("rsync", [])
        rows.append(
            [
                _name(cell),
                f"{cell['measured_ms']:.1f} ms",
                _named(to_best_peer(programs)),
                str(ratio(ours, programs.get(ORIGINALS, []), ORIGINALS) or "-"),
                _named(to_limit(cell)),
                _seconds(middle(ours, "cpu_s_a_gb"), 2),
                _seconds(middle(rsync, "cpu_s_a_gb"), 2),
                str(ratio(ours, rsync, "rsync", "cpu_s_a_gb") or "-"),
                _seconds(cell.get("line_cpu_s"), 1),
            ]
        )
    head = ["", "round trip", "to the best peer", "to the originals", "to the limit", "CPU s/GB"]
    head += ["rsync's", "ratio", "delay line, CPU s"]
    return Table("Ours", head, rows)


def _gigabit(cells: list[dict[str, Any]]) -> Table:
    """Steady rates are held against the faster of one and of several TCP connections."""
    rows = []
    for cell in cells:
        tcp = {name: rate for name, rate in cell["limits"].items() if name.startswith("tcp")}
        best = max(tcp, key=tcp.__getitem__) if tcp else ""
        for name in ordered(cell["programs"]):
            results = cell["programs"][name]
            steady = middle(results, "steady")
            share = f"{steady / tcp[best]:.2f}" if steady and best else "-"
            row = [_name(cell), name, _rate(results), _mb(steady), share]
            rows.append([*row, f"{_mb(tcp.get(best))} ({best})"])
    bits = " and ".join(f"{bits / 1e9:g}" for bits in {cell["bits_a_second"] for cell in cells})
    head = ["", "program", "MB/s", "after the start", "of raw TCP", "raw TCP, MB/s"]
    return Table(f"A link of {bits} Gbit/s", head, rows)


def _listing(trips: list[dict[str, Any]]) -> Table:
    names = ordered(name for trip in trips for name in trip["programs"])
    rows = [[name, *(_time(trip["programs"].get(name, [])) for trip in trips)] for name in names]
    ours = [trip["programs"].get(OURS, []) for trip in trips]
    for name in names:
        if name != OURS:
            theirs = [trip["programs"].get(name, []) for trip in trips]
            times = [ratio(*both, name, "seconds") for both in zip(ours, theirs, strict=True)]
            rows.append([f"ours / {name}", *(str(time or "-") for time in times)])
    peaks = [middle(runs, "peak_bytes") for runs in ours]
    rows.append(["our memory, MB", *map(_mb, peaks)])
    title = f"Listing {trips[0]['files']:,} files in {trips[0]['folders']:,} folders, seconds"
    return Table(title, ["", *(f"{trip['round_trip_ms']:g} ms" for trip in trips)], rows)


def _million(found: dict[str, Any]) -> Table:
    rows = [
        [name, f"{one['seconds']:.1f}", _mb(one["peak_bytes"])]
        for name, one in found["commands"].items()
    ]
    title = f"{found['files']:,} empty files, no distance"
    return Table(title, ["", "seconds", "memory, MB"], rows)


def _name(cell: dict[str, Any]) -> str:
    return f"{cell['data']} {cell['round_trip_ms']:g} ms"


def _named(found: Ratio | None) -> str:
    return f"{found} ({found.to})" if found else "-"


def _mark(results: Sequence[Run]) -> str:
    return "" if all(one["whole"] for one in results) else "*"


def _rate(results: Sequence[Run]) -> str:
    return _mb(middle(results, "rate")) + _mark(results)


def _time(results: Sequence[Run]) -> str:
    return _seconds(middle(results, "seconds"), 2) + _mark(results)


def _mb(size: float | None) -> str:
    if size is None:
        return "-"
    return f"{size / 1e6:,.1f}" if size < 10e6 else f"{size / 1e6:,.0f}"


def _seconds(time: float | None, digits: int) -> str:
    return "-" if time is None else f"{time:.{digits}f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print, and draw where it is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=place(), help="%(default)s")
    parser.add_argument("--markdown", action="store_true", help="tables of Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the rates")
    chosen = parser.parse_args(arguments)
    found = json.loads(chosen.file.read_text())
    print(told(found, markdown=chosen.markdown))
    if chosen.plot:
        from benchmarks.plot import draw  # noqa: PLC0415 - tables need no matplotlib

        draw(found["cells"], chosen.plot)


def told(found: dict[str, Any], *, markdown: bool) -> str:
    """All tables, and what is to be known of them."""
    parts = [table.text(markdown=markdown) for table in tables(found)]
    return "\n\n".join([*parts, NOTES])


if __name__ == "__main__":
    main()
