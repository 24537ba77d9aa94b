"""One entry of epn_cap_map changes, and nothing else of the text that people wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.config.map_editor import with_project, without_proposal
from asynchy.config.yaml_source import parse

TEXT = """\
%YAML 1.1
---
# ours
comment:   'some  words'   # why
epn_cap_map:
    12282:  ny79     # Ada
    # the next one is old
    08123: "kx12"

equipment:
- {id: 23}
-   id: 24
...
"""


def test_an_added_entry_is_the_only_change() -> None:
    after = with_project(TEXT, "8123", "ny79")
    assert after == TEXT.replace('"kx12"\n', '"kx12"\n    "8123": ny79\n')


def test_an_entry_is_the_text_that_stands_there() -> None:
    assert with_project(TEXT, "08123", "ab12") == TEXT.replace('"kx12"', '"ab12"')
    assert with_project(TEXT, "12282", "007") == TEXT.replace("ny79 ", '"007" ')


def test_a_removed_entry_is_the_only_change() -> None:
    assert without_proposal(TEXT, "08123") == TEXT.replace('    08123: "kx12"\n', "")
    assert without_proposal(TEXT, "12282") == TEXT.replace("    12282:  ny79     # Ada\n", "")
    with pytest.raises(ValueError, match="no entry of its own for 8123"):
        without_proposal(TEXT, "8123")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'epn_cap_map:\n  "1": a\n'),
        ("# c", '# c\nepn_cap_map:\n  "1": a\n'),
        ("host: x", 'host: x\nepn_cap_map:\n  "1": a\n'),
        ("host: x\n...\n", 'host: x\nepn_cap_map:\n  "1": a\n...\n'),
        ("epn_cap_map:", 'epn_cap_map:\n  "1": a\n'),
        ("epn_cap_map:  # c\nhost: x\n", 'epn_cap_map:  # c\n  "1": a\nhost: x\n'),
        ("epn_cap_map: ~\nhost: x\n", 'epn_cap_map:\n  "1": a\nhost: x\n'),
        ("epn_cap_map: {}\n", 'epn_cap_map: {"1": a}\n'),
        ("epn_cap_map: {2: b}  # c\n", 'epn_cap_map: {2: b, "1": a}  # c\n'),
        ("epn_cap_map:\n  {'2': b\n  }\n", "epn_cap_map:\n  {'2': b, '1': a\n  }\n"),
        ("epn_cap_map:\n- x", None),
        ("epn_cap_map:\n  '2': b", "epn_cap_map:\n  '2': b\n  '1': a\n"),
        ("epn_cap_map:\n  1: {}\n", "epn_cap_map:\n  1: a\n"),
        ("epn_cap_map:\n  1:\n  2: b\n", "epn_cap_map:\n  1: a\n  2: b\n"),
        ("m: &m\n  2: b\nepn_cap_map: *m\n", None),
        (
            "m: &m {2: b}\nepn_cap_map:\n  <<: *m\n  3: c\n",
            'm: &m {2: b}\nepn_cap_map:\n  <<: *m\n  3: c\n  "1": a\n',
        ),
        ("x: &x b\nepn_cap_map:\n  1: *x\n", None),
        ("{host: x}", '{host: x, epn_cap_map: {"1": a}}'),
        ("\ufeffepn_cap_map: {}\n", '\ufeffepn_cap_map: {"1": a}\n'),
        ("epn_cap_map:\n  2: |\n    b\n", 'epn_cap_map:\n  2: |\n    b\n  "1": a\n'),
        ("epn_cap_map:\n  2: |-\n    b\nx: y\n", 'epn_cap_map:\n  2: |-\n    b\n  "1": a\nx: y\n'),
        ("epn_cap_map:\n  1: >\n    b\n\n# c\nx: y\n", "epn_cap_map:\n  1: a\n\n# c\nx: y\n"),
    ],
)
def test_each_way_of_writing_it_is_kept_or_left_alone(before: str, after: str | None) -> None:
    if after is None:
        with pytest.raises(ValueError):
            with_project(before, "1", "a")
    else:
        assert with_project(before, "1", "a") == after


@pytest.mark.parametrize(
    "text",
    ['epn_cap_map:\n  ? "08123"\n  : ny79\nhost: x\n', "epn_cap_map: &m\n  08123: &p b\n  1: *p\n"],
)
def test_what_is_wrong_with_the_new_text_is_not_told(text: str) -> None:
    with pytest.raises(ValueError, match="written in a way that only a person can change"):
        with_project(text, "08123" if "*p" in text else "2", "a")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("epn_cap_map: {1: a}\n", "epn_cap_map: {}\n"),
        ("epn_cap_map: {1: a, 2: b}\n", "epn_cap_map: {2: b}\n"),
        ("epn_cap_map: {2: b, 1: a}\n", "epn_cap_map: {2: b}\n"),
        ("epn_cap_map:\n  1: a\n", "epn_cap_map:\n"),
        ("epn_cap_map:\n  1: a", "epn_cap_map:\n"),
        ("epn_cap_map:\n  1: >\n    a\n\n# c\nx: y\n", "epn_cap_map:\n\n# c\nx: y\n"),
        ("epn_cap_map:\n  1: |\n    a\n    # b\n  2: b\n", "epn_cap_map:\n  2: b\n"),
        ("epn_cap_map:\n  1: >\n# c\nx: y\n", "epn_cap_map:\n# c\nx: y\n"),
    ],
)
def test_each_way_of_writing_an_entry_is_removed(before: str, after: str) -> None:
    assert without_proposal(before, "1") == after


@given(
    st.dictionaries(st.from_regex(r"[0-9]{1,4}", fullmatch=True), st.just("old"), max_size=4),
    st.sampled_from(["plain", '"', "'", "flow"]),
    st.from_regex(r"[0-9]{1,4}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,5}", fullmatch=True),
)
def test_what_is_added_is_what_is_read(
    mapping: dict[str, str], style: str, proposal: str, project: str
) -> None:
    quote = "" if style in ("plain", "flow") else style
    entries = [f"{quote}{key}{quote}: {value}" for key, value in mapping.items()]
    block = "".join(f"\n   {entry}" for entry in entries)
    flow = " {" + ", ".join(entries) + "}"
    text = f"a: 1\nepn_cap_map:{flow if style == 'flow' else block}\nz: 2\n"
    after = with_project(text, proposal, project)
    assert parse(after).data == {"a": "1", "epn_cap_map": {**mapping, proposal: project}, "z": "2"}
    assert parse(after).repeated == []
