"""Templates, and how values show in them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from asynchy.model.experiment_state import State
from asynchy.model.formatting import count, day, duration, escaped, moment, size
from asynchy.model.verification import Level

_FOLDER = Path(__file__).parent
_TONES = {
    "at_home": "good",
    "due": "busy",
    "waiting": "busy",
    "unowned": "bad",
    "skipped": "quiet",
    "released": "quiet",
    "outside": "quiet",
    "gone": "quiet",
}
"""How each state looks; its name is always beside it."""
_SIGNS = {"good": "✓", "busy": "…", "bad": "!", "quiet": "-"}
_LEVELS = {
    Level.SIZE.word: "size and time compared",
    Level.TRANSPORT.word: "checksum compared as it arrived",
    Level.SOURCE.word: "digest compared with the facility's",
}


def templates() -> Environment:
    """The templates; every value is escaped, and one that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "size": lambda value: "?" if value is None else size(int(value)),
        "number": lambda value: "?" if value is None else f"{value:,}",
        "rate": lambda value: f"{size(int(value))}/s",
        "duration": duration,
        "count": count,
        "time": time_tag,
        "ago": ago_tag,
        "day": day_tag,
        "name": escaped,
        "marked": marked,
        "state": lambda name: State[name.upper()].value,
        "tone": lambda name: _TONES[name],
        "level": lambda word: _LEVELS.get(word, ""),
        "iso": datetime.fromisoformat,
    }
    made.globals |= {"signs": _SIGNS, "states": [one.name.lower() for one in State]}
    return made


def _printable(value: Any) -> Any:
    """A text without control characters, and without bytes that are not UTF-8."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(one if one.isprintable() or one == "\n" else escaped(one) for one in value)


def marked(text: str) -> Markup:
    """A text of ours, with what stands in backticks as code: a command, a key of the config."""
    parts = _printable(text).split("`")
    if len(parts) % 2 == 0:  # a backtick of somebody else's
        return escape(_printable(text))
    code = Markup("<code>{}</code>")
    found = (code.format(one) if place % 2 else escape(one) for place, one in enumerate(parts))
    return Markup("").join(found)


def time_tag(when: datetime) -> Markup:
    """A time to the minute."""
    return Markup('<time datetime="{}">{}</time>').format(when.isoformat(), moment(when))


def day_tag(when: datetime) -> Markup:
    """A day; the time shows on hover."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        when.isoformat(), moment(when), day(when)
    )


def ago_tag(when: datetime) -> Markup:
    """How long ago, or in how much time; the time shows on hover."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        when.isoformat(), moment(when), ago(when, datetime.now(UTC))
    )


def ago(when: datetime, now: datetime) -> str:
    """`5 min ago`, `in 3 h`, `2 days ago`."""
    seconds = (now - when).total_seconds()
    text = _rough(abs(seconds))
    if text is None:
        return "just now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def _rough(seconds: float) -> str | None:
    if seconds < 30:
        return None
    if seconds < 90:
        return "1 min"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return count(round(seconds / 86400), "day")


def static_file(name: str) -> bytes:
    """A style sheet or script of ours."""
    return (_FOLDER / "static" / name).read_bytes()


Context = dict[str, Any]
