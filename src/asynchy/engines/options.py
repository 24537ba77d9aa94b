"""How files are moved, by the config."""

from __future__ import annotations

from asynchy.config import Shared
from asynchy.localfs.process_limits import umask
from asynchy.model.file_modes import Modes
from asynchy.model.transfer_options import TransferOptions


def transfer_options_of(settings: Shared) -> TransferOptions:
    """The transfer options that the config asks for."""
    return TransferOptions(
        engine=settings.engine,
        compare=settings.compare,
        symlinks=settings.symlinks,
        special_files=settings.special_files,
        dot_files=settings.dot_files,
        cluster=settings.cluster,
        streams=settings.streams,
        bandwidth=settings.bandwidth_timetable,
        verify=settings.verify,
        manifest=settings.manifest,
        receipt=settings.receipt,
        modes=Modes(settings.modes, umask()),
    )
