"""`ignore.yml`: the EPNs that are skipped; asynchy adds those that it has completed.

Most such files are a plain list of EPNs, in block or in flow style, with up to tens of thousands
of entries: `yaml_list.py` reads and extends them line by line. Whatever else YAML allows goes
through the YAML parser, which needs about 0.2 ms for each entry.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from asynchy.config.file_access import access_hint
from asynchy.config.text_file import UnusableFile, read_text
from asynchy.config.yaml_editor import changed, edit_text
from asynchy.config.yaml_list import parse_plain_list
from asynchy.config.yaml_source import Plain, YamlDocument, YamlError, parse
from asynchy.errors import IgnoreListError
from asynchy.model.catalogue_address import CatalogueAddress
from asynchy.model.epn import Epn
from asynchy.model.folder_hint import folder_hint
from asynchy.model.formatting import count, escaped
from asynchy.model.policy import Origin

KEY = "previouslySynched"
"""The original's key, to the letter."""

_HINT = f"it must read `{KEY}: [12282a, …]`; nothing was changed"
_COMMENT = "# asynchy adds an EPN when its copies are complete. Catalogue: "
_COMMENT_LINE = re.compile(rf"^{re.escape(_COMMENT)}(.+)$", re.MULTILINE)
_REMARK = "asynchy"
"""The comment on a line that we wrote. It tells whose the entry is if the catalogue does not."""
_OURS = re.compile(rf"^ *- +(['\"]?)([A-Za-z0-9]+)\1 +# {_REMARK} *$", re.MULTILINE)
_OTHERS = re.compile(
    rf"^ *- +(['\"]?)([A-Za-z0-9 ]+?)\1(?! +# {_REMARK} *$)( +#.*| *)$", re.MULTILINE
)
"""A line that is not as we write it."""
_BY_US = "# Written by asynchy:"
_NAMED_OURS = re.compile(rf"^{_BY_US} (.*)$", re.MULTILINE)
_LIKE_AN_EPN = re.compile(r"[0-9]{3,12}[A-Za-z]{0,8}", re.ASCII)
_BETWEEN = re.compile(r"[\s/,;:#'\"()\[\]{}<>|]+")
"""What stands between an EPN and what people write around it."""
_TOP = re.compile(r"(?:#[^\n]*\n)*")
_MOST_WARNINGS = 20
"""Warnings with a line each; the rest is counted."""


@dataclass(frozen=True)
class IgnoreEntries:
    """What an `ignore.yml` says."""

    epns: frozenset[Epn] = frozenset()
    ours: frozenset[Epn] = frozenset()
    """Those whose line, or a comment if the list is between brackets, says that we wrote them."""
    theirs: frozenset[Epn] = frozenset()
    """Those with a line that a person wrote, beside one of ours or with another comment."""
    lines: Mapping[Epn, int | None] = field(default_factory=dict)
    """The lines of those, from 1; None: not known."""
    warnings: tuple[str, ...] = ()
    """Entries that are no EPN and skip nothing: file, line and what to do."""
    has_list: bool = False
    """Whether there is a file with the key `previouslySynched`, be its list empty."""
    catalogue: str | None = None
    """The catalogue that our comment names; None: there is no such comment."""

    @property
    def said(self) -> dict[str, Origin | None]:
        """By EPN, whose its lines say that the entry is; None: they do not say."""
        marks = {Origin.OURS: self.ours, Origin.PERSON: self.theirs}
        return {
            epn.text: next((whose for whose, epns in marks.items() if epn in epns), None)
            for epn in self.epns
        }


