"""Draws the rates: a panel for each data set, the round trips side by side, a mark a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.report import OURS, least_limit, middle, ordered

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "asynchy"  # the same figures give the same file
matplotlib.rcParams["font.size"] = 10

_INK, _GREY, _LIGHT = "#222222", "#666666", "#e3e3e3"
_OURS = "#d1495b"
_STYLES = {
    OURS: (_OURS, "D"),
    "originals": ("#1b1b1b", "s"),
    "rsync": ("#08519c", "o"),
    "rsync x4": ("#3d8bc9", "o"),
    "rsync x8": ("#8fc1e3", "o"),
    "rclone": ("#2e8b57", "^"),
    "lftp": ("#b8860b", "v"),
}
_OTHER = ("#888888", "x")
_LIMIT: dict[str, Any] = {"color": _GREY, "lw": 1.2, "ls": (0, (4, 2))}
_WIDTH = 0.78
"""Of a round trip's group, whose next begins at 1."""


def draw(cells: list[dict[str, Any]], file: Path) -> None:
    """Into a file, SVG or what its name says; a link with a limit of its own is not drawn."""
    cells = [cell for cell in cells if not cell.get("bits_a_second")]
    sets = list(dict.fromkeys(cell["data"] for cell in cells))
    names = ordered(name for cell in cells for name in cell["programs"])
    columns = min(2, len(sets))
    rows = -(-len(sets) // columns)
    figure = Figure(figsize=(4.7 * columns, 3.1 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, data in zip(panels, sets, strict=False):
        _panel(panel, [cell for cell in cells if cell["data"] == data], names)
    for panel in list(figure.axes)[len(sets) :]:
        panel.remove()
    for at in range(0, len(sets), columns):
        figure.axes[at].set_ylabel("MB/s", color=_GREY)
    figure.legend(
        handles=_legend(names), loc="outside lower center", ncols=5, frameon=False, fontsize=9
    )
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _panel(panel: Any, cells: list[dict[str, Any]], names: list[str]) -> None:
    panel.set_yscale("log")
    step = _WIDTH / len(names)
    for group, cell in enumerate(sorted(cells, key=lambda cell: float(cell["round_trip_ms"]))):
        if limit := least_limit(cell):
            panel.hlines(limit[1] / 1e6, group - 0.45, group + 0.45, **_LIMIT)
        for at, name in enumerate(names):
            runs = cell["programs"].get(name, [])
            rate = middle(runs, "rate")
            if rate:
                whole = all(run["whole"] for run in runs)
                x = group + (at + 0.5) * step - _WIDTH / 2
                panel.plot([x], [max(rate, 1e4) / 1e6], **_mark(name, whole=whole))
                if name == OURS:
                    panel.annotate(
                        f"{rate / 1e6:.0f}", (x, rate / 1e6), (0, -9), textcoords="offset points",
                        ha="center",
                        va="top", color=_OURS, fontsize=9, fontweight="bold",
                    )  # fmt: skip
    panel.set_title(cells[0]["data"], loc="left", fontsize=11, fontweight="bold", color=_INK)
    panel.set_xticks(range(len(cells)), [f"{cell['round_trip_ms']:g} ms" for cell in cells])
    panel.set_xlim(-0.5, len(cells) - 0.5)
    panel.margins(y=0.15)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:,g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.grid(axis="y", color=_LIGHT, lw=0.8)
    for edge in range(1, len(cells)):
        panel.axvline(edge - 0.5, color=_LIGHT, lw=0.8)
    panel.tick_params(axis="both", which="both", length=0, labelcolor=_INK)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(_GREY)


def _mark(name: str, *, whole: bool = True) -> dict[str, Any]:
    color, shape = _STYLES.get(name, _OTHER)
    return {
        "marker": shape,
        "color": color,
        "markerfacecolor": color if whole else "white",
        "markersize": 8.5 if name == OURS else 6,
        "markeredgewidth": 1.4,
        "ls": "none",
        "zorder": 3 if name == OURS else 2,
    }


def _legend(names: list[str]) -> list[Line2D]:
    handles = [Line2D([], [], label=name, **_mark(name)) for name in names]
    cut = {**_mark("", whole=False), "marker": "o"}
    handles.append(Line2D([], [], label="hollow: ended at the cap", **cut))
    return [*handles, Line2D([], [], label="limit", **_LIMIT)]
