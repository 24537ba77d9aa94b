"""How files are moved, as the config and the command line say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.experiment import LeftOutCounts
from asynchy.model.file_modes import GROUP_SHARED, Modes


@dataclass(frozen=True)
class TransferOptions:
    """What the config and the command line say of how files are moved."""

    engine: Literal["auto", "sftp", "rsync"] = "auto"
    compare: Literal["time", "size", "checksum"] = "time"
    symlinks: bool = False
    special_files: bool = False
    dot_files: bool = False
    partial: bool = True
    """Keep what was fetched of a file when the transfer is cut off, and go on from there."""
    compress: bool = False
    """Compress on the way."""
    streams: int | None = None
    """Connections of a transfer; None: as many as pay."""
    bandwidth: BandwidthTimetable | None = None
    """What all transfers of this machine may take together; None: there is no limit."""
    verify: Literal["none", "size", "source"] = "size"
    """What is proven of a copy right after its transfer."""
    run: int | None = None
    """The number of a run in which all is to be proven again; None: what is proven counts."""
    manifest: bool = True
    """Compute the SHA-256 of every file right after its copy is complete."""
    receipt: bool = False
    """Then make a receipt of it, beside it."""
    restore: bool = False
    """Bring the facility's files back where people changed them at home, and their modes."""
    modes: Modes = GROUP_SHARED
    """The permission bits of what arrives."""

    @property
    def looks(self) -> bool:
        """Whether size and time of what is at home are compared with the listing."""
        return self.verify != "none" and self.compare != "size"

    @property
    def brings_links(self) -> bool:
        """Whether a transfer brings links or special files."""
        return self.symlinks or self.special_files

    def may_bring(self, left_out: LeftOutCounts) -> bool:
        """Whether a transfer may bring some of what was left out; what leads outside it cannot."""
        links = self.symlinks and left_out.symlinks
        return bool(links or (self.special_files and left_out.special_files))

    @property
    def needs_rsync(self) -> str | None:
        """What is asked for that only rsync does; None if nothing is."""
        if self.compare == "checksum":
            return "compare: checksum"
        if self.symlinks:
            return "symlinks: true"
        if self.special_files:
            return "special-files: true"
        return "--compress" if self.compress else None
