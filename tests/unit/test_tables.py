"""Tables and lists as people see them."""

from __future__ import annotations

import pytest

from asynchy.cli.output.tables import bullets, once_a_mount, table
from asynchy.model.formatting import escaped
from asynchy.model.plan import SkipReason


def test_nothing_commands_a_terminal_and_what_is_escaped_is_so_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "a\x1b[2J\n"
    table(("Name", "Why"), [(name, f"it has no {escaped(name)}")])
    bullets("Look:", [name, escaped(name)])
    told = capsys.readouterr().out.splitlines()
    printed = r"a\x1b[2J\n"
    assert told[2].split() == [printed, "it", "has", "no", printed]
    assert told[-2:] == [f"  {printed}"] * 2


def test_a_mount_that_is_missing_is_one_row_and_everything_else_has_a_row_of_its_own() -> None:
    rows = [
        (SkipReason.UNMOUNTED, "/a", ("1a", "gone")),
        (SkipReason.COPY_MISSING, "/b", ("1b", "missing")),
        (SkipReason.UNMOUNTED, "/a", ("1c", "gone")),
        (SkipReason.COPY_MISSING, "/b", ("1d", "missing")),
        (None, "", ("1e", "due")),
        (SkipReason.UNMOUNTED, "/c", ("1f", "gone")),
        (SkipReason.UNMOUNTED, "/a", ("1g", "gone")),
        (SkipReason.NO_PROJECT_FOLDER, "/a", ("1h", "no folder")),
        (None, "", ("1i", "due")),
    ]
    names = [row[0] for row in once_a_mount(rows)]
    assert names == ["1a and 2 more", "1b", "1d", "1e", "1f", "1h", "1i"]
