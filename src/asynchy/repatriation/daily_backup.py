"""The catalogue is backed up once a day, at the end of a cycle."""

from __future__ import annotations

import logging
from datetime import datetime

from asynchy.catalogue.backups import back_up, backups, remove_old
from asynchy.config import Settings
from asynchy.errors import CatalogueError
from asynchy.model.catalogue_address import PostgresAddress
from asynchy.model.formatting import size

log = logging.getLogger(__name__)


def back_up_daily(settings: Settings, now: datetime) -> str | None:
    """Back up the catalogue, once a day; returns the problem, None if there was none."""
    path, days_to_keep = settings.catalogue_address, settings.backups
    if isinstance(path, PostgresAddress):  # whoever runs the server backs it up
        return None
    today = now.astimezone().date()
    if not days_to_keep or any(
        backup.made.astimezone().date() == today for backup in backups(path)
    ):
        return None
    try:
        new_backup = back_up(path, now)
        for kept in remove_old(path, days_to_keep):
            log.info("%s is kept: it knows more complete copies than the newest", kept.path)
    except CatalogueError as error:
        problem = f"the catalogue was not backed up: {error}"
        log.error("%s (%s)", problem, error.hint)
        return problem
    except OSError as error:
        problem = f"an old backup of the catalogue was not removed: {error}"
        log.error("%s", problem)
        return problem
    log.info(
        "the catalogue was backed up: %s, %s", new_backup.path, size(new_backup.path.stat().st_size)
    )
    return None
