"""A YAML file that is one key with a plain list, read and extended line by line.

The YAML parser needs seconds for a list of 10,000 entries. Whatever is not certainly such a list
is left to it: then `parse_plain_list` returns None. Tests compare what both say of the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Entry = tuple[int, str | None]
"""Line and text of an entry; None: it is empty."""

_REMARK = r"(?: +#.*)? *"
_EMPTY = re.compile(r" *(?:#.*)?")
_START = re.compile(rf"---{_REMARK}")
# A plain scalar of YAML 1.2.2, section 7.3.3, that says what is written: without `:`, `#`, quotes
# and brackets, and with no blank at its end.
_SCALAR = r"[A-Za-z0-9](?:[A-Za-z0-9 ,;./_+-]*[A-Za-z0-9,;./_+-])?"
_QUOTED = r"(?P<quote>['\"])(?P<quoted>[A-Za-z0-9]+)(?P=quote)"
_ITEM = re.compile(rf"(?P<indent> *)-(?: +(?:{_QUOTED}|(?P<plain>{_SCALAR}|~)))?{_REMARK}")
_FLOW = re.compile(r"[A-Za-z0-9,'\" \n]*")
_FLOW_PART = re.compile(r"(?P<quote>['\"])?(?P<entry>[A-Za-z0-9]+)(?(quote)(?P=quote))|,|\S")
_ODD = re.compile(r"[^\n -~\u00a0-\u2027\u202f-\ud7ff]")
"""Tabs, and characters that a YAML parser may take for a line break."""
_QUOTES = frozenset({"'", '"'})
_NULLS = frozenset({"~", "null", "Null", "NULL"})


@dataclass(frozen=True)
class PlainList:
    """What is in such a text, and where more goes."""

    entries: Sequence[Entry]
    has_key: bool
    _before: str
    """The text up to where more entries go …"""
    _after: str
    """… and the rest of it."""
    _indent: str | None
    """Of an item in block style; None: more entries go between brackets."""

    def extended(self, new: Iterable[str], key: str, remark: str) -> str:
        """The text with more entries below the key; they are letters and digits.

        In block style, each gets the remark as a comment.
        """
        written = [f"'{entry}'" if entry.isdigit() else entry for entry in new]
        if self._indent is None:
            comma = "" if self._before.endswith(",") else ","
            return f"{self._before}{comma} {', '.join(written)}{self._after}"
        before = self._before
        if before and not before.endswith("\n"):
            before += "\n"
        if not self.has_key:
            before += f"{key}:\n"
        return (
            before
            + "".join(f"{self._indent}- {entry} # {remark}\n" for entry in written)
            + self._after
        )


def parse_plain_list(text: str, key: str) -> PlainList | None:
    """The list in the text; None if it is not certainly a plain list below that key alone."""
    if _ODD.search(text):
        return None
    lines = text.split("\n")
    at = _content(lines, 0)
    if at == len(lines):
        before = f"{text.rstrip()}\n" if text.strip() else ""
        return PlainList((), has_key=False, _before=before, _after="", _indent="")
    if _START.fullmatch(lines[at]):
        at = _content(lines, at + 1)
    if at == len(lines) or not lines[at].startswith(f"{key}:"):
        return None
    value = lines[at].removeprefix(f"{key}:")
    if re.fullmatch(_REMARK, value):
        return _block(lines, at)
    if re.match(r" +\[", value):
        return _flow(lines, at)
    return None


def _content(lines: Sequence[str], at: int) -> int:
    """The first line from `at` on that is not empty and not a comment alone."""
    while at < len(lines) and _EMPTY.fullmatch(lines[at]):
        at += 1
    return at


def _block(lines: list[str], key_at: int) -> PlainList | None:
    entries: list[Entry] = []
    indent, last = None, key_at
    for at in range(key_at + 1, len(lines)):
        if _EMPTY.fullmatch(lines[at]):
            continue
        item = _ITEM.fullmatch(lines[at])
        if item is None or item["indent"] != (item["indent"] if indent is None else indent):
            return None
        indent, last = item["indent"], at
        plain = None if item["plain"] in _NULLS else item["plain"]
        entries.append((at + 1, item["quoted"] or plain))
    before, after = "\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])
    if last + 1 < len(lines):
        before += "\n"
    return PlainList(entries, has_key=True, _before=before, _after=after, _indent=indent or "")


def _flow(lines: list[str], key_at: int) -> PlainList | None:
    text = "\n".join(lines[key_at:])
    start = text.index("[") + 1
    body = _FLOW.match(text, start)
    assert body is not None  # it matches nothing, too
    rest, _, below = text[body.end() :].partition("\n")
    if re.fullmatch(rf"\]{_REMARK}", rest) is None or re.search(r"\n[^ ]|\n\Z", body[0]):
        return None
    if _content(below.split("\n"), 0) < below.count("\n") + 1:
        return None
    entries: list[Entry] = []
    wants_entry = True
    for number, line in enumerate(body[0].split("\n"), key_at + 1):
        for part in _FLOW_PART.finditer(line):
            if (part["entry"] is None) == wants_entry or part[0] in _QUOTES:
                return None
            if wants_entry:
                entries.append((number, None if part[0] in _NULLS else part["entry"]))
            wants_entry = not wants_entry
    head = "".join(f"{line}\n" for line in lines[:key_at])
    if entries:
        end = start + len(body[0].rstrip())
        return PlainList(entries, True, head + text[:end], text[end:], None)
    remark = rest.removeprefix("]").rstrip()
    return PlainList((), True, f"{head}{text[: start - 1].rstrip()}{remark}\n", below, "")
