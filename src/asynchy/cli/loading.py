"""What a command is made of is loaded when it is used, and without looking for garbage."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Any

CONFIG_VARIABLE = "ASYNCHY_CONFIG"
"""Of the environment: the config file of a command that is not told another."""


def loaded(where: str) -> Any:
    """What a module of `cli` calls by a name: `sync.sync`.

    To load all commands takes longer than many a command, and what one of them does takes as long
    to load as to connect to the facility.
    """
    module, name = where.split(".")
    gc.disable()  # all of it stays: to look through it for garbage takes a fifth of the time
    try:
        return getattr(import_module(f"asynchy.cli.{module}"), name)
    finally:
        gc.freeze()
        gc.enable()
        # Records of experiments are made by the ten thousand, and stay: few passes find anything.
        gc.set_threshold(100_000, 50, 100)
