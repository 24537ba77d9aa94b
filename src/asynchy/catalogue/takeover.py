"""An original's database, named as the catalogue, becomes one; it is kept beside it."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from zoneinfo import ZoneInfo

from asynchy.catalogue.filesystem import settle
from asynchy.catalogue.importing import check_original, import_file, is_original
from asynchy.domain.experiment import TIMEZONE
from asynchy.domain.text import count
from asynchy.errors import CatalogueError, ImportRefused

log = logging.getLogger(__name__)


def take_over(path: Path) -> None:
    """Make a catalogue of an original's database, where `path` is one; otherwise do nothing.

    At any instant there is the original's database or the catalogue, each whole. The original's is
    kept as `<name>.original`.

    Raises:
        CatalogueError: it cannot be read, or nothing can be written beside it.
    """
    if not is_original(path):
        return
    kept = _free_name(path)
    made = path.with_name(f".{path.name}.new")
    done = False
    try:
        check_original(path)
        _copy(path, kept)
        for leftover in path.parent.glob(f"{made.name}*"):
            leftover.unlink()
        taken = import_file(made, kept, timezone=ZoneInfo(TIMEZONE), root="/data")
        settle(made)
        made.replace(path)
        done = True
        settle(path.parent)
    except (OSError, sqlite3.Error, ImportRefused) as error:
        raise CatalogueError(
            f"{path} is a database of the original asynchy and cannot be taken over: {error}",
            hint="it was not changed; `asynchy catalogue import` takes it into another catalogue",
        ) from None
    finally:
        if not done:  # else every command that is tried would leave one more copy
            for leftover in (kept, *path.parent.glob(f"{made.name}*")):
                leftover.unlink(missing_ok=True)
    log.warning(
        "%s was a database of the original asynchy: %s and %s were taken over, %d rows could not "
        "be understood; it is kept as %s",
        path, count(taken.files, "file"), count(taken.epns, "EPN"), taken.odd, kept,
    )  # fmt: skip


def _free_name(path: Path) -> Path:
    kept = path.with_name(f"{path.name}.original")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.original-{number}")
    return kept


def _copy(path: Path, kept: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(kept)) as target,
    ):
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nothing stays in a file beside it
        source.backup(target)
    settle(kept)
