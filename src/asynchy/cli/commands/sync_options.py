"""The options of `asynchy sync`, as the command line gives them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class SyncOptions:
    """One field for each option; see `asynchy sync --help`."""

    dest: str
    src_prefix: str | None
    order: str
    """`ASC` or `DESC`."""
    limit: int
    retry: int
    parallel: bool
    threads: int
    partial: bool
    compress: bool
    epns: frozenset[str]
    listed: Path | None
    """The file of `--list`."""
    since: datetime | None
    until: datetime | None
    layout: str
    dry_run: bool
