"""Plots as HTML and SVG, made here: bars, perhaps a line, a scale, the values as a table. Pure.

The scale is HTML beside the drawing, which stretches to the room that the page has. A value shows
on hover as the bar's title, and with JavaScript in the line above the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH = 600.0
_HEIGHT = 100.0
_GAP = 0.15
"""Of the width of a bar."""
_TOPS = (1, 2, 4, 6, 8, 10)
"""First digits of the number at the top of a scale: half of each is a short number, too."""


@dataclass(frozen=True)
class Bar:
    """One bar of a plot."""

    label: str
    """What it is about, such as a day."""
    value: float
    text: str
    """The value, for people."""
    kind: str = ""
    """The class that colours it; empty: the usual colour."""
    more: tuple[str, ...] = ()
    """What the table says of it besides, a cell for each further column."""
    hover: str = ""
    """What shows on hover beside the label; empty: the value."""

    @property
    def title(self) -> str:
        """What shows on hover."""
        return f"{self.label}: {self.hover or self.text}"


@dataclass(frozen=True)
class Plot:
    """Bars side by side."""

    about: str
    """What they show, for those who do not see them."""
    bars: Sequence[Bar]
    number: Callable[[float], str]
    """How a number of the scale is written."""
    columns: tuple[str, ...]
    """The heads of the table: of the labels, of the values, of what there is besides."""
    summary: str = ""
    """Shows above the bars as long as none is pointed at."""
    line: Sequence[float] = ()
    """A value for each bar, drawn as a line over them; what is above the scale is cut off."""

    @property
    def top(self) -> float:
        """The number at the top of the scale."""
        return top_of_scale(max((bar.value for bar in self.bars), default=0.0))


def top_of_scale(highest: float) -> float:
    """The next number that is short, and of which the half is short; 1 if there is no value."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    # A sum of floating-point numbers may be a trifle above what it should be.
    return next(power * digit for digit in _TOPS if power * digit >= highest * (1 - 1e-9))


def drawn(plot: Plot) -> Markup:
    """The plot, its scale, and its table."""
    top = plot.top
    half = [] if top % 2 else [plot.number(top / 2)]  # there are whole numbers alone
    scale = Markup("").join(
        Markup("<li>{}</li>").format(text) for text in (plot.number(top), *half, plot.number(0))
    )
    labels = [bar.label for bar in plot.bars]
    shown = labels if len(labels) < 3 else [labels[0], labels[len(labels) // 2], labels[-1]]
    axis = Markup("").join(Markup("<span>{}</span>").format(label) for label in shown)
    return Markup(
        '<figure class="plot"><figcaption data-readout>{}</figcaption>'
        '<div class="frame"><ol class="scale" aria-hidden="true">{}</ol>{}'
        '<p class="axis" aria-hidden="true">{}</p></div>{}</figure>'
    ).format(plot.summary, scale, _drawing(plot, top), axis, _table(plot))


def _drawing(plot: Plot, top: float) -> Markup:
    step = _WIDTH / max(1, len(plot.bars))
    parts = [
        Markup(
            '<svg viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none" role="img" '
            'aria-label="{}"><path class="grid" d="M0 0H{:.0f}M0 {:.0f}H{:.0f}"/>'
        ).format(_WIDTH, _HEIGHT, plot.about, _WIDTH, _HEIGHT / 2, _WIDTH)
    ]
    for number, bar in enumerate(plot.bars):
        parts.append(_bar(bar, number * step, step, top))
    if plot.line:
        points = " ".join(
            f"{(number + 0.5) * step:.1f},{_HEIGHT * (1 - min(1.0, value / top)):.1f}"
            for number, value in enumerate(plot.line)
        )
        parts.append(Markup('<polyline class="line" points="{}"/>').format(points))
    return Markup("").join([*parts, Markup("</svg>")])


def _bar(bar: Bar, left: float, step: float, top: float) -> Markup:
    # The area that shows the value is as high as the plot: a low bar is hard to point at.
    area = Markup(
        '<g><title>{}</title><rect class="area" x="{:.1f}" width="{:.1f}" height="{:.0f}"/>'
    )
    found = area.format(bar.title, left, step, _HEIGHT)
    if bar.value > 0:
        height = max(_HEIGHT * bar.value / top, 1.5)  # what is not zero is seen
        found += Markup(
            '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
        ).format(bar.kind, left + _GAP / 2 * step, _HEIGHT - height, step * (1 - _GAP), height)
    return found + Markup("</g>")


def _table(plot: Plot) -> Markup:
    """The latest comes first, as in all lists of the pages."""
    heads = Markup("").join(
        Markup("<th{}>{}</th>").format(Markup(' class="num"') if place else "", name)
        for place, name in enumerate(plot.columns)
    )
    rows = Markup("\n").join(
        Markup("<tr><td>{}</td>{}</tr>").format(
            bar.label,
            Markup("").join(
                Markup('<td class="num">{}</td>').format(cell) for cell in (bar.text, *bar.more)
            ),
        )
        for bar in plot.bars[::-1]
    )
    return Markup(
        '<details><summary>Table of these values</summary><div class="wide" tabindex="0"><table>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details>"
    ).format(heads, rows)