@dataclass(frozen=True)
class IgnoreFile:
    """One `ignore.yml`."""

    path: Path

    def read(self) -> IgnoreEntries:
        """The entries that are in the file now; none if there is no file.

        Raises:
            IgnoreListError: the file cannot be read or understood.
        """
        try:
            return self._understood(read_text(self.path))
        except FileNotFoundError:
            return IgnoreEntries()
        except OSError as error:
            closed = isinstance(error, PermissionError)
            hint = access_hint(self.path) if closed else None
            raise IgnoreListError(f"{self.path}: {error.strerror}", hint=hint) from None
        except UnicodeDecodeError:
            raise IgnoreListError(f"{self.path}: not UTF-8", hint=_HINT) from None
        except UnusableFile as error:
            raise IgnoreListError(f"{self.path}: {error}", hint=_HINT) from None

    def add_all(self, epns: Collection[Epn], catalogue: CatalogueAddress | None = None) -> bool:
        """Add those of the EPNs that are not in the file yet; whether the file was written.

        One read and one write, however many they are. Everything else in the file is kept, edits
        that people make meanwhile, too. With a `catalogue`, the file also gets a comment that
        names it, unless it has one: it says to people what the entries are, and to us that there
        is a catalogue.

        Raises:
            IgnoreListError: the file cannot be read, understood or written; it is as it was.
        """
        try:
            return edit_text(self.path, lambda text: self._with(text, epns, catalogue))
        except UnicodeDecodeError:
            raise IgnoreListError(f"{self.path}: not UTF-8", hint=_HINT) from None
        except ValueError as error:
            raise IgnoreListError(f"{self.path}: {error}", hint=_HINT) from None
        except OSError as error:
            raise IgnoreListError(
                f"{self.path} cannot be written: {error.strerror or error}",
                hint=folder_hint(error, self.path.resolve().parent),
            ) from None

    def _understood(self, text: str) -> IgnoreEntries:
        named = _COMMENT_LINE.search(text)
        plain = parse_plain_list(text, KEY)
        entries: Sequence[tuple[int | None, Plain]]
        if plain is None:
            has_list, entries = self._parsed(text)
        else:
            has_list, entries = plain.has_key, plain.entries
        found = [(line, entry, _epn(entry)) for line, entry in entries]
        epns = frozenset(epn for _, _, epn in found if epn is not None)
        listed = _NAMED_OURS.search(text)
        named_ours = listed[1].split() if listed else []
        marked = set(map(Epn.parse, [*(match[2] for match in _OURS.finditer(text)), *named_ours]))
        lines = _OTHERS.finditer(text)
        others = [(Epn.parse(match[2].strip()), match[3].strip()) for match in lines]
        theirs = epns & {epn for epn, comment in others if comment or epn in marked}
        ours = epns & marked - theirs
        return IgnoreEntries(
            epns=epns,
            ours=ours,
            theirs=theirs,
            lines={epn: line for line, _, epn in found if epn is not None and epn in ours},
            warnings=self._warnings((line, entry) for line, entry, epn in found if epn is None),
            has_list=has_list,
            catalogue=named[1] if named else None,
        )

    def _parsed(self, text: str) -> tuple[bool, list[tuple[int | None, Plain]]]:
        """Whether the key is there, and each entry with its line; read by the YAML parser."""
        try:
            tree = parse(text)
        except YamlError as error:
            raise self._wrong(error.line, error.told) from None
        if tree.data is None:
            return False, []
        entries = self._list_in(tree)
        return KEY in tree.data, [(tree.line((KEY, at)), entry) for at, entry in enumerate(entries)]

    def _list_in(self, tree: YamlDocument) -> list[Plain]:
        data = tree.data
        if not isinstance(data, dict):
            raise self._wrong(1, f"no key `{KEY}`")
        if KEY not in data and data:
            raise self._wrong(1, f"no key `{KEY}`, but `{next(iter(data))}`")
        if tree.repeated:
            raise self._wrong(tree.repeated[0][1], "a key that stands there twice")
        entries = data.get(KEY)
        if entries is not None and not isinstance(entries, list):
            raise self._wrong(tree.line((KEY,)), f"`{KEY}` is not a list")
        return entries or []

    def _warnings(self, odd: Iterable[tuple[int | None, Plain]]) -> tuple[str, ...]:
        lines = [f"{self.path}:{line}: {_problem(entry)}" for line, entry in odd]
        more = len(lines) - _MOST_WARNINGS
        if more > 0:
            entries = count(more, "more entry", "more entries")
            lines[_MOST_WARNINGS:] = [f"{self.path}: {entries} that are no EPN and skip nothing"]
        return tuple(lines)

    def _with(
        self, text: str, epns: Collection[Epn], catalogue: CatalogueAddress | None
    ) -> str | None:
        """The text with these entries and the comment; None if it has all of them."""
        there = self._understood(text)  # a file that cannot be understood is refused with the line
        new = [epn.text for epn in sorted(frozenset(epns) - there.epns)]
        wants_comment = catalogue is not None and there.catalogue is None
        if not new and not wants_comment:
            return None
        wanted = _extended(text, new) if new else text
        if catalogue is not None and wants_comment:
            wanted = _at_top(wanted, f"{_COMMENT}{escaped(str(catalogue))}")
        marked = self._understood(wanted).ours
        unmarked = [epn for epn in new if Epn(epn) not in marked]
        if unmarked:
            wanted = _named(wanted, unmarked)
        if self._understood(wanted).epns != there.epns | frozenset(epns):
            raise ValueError("entries cannot be added; write the list one entry a line, after a -")
        return wanted

    def _wrong(self, line: int | None, text: str) -> IgnoreListError:
        where = f"{self.path}:{line}" if line else str(self.path)
        return IgnoreListError(f"{where}: {text}", hint=_HINT)


