"""Plots as SVG, made here: bars with their values on hover, coloured by the style sheet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH = 600.0
_HEIGHT = 100.0
_GAP = 0.15
"""Of the width of a bar."""


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

    @property
    def title(self) -> str:
        """What shows on hover."""
        return f"{self.label}: {self.text}"


def bar_plot(bars: Sequence[Bar], about: str) -> Markup:
    """Bars side by side, as tall as the page has room; `about` says what they show."""
    highest = max((bar.value for bar in bars), default=0.0)
    step = _WIDTH / max(1, len(bars))
    parts = [
        Markup('<svg class="plot" viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none" '
               'role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, about)
    ]  # fmt: skip
    for number, bar in enumerate(bars):
        height = _HEIGHT * bar.value / highest if highest else 0.0
        if bar.value > 0:
            height = max(height, 1.5)  # what is not zero is seen
        # The area that shows the value is as high as the plot: a low bar is hard to point at.
        parts.append(
            Markup(
                '<g><title>{}</title><rect class="area" x="{:.2f}" y="0" width="{:.2f}" '
                'height="{:.0f}"/><rect class="bar {}" x="{:.2f}" y="{:.2f}" width="{:.2f}" '
                'height="{:.2f}"/></g>'
            ).format(
                bar.title, number * step, step, _HEIGHT, bar.kind,
                (number + _GAP / 2) * step, _HEIGHT - height, step * (1 - _GAP), height,
            )
        )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])
