"""What a command is made of is loaded when it is used, and without looking for garbage."""

from __future__ import annotations

import gc
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import CodeType
from typing import Any

CONFIG_VARIABLE = "ASYNCHY_CONFIG"
"""Of the environment: the config file of a command that is not told another."""


def loaded(where: str) -> Any:
    """What a module of `cli.commands` calls by a name: `sync.sync`.

    To load all commands takes longer than many a command, and what one of them does takes as long
    to load as to connect to the facility.
    """
    module, name = where.split(".")
    gc.disable()  # all of it stays: to look through it for garbage takes a fifth of the time
    try:
        return getattr(import_module(f"asynchy.cli.commands.{module}"), name)
    finally:
        gc.freeze()
        gc.enable()
        # Records of experiments are made by the ten thousand, and stay: few passes find anything.
        gc.set_threshold(100_000, 50, 100)


def text_of(where: str) -> str | None:
    """The docstring of a function of a module of `cli.commands`, which is not loaded for it."""
    module, name = where.split(".")
    found = find_spec(f"asynchy.cli.commands.{module}")
    assert found is not None and isinstance(found.loader, InspectLoader)
    code = found.loader.get_code(found.name)
    assert code is not None
    defined = (one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)
    return next((function.co_consts[0] for function in defined if function.co_consts), None)
