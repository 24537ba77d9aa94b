"""Which engine moves an experiment, and why."""

from __future__ import annotations

from typing import Literal

from asynchy.model.transfer_options import TransferOptions


def choose(
    transfer_options: TransferOptions, *, offers_sftp: bool
) -> tuple[Literal["sftp", "rsync"], str]:
    """The engine, and the reason as text for people."""
    if transfer_options.engine != "auto":
        return transfer_options.engine, f"engine: {transfer_options.engine}"
    if (option := transfer_options.needs_rsync) is not None:
        return "rsync", f"{option} needs rsync"
    if not offers_sftp:
        return "rsync", "the server offers no SFTP"
    return "sftp", "the server offers SFTP"
