"""Tables and lists as people see them."""

from __future__ import annotations

import pytest

from asynchy.cli.tables import bullets, table
from asynchy.domain.text import shown


def test_nothing_commands_a_terminal_and_what_is_escaped_is_so_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "a\x1b[2J\n"
    table(("Name", "Why"), [(name, f"it has no {shown(name)}")])
    bullets("Look:", [name, shown(name)])
    told = capsys.readouterr().out.splitlines()
    escaped = r"a\x1b[2J\n"
    assert told[2].split() == [escaped, "it", "has", "no", escaped]
    assert told[-2:] == [f"  {escaped}"] * 2
