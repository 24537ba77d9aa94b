"""Every message that needs a person has a row in the runbook, and every row a message.

Covered are the messages of errors and explanations with a hint, as far as they have words of their
own, and the reasons for which an experiment stays due or needs a person (status, plan, mail).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynchy.model.plan import SkipReason

ROOT = Path(__file__).parents[2]
SHORTEST = 7
"""Characters of what is compared: shorter words say nothing of which message it is."""
LONG = 10
"""Characters of the program's that say which message a row with example values is about, if they
are half of what the row has."""
EXPLANATIONS = ("Explanation", "Lost", "Broken")
"""What has its hint as the second argument."""
VALUES = re.compile(r"…|\d[\d.,]*|\bn\b|\b(?:EPN|PATH|FILE|SHEET|PROPOSAL|PROJECT|FOLDER)\b")
"""What stands for a value in a row."""


def words_of(node: ast.expr) -> list[str]:
    """What a message has of its own, between the values in it."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return [part for value in values for part in words_of(value)]
        case ast.IfExp(body=body, orelse=other) | ast.BinOp(left=body, right=other):
            return words_of(body) + words_of(other)
    return []


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "src").rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def has_hint(call: ast.Call) -> bool:
    """Whether a call makes an error, or an explanation, with something to do."""
    hints = [keyword.value for keyword in call.keywords if keyword.arg == "hint"]
    if getattr(call.func, "id", None) in EXPLANATIONS:
        hints += call.args[1:2]
    return any(not (isinstance(hint, ast.Constant) and hint.value is None) for hint in hints)


def messages() -> Iterator[tuple[str, list[str]]]:
    """Where each message with a hint is made, and the words that it has of its own."""
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and has_hint(node):
                words = [part.strip(" :,;()") for part in words_of(node.args[0])]
                if words := [part for part in words if len(part) >= SHORTEST]:
                    yield f"{path}:{node.lineno}", words
    for reason in SkipReason:
        if not reason.ends_well:
            yield f"Left.{reason.name}", [reason.text]


def fragments(line: str) -> list[str]:
    """What a row says of its messages, without the values in them."""
    cell = re.split(r"(?<!\\)\|", line)[1]
    spans = re.findall(r"`([^`]+)`", cell)
    parts = [part.strip(" :,;()") for span in spans for part in VALUES.split(span)]
    return [part for part in parts if len(part) >= SHORTEST]


ROWS = [
    line
    for line in (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]


def test_the_runbook_has_a_row_for_each_message_with_a_hint() -> None:
    known = [part for line in ROWS for part in fragments(line)]
    lacking = {
        where: words
        for where, words in messages()
        if not any(part in word or word in part for word in words for part in known)
    }
    assert lacking == {}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Every text in the program that is no docstring."""
    found = set()
    for _, tree in sources():
        nodes = list(ast.walk(tree))
        docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        found |= {
            node.value.strip(" :,;()")
            for node in nodes
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
        }
    return [text for text in found if len(text) >= SHORTEST]


def test_each_row_of_the_runbook_is_about_a_message_of_the_program(texts: list[str]) -> None:
    def is_found(line: str) -> bool:
        pieces = [piece.strip() for part in fragments(line) for piece in re.split(r"[:;,]", part)]
        pieces = [piece for piece in pieces if len(piece) >= SHORTEST]
        return any(
            piece in text or (text in piece and len(text) >= max(LONG, len(piece) / 2))
            for piece in pieces for text in texts
        )  # fmt: skip

    assert [line[:100] for line in ROWS if not is_found(line)] == []
