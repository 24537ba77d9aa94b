"""Messages, help texts and templates are in the plain English that CONTRIBUTING asks for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "asynchy"
PHRASES = {
    r"\blies?\b": "is in",
    r"(?<!there )\bis no (UTF|SFTP|EPN|YAML|file|folder|number|link|spreadsheet)": "is not a",
    r"\bthat miss\b": "missing",
    r"\bh[oe]ld(s|ing)? against\b": "compare with",
    r"\bmend(s|ed|ing)?\b": "correct, repair",
    r"\b(anew|likewise|at one stroke|of no worth)\b": "again, too, in one step",
    r"\bspoke\b": "sent",
    r"\bmeans harm\b": "malicious",
    r"\bhears?\b|\bheard\b": "receive",
    r"\bin words\b": "for people",
    r"\bso (many|long)\b": "the name of the number",
    r"\bsuch a\b": "one",
    r"\bas far as is known\b": "data as of",
    r"\bdoes not say\b": "does not report",
    r"\bmay not be looked at\b|\bnot looked at:": "cannot be read, not checked",
    r"\bwhat (was fetched|has arrived)\b": "fetched data, files that arrived",
    r"\b(unseen|in vain|hear of|come right)\b": "unknown, without use, receive, be solved",
    r"\bis told (in|that|of)\b|\bnot tell its\b": "is reported, does not distinguish",
    r"\bsuch an (answer|entry)\b": "this one",
}
"""What no message may say, and what it says instead."""


def messages() -> list[tuple[str, str]]:
    """Every text in the program that is no docstring, and every template, with its place."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in documents:
                found.append((f"{path.name}:{node.lineno}", node.value))
    templates = sorted(SOURCE.rglob("*.j2"))
    return [*found, *((path.name, path.read_text(encoding="utf-8")) for path in templates)]


MESSAGES = messages()


def test_messages_are_many() -> None:
    assert sum(" " in text for _, text in MESSAGES) > 1000


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_message_has_a_phrase_that_a_reader_stumbles_over(phrase: str) -> None:
    wrong = [f"{place}: {text}" for place, text in MESSAGES if re.search(phrase, text, re.I)]
    assert wrong == [], f"say instead: {PHRASES[phrase]}"
