"""Values as people read them: names from outside, sizes, durations, times.

A name at the facility is bytes and may hold anything, an escape sequence for the terminal too.
`escaped` is the one place that makes such a name fit to be read.
"""

from __future__ import annotations

import os
from datetime import datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def escaped(name: bytes | str, *, limit: int = 400) -> str:
    """The name with everything escaped that does not print; long ones are cut in the middle."""
    text = os.fsdecode(name)
    if len(text) > 2 * limit:  # what is cut out below may be a megabyte
        text = text[:limit] + text[-limit:]
    safe = "".join(
        character if character.isprintable() and character != "\\" else _escaped(character)
        for character in text
    )
    if len(safe) <= limit:
        return safe
    half_limit = (limit - 1) // 2
    return f"{safe[:half_limit]}…{safe[-half_limit:]}"


def printable(text: str) -> str:
    """The text, escaped unless all of it prints: the names in a reason are escaped already."""
    return text if text.isprintable() else escaped(text)


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode represents it
        return f"\\x{code - 0xDC00:02x}"
    if 0x80 <= code <= 0xFF:  # a character; `\\x` with such a number stands for a byte
        return f"\\u{code:04x}"
    return character.encode("unicode_escape").decode("ascii")


def size(count: int) -> str:
    """A number of bytes in decimal units: `4.29 GB`."""
    if abs(count) < 1000:
        return f"{count} B"
    value = float(count)
    unit = 0
    while abs(value) >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = max(0, 2 - (len(str(int(abs(value)))) - 1))
    return f"{value:.{digits}f} {_UNITS[unit]}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: `1 file`, `20,004 files`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """A duration in the two largest units that matter: `2 h 05 min`, `41 s`, `0.4 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"


def day(when: datetime) -> str:
    """A day in the reader's own zone: `2026-11-24`."""
    return when.astimezone().strftime("%Y-%m-%d")


def moment(when: datetime) -> str:
    """A time in the reader's own zone, to the minute and with the zone: `2026-11-24 14:05 AEDT`."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M %Z")
