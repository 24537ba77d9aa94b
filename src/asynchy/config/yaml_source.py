"""YAML as plain text values that know on which line they stand.

Every scalar stays the text that was written: an EPN such as `1234`, a project `007` or a password
`no` is never turned into a number or a truth value on the way. What a value means is decided by
the model alone.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Place: TypeAlias = tuple[str | int, ...]
Plain: TypeAlias = "str | list[Plain] | dict[str, Plain] | None"

_MOST_CHARACTERS = 1_000_000
_MOST_LINES = 100_000
"""The parser takes a second for so many comments, and more than four times that for four times."""
_MOST_NODES = 30_000
"""Keys, values, lists and mappings that are written; the parser reads some 15,000 a second."""
_MOST_VALUES = 100_000
"""Values there are once aliases and merge keys were followed."""
_DEEPEST = 50
"""Lists and mappings in each other; our keys need four."""
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


class YamlError(ValueError):
    """The text is not YAML."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line

    @property
    def told(self) -> str:
        """What is wrong with the file, as text for people."""
        return f"not YAML: {self}"


class TooMuch(YamlError):
    """The text is more than anybody writes by hand, or makes more of itself."""

    @property
    def told(self) -> str:
        """What is wrong with the file, as text for people."""
        return str(self)


@dataclass
class YamlDocument:
    """A YAML document: its data, the line of each value, and keys that stand there twice."""

    data: Plain = None
    lines: dict[Place, int] = field(default_factory=dict)
    repeated: list[tuple[Place, int]] = field(default_factory=list)

    def line(self, place: Place) -> int | None:
        """The line of the value at the place, or of the nearest one around it."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place)


class BoundedComposer(Composer):
    """Composes documents of so many nodes at most, and not too deep ones.

    The parser goes on only as far as it is asked to, so that the rest is not even read.
    """

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node and all below it.

        Raises:
            TreeError: they are too many, or too deep.
        """
        self._nodes += 1
        self._depth += 1
        if self._nodes > _MOST_NODES or self._depth > _DEEPEST:
            line = self.parser.peek_event().start_mark.line + 1
            if self._depth > _DEEPEST:
                raise TooMuch("nested too deeply", line)
            raise TooMuch(f"more than {_MOST_NODES:,} keys and values", line)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def parse(text: str) -> YamlDocument:
    """The document in the text; anchors, aliases and merge keys (`<<`) are followed.

    Raises:
        TreeError: the text is not YAML, an alias holds itself, an escape is no character, or it is
            too much: the text, or what its aliases make of it.
    """
    if len(text) > _MOST_CHARACTERS:
        raise TooMuch(f"more than {_MOST_CHARACTERS:,} characters", None)
    if text.count("\n") > _MOST_LINES:
        raise TooMuch(f"more than {_MOST_LINES:,} lines", None)
    yaml = YAML(typ="rt", pure=True)
    yaml.Composer = BoundedComposer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML 1.2 allows it
            root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise YamlError(_explained(error.problem or error.context or ""), line) from None
    except KeyError:  # of a version that the library does not know
        raise YamlError("its %YAML version is not known", None) from None
    except YAMLError as error:
        raise YamlError(_without_quotes(str(error).partition("\n")[0]), None) from None
    except RecursionError:
        raise TooMuch("nested too deeply", None) from None
    tree = YamlDocument()
    try:
        tree.data = None if root is None else _Builder(tree).plain(root, ())
    except RecursionError:
        raise TooMuch("nested too deeply", None) from None
    return tree


_EXPLAINED = (
    (
        r"cannot start any token|found a tab|indentation.*tab",
        "a tab, or another character that YAML does not take here; indent with blanks",
    ),
    (r"mapping values are not allowed", "a colon too many, or a line that is indented too far"),
    (
        r"expected <block end>|could not find expected|did not find expected|expected ',' or",
        "a quote or bracket is not closed in this line or above it, or the line is not indented "
        "as those above",
    ),
    (r"unexpected end of stream|found unexpected (end|document)", "a quote is not closed"),
)
"""What the parser says of the mistakes of a hand edit, and what they are."""


def _explained(message: str) -> str:
    """What is wrong, for people; the parser's own words where we know no better."""
    for pattern, words in _EXPLAINED:
        if re.search(pattern, message):
            return words
    return _without_quotes(message)


def _without_quotes(message: str) -> str:
    """The parser's words without what they quote from the file: it may be a secret."""
    return re.sub(r"(['\"]).*\1", "…", message) or "not understood"


def _text(node: ScalarNode) -> str:
    """What a scalar says, with the pairs of escapes of which JSON makes one character."""
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:  # nothing could send, store or show it
        line = node.start_mark.line + 1
        raise YamlError("an escape from \\uD800 to \\uDFFF is no character", line) from None


class _Builder:
    def __init__(self, tree: YamlDocument) -> None:
        self._tree = tree
        self._open: set[int] = set()
        self._values = 0

    def plain(self, node: Node, place: Place) -> Plain:
        self._count(1, node)
        self._tree.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return None if str(node.tag) == _NULL else _text(node)
        if id(node) in self._open:
            raise YamlError("an alias holds itself", node.start_mark.line + 1)
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.plain(item, (*place, at)) for at, item in enumerate(node.value)]
            return self._mapping(node, place)
        finally:
            self._open.discard(id(node))

    def _count(self, more: int, node: Node) -> None:
        """Add up what is made; a value that an alias repeats is made again."""
        self._values += more
        if self._values > _MOST_VALUES:
            raise TooMuch(
                f"aliases (*) or merge keys (<<) make more than {_MOST_VALUES:,} values of it",
                node.start_mark.line + 1,
            )

    def _mapping(self, node: Node, place: Place) -> dict[str, Plain]:
        found: dict[str, Plain] = {}
        merged: dict[str, Plain] = {}
        assert isinstance(node, MappingNode)
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                raise YamlError("a key must be plain text", line)
            key = _text(key_node)
            if str(key_node.tag) == _MERGE or (key == "<<" and key_node.style is None):
                merged = {**self._merged(value_node, (*place, "<<")), **merged}
                self._count(len(merged), value_node)
                continue
            if key in found:
                self._tree.repeated.append(((*place, key), line))
            self._tree.lines[*place, key] = line
            found[key] = self.plain(value_node, (*place, key))
        return {**merged, **found}

    def _merged(self, node: Node, place: Place) -> dict[str, Plain]:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Plain] = {}
        for source in reversed(sources):
            value = self.plain(source, place)
            if not isinstance(value, dict):
                raise YamlError("`<<` takes a mapping", node.start_mark.line + 1)
            merged.update(value)
            self._count(len(value), source)
        return merged
