"""The permission bits that files and folders get at home."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import Literal

from asynchy.model.experiment import Entry, EntryKind

Rule = Literal["group-shared", "source", "umask"]


@dataclass(frozen=True)
class Modes:
    """Which of the facility's permission bits are kept; setuid and sticky never are.

    The owner may always read and write the files, and enter the folders.
    """

    rule: Rule = "group-shared"
    """`group-shared`: the group may work with it, others may not change it, and new files in a
    folder belong to the folder's group; as an rsync option `--chmod=Dg+s,ug+w,o-wx,ug+X,u+r`.
    `source`: the facility's. `umask`: the facility's without those that the umask takes away.
    """
    umask: int = 0o022

    def of(self, entry: Entry) -> int:
        """The permission bits that a file or folder gets when it is made."""
        folder = entry.kind is EntryKind.FOLDER
        bits = entry.mode & 0o777
        if self.rule == "group-shared":
            bits = (bits | 0o220) & ~0o003
            if folder or entry.mode & 0o111:
                bits |= 0o110
            bits |= stat.S_ISGID if folder else 0
        elif self.rule == "umask":
            bits &= ~self.umask
        return bits | (0o700 if folder else 0o600)


GROUP_SHARED = Modes()
"""The mode of the original, and the default."""
