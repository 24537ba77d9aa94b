"""Names: each class has one of its own, and the glossary names what is there."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "src").rglob("*.py")
}
CLASSES = [
    node.name
    for tree in MODULES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
]


def test_no_two_classes_have_one_name() -> None:
    assert [name for name, times in Counter(CLASSES).items() if times > 1] == []


def terms() -> list[str]:
    """The names in the code that the glossary gives."""
    rows = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    cells = [row.split("|")[2] for row in rows if row.startswith("|") and "`" in row.split("|")[2]]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_glossary_has_forty_terms() -> None:
    assert len(terms()) >= 40


@pytest.mark.parametrize("term", terms())
def test_a_name_of_the_glossary_is_in_the_code(term: str) -> None:
    owner, _, member = term.rpartition(".")
    if owner and owner.islower():  # a module
        assert (ROOT / "src" / "asynchy" / owner / f"{member}.py").exists()
        return
    assert (owner or term) in CLASSES
    if owner:
        text = "".join(path.read_text(encoding="utf-8") for path in MODULES)
        assert re.search(rf"^    (def )?{member}\b", text, re.MULTILINE)
