"""Changing one entry of `epn_cap_map` in the text of a config, and nothing else of the text.

The YAML library would write the whole file again, in its own style, and takes a key such as `08123`
for the number 8123. So the entry is found by the library's marks, and the text is cut there. What
came of it is parsed again and compared: a file that is written in a way that this does not
understand stays as it is.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from asynchy.config.yaml_source import BoundedComposer, Plain, parse

MAPPING = "epn_cap_map"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
"""What some YAML programs do not read as text."""
_FOR_A_PERSON = f"{MAPPING} is written in a way that only a person can change"
_Pair = tuple[Node, Node]


def with_project(text: str, proposal: str, project: str) -> str:
    """The config's text after the proposal was given to the project.

    Raises:
        ValueError: the text is not YAML, or is written so that a person has to change it.
    """
    return _proven(text, _set(text, proposal, project), proposal, project)


def without_proposal(text: str, proposal: str) -> str:
    """The config's text without the proposal's entry.

    Raises:
        ValueError: as `with_project`; or there is no such entry.
    """
    return _proven(text, _removed(text, proposal), proposal, None)


def _proven(before: str, after: str, proposal: str, project: str | None) -> str:
    """The new text, once it says what it should, and everything else as before."""
    old = parse(before)
    try:
        new = parse(after)
    except ValueError:  # the lines that are to be reported are not in the file
        raise ValueError(_FOR_A_PERSON) from None
    expected = copy.deepcopy(old.data) or {}
    if not isinstance(expected, dict):
        raise ValueError("not a mapping of keys and values")
    _without_empty(expected)
    mapping = expected.setdefault(MAPPING, {})
    if not isinstance(mapping, dict):
        raise ValueError(f"{MAPPING} is not a mapping of proposals to projects")
    if project is None:
        mapping.pop(proposal, None)
    else:
        mapping[proposal] = project
    found = new.data if isinstance(new.data, dict) else {}
    _without_empty(found)
    found.setdefault(MAPPING, {})
    if found != expected or len(new.repeated) != len(old.repeated):
        raise ValueError(_FOR_A_PERSON)
    return after


def _without_empty(data: dict[str, Plain]) -> None:
    if data.get(MAPPING) is None:
        data.pop(MAPPING, None)


def _set(text: str, proposal: str, project: str) -> str:
    root = _composed(text)
    if root is None:
        return _appended(text, "", f'{MAPPING}:\n  "{proposal}": {_scalar(project)}\n')
    pair = _entry(root, MAPPING)
    if pair is None:
        return _with_mapping(text, root, f'"{proposal}": {_scalar(project)}')
    key, mapping = pair
    if not isinstance(mapping, MappingNode):  # nothing, or ~
        return _filled(text, key, mapping, f'"{proposal}": {_scalar(project)}')
    own = _entry(mapping, proposal)
    if own is not None:
        return _with_value(text, own, project)
    quote = "'" if mapping.value and _style(mapping.value[-1][0]) == "'" else '"'
    return _with_entry(text, mapping, f"{quote}{proposal}{quote}: {_scalar(project)}")


def _with_value(text: str, entry: _Pair, project: str) -> str:
    start, end = _span(entry[1])[0], _end(text, entry)
    if start == end:  # nothing stands there
        start = end = text.index(":", entry[0].end_mark.index) + 1
        return f"{text[:start]} {_scalar(project)}{text[end:]}"
    quote = _style(entry[1])
    said = f"{quote}{project}{quote}" if quote in ("'", '"') else _scalar(project)
    return text[:start] + said + text[end:]


def _with_entry(text: str, mapping: MappingNode, line: str) -> str:
    pairs: list[_Pair] = mapping.value
    if not mapping.flow_style:
        at = _end_of_line(text, _end(text, pairs[-1]))
        column = " " * pairs[0][0].start_mark.column
        return _appended(text[:at], text[at:], f"{column}{line}\n")
    if not pairs:
        at = _span(mapping)[0] + 1
        return f"{text[:at]}{line}{text[at:]}"
    at = _span(pairs[-1][1])[1]
    return f"{text[:at]}, {line}{text[at:]}"


def _style(node: Node) -> str | None:
    """The quotes around a scalar; None: there are none."""
    return node.style if isinstance(node, ScalarNode) else None


def _with_mapping(text: str, root: MappingNode, line: str) -> str:
    """The text with the key, which was not there."""
    if root.flow_style:
        at = _span(root.value[-1][1])[1] if root.value else _span(root)[0] + 1
        comma = ", " if root.value else ""
        return f"{text[:at]}{comma}{MAPPING}: {{{line}}}{text[at:]}"
    column = " " * root.start_mark.column
    last = re.search(r"(?m)^\.\.\.\s*$", text)
    at = last.start() if last else len(text)
    return _appended(text[:at], text[at:], f"{column}{MAPPING}:\n{column}  {line}\n")


def _filled(text: str, key: Node, value: Node, line: str) -> str:
    """The text with an entry for the key, which was there without any."""
    column = " " * (key.start_mark.column + 2)
    start, end = _span(value)
    if start < key.end_mark.index:  # an alias
        start = end = key.end_mark.index
    text = text[:start].rstrip(" ") + text[end:] if end > start else text
    at = _end_of_line(text, key.end_mark.index)
    return _appended(text[:at], text[at:], f"{column}{line}\n")


def _removed(text: str, proposal: str) -> str:
    root = _composed(text)
    pair = root and _entry(root, MAPPING)
    mapping = pair[1] if pair else None
    own = _entry(mapping, proposal) if isinstance(mapping, MappingNode) else None
    if own is None or not isinstance(mapping, MappingNode):
        raise ValueError(f"{MAPPING} has no entry of its own for {proposal}")
    start, end = _span(own[0])[0], _end(text, own)
    if not mapping.flow_style:
        start = text.rfind("\n", 0, start) + 1
        return text[:start] + text[_end_of_line(text, end) :]
    if comma := re.match(r"\s*,[ \t]*", text[end:]):
        return text[:start] + text[end + comma.end() :]
    pairs: list[_Pair] = mapping.value
    before = _span(pairs[-2][1])[1] if len(pairs) > 1 else start
    return text[:before] + text[end:]


def _composed(text: str) -> MappingNode | None:
    parse(text)  # raises ValueError if it is not YAML, or too much
    yaml = YAML(typ="rt", pure=True)
    yaml.Composer = BoundedComposer
    root: Any = yaml.compose(text)
    if root is not None and not isinstance(root, MappingNode):
        raise ValueError("not a mapping of keys and values")
    return root


def _entry(mapping: MappingNode, key: str) -> _Pair | None:
    for found, value in mapping.value:
        if isinstance(found, ScalarNode) and found.value == key:
            return found, value
    return None


def _span(node: Node) -> tuple[int, int]:
    return node.start_mark.index, node.end_mark.index


def _end(text: str, entry: _Pair) -> int:
    """Where an entry ends: a text of several lines ends at the last of them for people.

    The library's mark is behind the empty lines and comments that follow such a text.
    """
    key, value = entry
    begin, end = _span(value)
    if _style(value) in ("|", ">"):
        while (at := text.rfind("\n", begin, end)) >= 0:
            line = text[at + 1 : end]
            if len(line) - len(line.lstrip(" ")) > key.start_mark.column and line.strip():
                break
            end = at
    return max(end, _span(key)[1])


def _end_of_line(text: str, at: int) -> int:
    """The beginning of the next line."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _appended(before: str, after: str, lines: str) -> str:
    """Whole lines in between."""
    if before and not before.endswith("\n"):
        before += "\n"
    return f"{before}{lines}{after}"


def _scalar(project: str) -> str:
    plain = _PLAIN.fullmatch(project) and project.lower() not in _WORDS
    return project if plain else f'"{project}"'
