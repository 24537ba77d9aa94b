"""Transfer options of the config and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asynchy.model.bandwidth import BandwidthTimetable
from asynchy.model.cluster import ClusterAddress
from asynchy.model.experiment import LeftOutCounts
from asynchy.model.file_modes import GROUP_SHARED, Modes


@dataclass(frozen=True)
class TransferOptions:
    """The options of a transfer, from the config and the command line."""

    engine: Literal["auto", "sftp", "rsync"] = "auto"
    compare: Literal["time", "size", "checksum"] = "time"
    symlinks: bool = False
    special_files: bool = False
    dot_files: bool = False
    partial: bool = True
    """Keep what was fetched of a file when the transfer is cut off, and go on from there."""
    compress: bool = False
    """Compress on the way."""
    cluster: ClusterAddress | None = None
    """The Dask cluster whose hosts move files; None: this machine does."""
    streams: int | None = None
    """Connections of a transfer; None: as many as pay."""
    bandwidth: BandwidthTimetable | None = None
    """The limit for all transfers of this machine together; None: no limit."""
    verify: Literal["none", "size", "source"] = "size"
    """The level of proof right after a transfer."""
    run: int | None = None
    """The number of a run that proves all files again; None: earlier proofs count."""
    manifest: bool = True
    """Compute the SHA-256 of every file right after its copy is complete."""
    receipt: bool = False
    """Then make a receipt of it, beside it."""
    restore: bool = False
    """Bring the facility's files back where people changed them at home, and their modes."""
    modes: Modes = GROUP_SHARED
    """The permission bits of arriving files."""

    @property
    def looks(self) -> bool:
        """Whether size and time of files at home are compared with the listing."""
        return self.verify != "none" and self.compare != "size"

    @property
    def brings_links(self) -> bool:
        """Whether a transfer brings links or special files."""
        return self.symlinks or self.special_files

    def may_bring(self, left_out: LeftOutCounts) -> bool:
        """Whether a transfer may bring left-out entries; links that lead outside never come."""
        links = self.symlinks and left_out.symlinks
        return bool(links or (self.special_files and left_out.special_files))

    @property
    def needs_rsync(self) -> str | None:
        """An option that only rsync supports; None if none is set."""
        if self.compare == "checksum":
            return "compare: checksum"
        if self.symlinks:
            return "symlinks: true"
        if self.special_files:
            return "special-files: true"
        return "--compress" if self.compress else None
