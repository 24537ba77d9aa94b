"""`ignore.yml`: the EPNs that need no transfer, kept by asynchy and edited by people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from asynchy.config.edit import edit
from asynchy.config.tree import Tree, TreeError, parse
from asynchy.domain.epn import Epn
from asynchy.errors import IgnoreListError

KEY = "previouslySynched"
"""The original's key, to the letter."""

_HINT = f"it must read `{KEY}: [12282a, …]`; nothing was changed"


@dataclass(frozen=True)
class IgnoreList:
    """One `ignore.yml`."""

    path: Path

    def read(self) -> frozenset[str]:
        """The entries as they stand there now; none where there is no file.

        Raises:
            IgnoreListError: the file cannot be read or understood.
        """
        tree = self._tree()
        if tree.data is None:
            return frozenset()
        if not isinstance(tree.data, dict):
            raise self._wrong(1, f"no key `{KEY}`")
        if KEY not in tree.data and tree.data:
            raise self._wrong(1, f"no key `{KEY}`, but `{next(iter(tree.data))}`")
        if tree.repeated:
            raise self._wrong(tree.repeated[0][1], "a key that stands there twice")
        entries = tree.data.get(KEY)
        if entries is None:
            return frozenset()
        if not isinstance(entries, list):
            raise self._wrong(tree.line((KEY,)), f"`{KEY}` is not a list")
        for at, entry in enumerate(entries):
            if not isinstance(entry, str):
                raise self._wrong(tree.line((KEY, at)), "an entry that is not an EPN")
        return frozenset(str(entry).strip() for entry in entries)

    def _tree(self) -> Tree:
        try:
            return parse(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Tree()
        except OSError as error:
            raise IgnoreListError(f"{self.path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise IgnoreListError(f"{self.path}: not UTF-8", hint=_HINT) from None
        except TreeError as error:
            raise self._wrong(error.line, f"not YAML: {error}") from None

    def add(self, epn: Epn) -> None:
        """Add an EPN, keeping everything else in the file, hand edits made meanwhile too.

        Raises:
            IgnoreListError: the file cannot be read, understood or written; it is as it was.
        """
        self.read()  # a file that cannot be understood is refused with the line
        try:
            edit(self.path, lambda data: epn.text not in self.read() and _with(data, epn.text))
        except ValueError as error:
            raise IgnoreListError(f"{self.path}: {error}", hint=_HINT) from None
        except OSError as error:
            raise IgnoreListError(
                f"{self.path} cannot be written: {error.strerror or error}",
                hint=f"make {self.path.parent} writable for the user that runs asynchy",
            ) from None

    def _wrong(self, line: int | None, text: str) -> IgnoreListError:
        where = f"{self.path}:{line}" if line else str(self.path)
        return IgnoreListError(f"{where}: {text}", hint=_HINT)


def _with(data: CommentedMap, epn: str) -> bool:
    entries: Any = data.get(KEY)
    if entries is None:
        data[KEY] = [epn]
    else:
        entries.append(epn)
    return True
