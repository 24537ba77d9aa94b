"""What commands name by a string, so that it is loaded when it is used, is there."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

from asynchy.cli import lazy, main

CLI = Path(main.__file__).parent


def named() -> list[str]:
    """The names that `loaded` is called with, and those of the table of commands."""
    found = list(main._COMMANDS.values())
    for path in CLI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if is_call and node.func.id == lazy.loaded.__name__ and node.args:
                found += [one.value for one in node.args if isinstance(one, ast.Constant)]
    return found


@pytest.mark.parametrize("name", named())
def test_a_name_of_a_lazy_command_is_found(name: str) -> None:
    module, function = name.split(".")
    assert callable(getattr(import_module(f"asynchy.cli.commands.{module}"), function))
