"""Files at home that differ from the facility's, kept aside where a person finds them.

They lie beside the data and not among them, in a folder of the same name with `.asynchy-mismatch`
behind it, one for each time, with the paths that they had: `data.asynchy-mismatch/
20261124T140500Z/frames/x.h5`. So no transfer, audit or listing of the copy ever meets them.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from asynchy.domain.level import Held
from asynchy.tree import Tree

_NAME = "%Y%m%dT%H%M%SZ"
_MODE = 0o2770
"""The project's group works in them, others stay out."""


def folder_of(destination: Path) -> Path:
    """Where the files of a copy are kept aside."""
    return destination.with_name(f"{destination.name}.asynchy-mismatch")


class Aside:
    """Keeps files of one copy aside; a context manager for one thread. Methods raise OSError."""

    def __init__(self, destination: Path, now: datetime) -> None:
        self._folder = folder_of(destination)
        self._name = now.astimezone(UTC).strftime(_NAME)
        self._stack = contextlib.ExitStack()
        self._tree = self._stack.enter_context(Tree(destination))
        self._target: Tree | None = None
        self._before = [
            (when, self._stack.enter_context(Tree(self._folder / name)))
            for name in sorted(self._listed())
            if (when := _time(name)) is not None
        ]

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def folder(self) -> Path:
        """Where those of this time are."""
        return self._folder / self._name

    def take(self, file: Held) -> bool | None:
        """Take a file out of the copy; whether it is kept, or None where none was there.

        What was fetched in place of one that is kept, and differs as well, is not kept, too.
        """
        if self._tree.find(file.path) is None:
            return None
        if self._is_kept(file):
            self._tree.remove(file.path)
            return False
        self._tree.move(file.path, self._open())
        return True

    def _is_kept(self, file: Held) -> bool:
        return any(
            when >= file.checked.replace(microsecond=0) and tree.find(file.path) is not None
            for when, tree in self._before
        )

    def _open(self) -> Tree:
        if self._target is None:
            for folder in (self._folder, self.folder):
                with contextlib.suppress(FileExistsError):
                    folder.mkdir()
                    folder.chmod(_MODE)
            self._target = self._stack.enter_context(Tree(self.folder))
        return self._target

    def _listed(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return os.listdir(self._folder)  # noqa: PTH208 - names alone
        return []


def _time(name: str) -> datetime | None:
    try:
        return datetime.strptime(name, _NAME).replace(tzinfo=UTC)
    except ValueError:
        return None