def _epn(entry: Plain) -> Epn | None:
    return Epn.parse(entry.strip()) if isinstance(entry, str) else None


def _problem(entry: Plain) -> str:
    """What is wrong with an entry that is no EPN, and what to do."""
    if entry is None or entry == "":
        return "an empty entry skips nothing; write an EPN after the -, or remove the line"
    if not isinstance(entry, str):
        kind = "a list" if isinstance(entry, list) else "a key with a value"
        return f"{kind} is not an EPN and skips nothing; write one EPN an entry, such as 12282a"
    what = f"`{escaped(entry, limit=60)}`"
    meant = _meant(entry)
    if len(meant) > 1:
        return f"{what} is not one EPN and skips nothing; write one EPN an entry"
    example = f"write {meant[0]}" if meant else "an EPN is digits and letters, such as 12282a"
    return f"{what} is not an EPN and skips nothing; {example}"


def _meant(entry: str) -> list[str]:
    """The EPNs that are seen in an entry; none that it may be a mere part of, as in `12282 a`."""
    parts = [part.rstrip(".") for part in _BETWEEN.split(entry)]
    found = [part for part in parts if _LIKE_AN_EPN.fullmatch(part)]
    is_cut = len(found) == 1 and found[0].isdigit() and any(parts[parts.index(found[0]) + 1 :])
    return [] if is_cut else found


def _extended(text: str, new: list[str]) -> str:
    """The text with more entries.

    Raises:
        ValueError: a comment would be lost.
    """
    plain = parse_plain_list(text, KEY)
    if plain is not None:
        return plain.extended(new, KEY, _REMARK)

    def extend(data: CommentedMap) -> bool:
        entries: Any = data.get(KEY)
        if entries is None:
            entries = data[KEY] = CommentedSeq()
        for epn in new:
            entries.append(epn)
            if not entries.fa.flow_style():
                entries.yaml_add_eol_comment(_REMARK, len(entries) - 1, column=0)
        return True

    return changed(text, extend) or text


def _named(text: str, epns: list[str]) -> str:
    """The text with a comment that names EPNs as ours: between brackets no entry has a line."""
    listed = _NAMED_OURS.search(text)
    if listed is None:
        return _at_top(text, f"{_BY_US} {' '.join(epns)}")
    return f"{text[: listed.end()]} {' '.join(epns)}{text[listed.end() :]}"


def _at_top(text: str, comment: str) -> str:
    """The text with a comment below those at its top; nothing else is moved.

    The original program does not see it.
    """
    top = _TOP.match(text)
    end = top.end() if top else 0
    return f"{text[:end]}{comment}\n{text[end:]}"
