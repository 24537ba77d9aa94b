"""The SHA-256 of every file of a copy, computed at home once the copy is complete."""

from __future__ import annotations

import logging
import time

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.errors import AsynchyError, Stopped
from asynchy.localfs.file_hasher import HashResult, Reader, Throttle, threads
from asynchy.model.experiment import Copy
from asynchy.model.formatting import count, duration, escaped, size
from asynchy.model.verification import CopyFile
from asynchy.runtime.context import RunContext
from asynchy.runtime.read_progress import ReadProgress

log = logging.getLogger(__name__)

_STORE_BATCH = 1000
"""Digests that are stored at a time."""


def store_checksums(context: RunContext, copy: Copy, copy_files: CopyFiles) -> None:
    """Compute the digests that are not known yet; problems are logged, and are not a failure.

    A file may be read from the page cache: these are the bytes that arrived, so that a later audit
    finds damage by the disks.
    """
    began = time.monotonic()
    selection = copy_files.undigested()
    try:
        amount = selection.amount()
        if not amount[0]:
            return
        progress = ReadProgress(context.board, copy, amount, "reading")
        reader = Reader(
            copy, context.stop, threads(), Throttle(None), cold=False,
            on_bytes=progress.add,
        )  # fmt: skip
        batch: list[tuple[CopyFile, bytes]] = []
        for result in reader.read(selection):
            progress.add(0, 1)
            if (digest := digest_of(result)) is None:
                log.warning(
                    "%s: no digest of %s: %s",
                    copy.epn,
                    escaped(result.file.path),
                    checksum_failure(result),
                )
                continue
            batch.append((result.file, digest))
            if len(batch) >= _STORE_BATCH:
                copy_files.digest(batch)
                batch = []
        copy_files.digest(batch)
    except Stopped:
        log.info(
            "%s: stopped while it was read; the next audit computes the missing checksums", copy.epn
        )
    except (AsynchyError, OSError) as error:
        log.warning("%s: its files could not be read for the manifest: %s", copy.epn, error)
    else:
        log.info(
            "%s: SHA-256 of %s, %s in %s",
            copy.epn, count(amount[0], "file"), size(amount[1]),
            duration(time.monotonic() - began),
        )  # fmt: skip


def digest_of(result: HashResult) -> bytes | None:
    """The digest, where it is of the file that was found complete: that has its size and time.

    Or the time that it has had at home since, where that holds no times.
    """
    is_same = result.modified is not None and result.file.recorded.has_time(result.modified)
    return result.sha256 if is_same else None


def checksum_failure(result: HashResult) -> str:
    """Why a digest could not be computed, as text for people."""
    if result.problem is not None:
        return result.problem
    if result.damage is not None:
        return result.damage.value
    return "another time than it had"
