"""The SHA-256 of every file of a copy, computed at home once the copy is complete."""

from __future__ import annotations

import logging
import time

from asynchy.catalogue.held import Holdings
from asynchy.domain.experiment import Copy
from asynchy.domain.level import Held
from asynchy.domain.text import count, duration, shown, size
from asynchy.errors import AsynchyError, Stopped
from asynchy.service.progress import Progress
from asynchy.service.site import Site
from asynchy.verify.reading import Found, Reader, Throttle, threads

log = logging.getLogger(__name__)

_STORED = 1000
"""Digests that are stored at a time."""


def make_manifest(site: Site, copy: Copy, holdings: Holdings) -> None:
    """Compute the digests that are not known yet; what goes wrong is told, and is no failure.

    What memory still holds of a file may be read: these are the bytes that arrived, so that a later
    audit finds what the disks made of them.
    """
    began = time.monotonic()
    selection = holdings.undigested()
    try:
        amount = selection.amount()
        if not amount[0]:
            return
        progress = Progress(site.board, copy, amount, "reading")
        reader = Reader(
            copy, site.stop, threads(), Throttle(None), cold=False,
            on_bytes=progress.add,
        )  # fmt: skip
        lot: list[tuple[Held, bytes]] = []
        for found in reader.read(selection):
            progress.add(0, 1)
            if (digest := digest_of(found)) is None:
                log.warning("%s: no digest of %s: %s", copy.epn, shown(found.file.path), why(found))
                continue
            lot.append((found.file, digest))
            if len(lot) >= _STORED:
                holdings.digest(lot)
                lot = []
        holdings.digest(lot)
    except Stopped:
        log.info("%s: stopped while it was read; an audit makes the digests that miss", copy.epn)
    except (AsynchyError, OSError) as error:
        log.warning("%s: its files could not be read for the manifest: %s", copy.epn, error)
    else:
        log.info(
            "%s: SHA-256 of %s, %s in %s",
            copy.epn, count(amount[0], "file"), size(amount[1]),
            duration(time.monotonic() - began),
        )  # fmt: skip


def digest_of(found: Found) -> bytes | None:
    """The digest, where it is of the file that was found complete: that has its size and time."""
    return found.sha256 if found.modified == found.file.modified else None


def why(found: Found) -> str:
    """Why there is no such digest, in words."""
    if found.problem is not None:
        return found.problem
    if found.damage is not None:
        return found.damage.value
    return "another time than it had"
