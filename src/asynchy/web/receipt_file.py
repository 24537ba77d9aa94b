"""Writes the receipt of a copy as one file, for a browser; in a process of its own."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from asynchy.config import load
from asynchy.model.cancellation import Stop
from asynchy.receipts.bag import opened_receipt
from asynchy.runtime.context import run_context
from asynchy.runtime.progress import ProgressBoard
from asynchy.verification.receipt import current_receipt


def write_receipt_file(config: str, epn: str, beamline: str, place: str, target: str) -> None:
    """Write a zip file of the receipt of a copy; nothing else is changed, also beside the copy.

    `place` is the destination of the copy, where the experiment has several; empty: it has one.

    Raises:
        ReceiptRefused: there is none beside the copy, and none can be made.
        NothingKnown: the catalogue does not know the EPN.
        CatalogueError: the catalogue cannot be read.
        OSError: the file cannot be written.
    """
    zip_file, folder = Path(target), Path(target).with_suffix("")
    settings = load(Path(config)).settings
    context = run_context(settings, Stop(), ProgressBoard(), write=False)
    copy, made = current_receipt(context, epn, beamline, Path(place) if place else None, folder)
    try:
        with (
            opened_receipt(made, copy) as files,
            zipfile.ZipFile(zip_file, "x", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name, stream in files.items():
                member = zipfile.ZipInfo.from_file(made / name, f"{epn}-receipt/{name}")
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=True) as inside:
                    shutil.copyfileobj(stream, inside, 1 << 20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
