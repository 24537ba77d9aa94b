"""Which engine moves an experiment, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Means:
    """What the config and the command line say of how files are moved."""

    engine: Literal["auto", "sftp", "rsync"] = "auto"
    compare: Literal["time", "size", "checksum"] = "time"
    symlinks: bool = False
    special_files: bool = False
    partial: bool = True
    """Keep what was fetched of a file when the transfer is cut off, and go on from there."""
    compress: bool = False
    """Compress on the way."""
    streams: int | None = None
    """Connections of a transfer; None: as many as pay."""
    bandwidth: int | None = None
    """Bytes a second for all transfers of this machine together; None: no limit."""
    verify: Literal["none", "size", "source"] = "size"
    """What is proven of a copy right after its transfer."""
    run: int | None = None
    """The number of a run in which all is to be proven again; None: what is proven counts."""
    manifest: bool = True
    """Compute the SHA-256 of every file right after its copy is complete."""
    receipt: bool = False
    """Then make a receipt of it, beside it."""
    restore: bool = False
    """Bring the facility's files back where people changed them at home."""

    @property
    def looks(self) -> bool:
        """Whether size and time of what is at home are held against the listing."""
        return self.verify != "none" and self.compare != "size"

    @property
    def needs_rsync(self) -> str | None:
        """What is asked for that only rsync does; None where nothing is."""
        if self.compare == "checksum":
            return "compare: checksum"
        if self.symlinks:
            return "symlinks: true"
        if self.special_files:
            return "special-files: true"
        return "--compress" if self.compress else None


def choose(means: Means, *, offers_sftp: bool) -> tuple[Literal["sftp", "rsync"], str]:
    """The engine, and the reason in words that people read."""
    if means.engine != "auto":
        return means.engine, f"engine: {means.engine}"
    if (wish := means.needs_rsync) is not None:
        return "rsync", f"{wish} needs rsync"
    if not offers_sftp:
        return "rsync", "the server offers no SFTP"
    return "sftp", "the server offers SFTP"
