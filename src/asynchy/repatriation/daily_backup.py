"""The catalogue is backed up once a day, at the end of a cycle."""

from __future__ import annotations

import logging
from datetime import datetime

from asynchy.catalogue.backups import back_up, backups, remove_old
from asynchy.config import Settings
from asynchy.errors import CatalogueError
from asynchy.model.formatting import size

log = logging.getLogger(__name__)


def back_up_daily(settings: Settings, now: datetime) -> str | None:
    """Back up the catalogue unless that was done today; what went wrong, None: nothing."""
    path, keep = settings.catalogue_path, settings.backups
    today = now.astimezone().date()
    if not keep or any(one.made.astimezone().date() == today for one in backups(path)):
        return None
    try:
        made = back_up(path, now)
        remove_old(path, keep)
    except CatalogueError as error:
        problem = f"the catalogue was not backed up: {error}"
        log.error("%s (%s)", problem, error.hint)
        return problem
    except OSError as error:
        problem = f"an old backup of the catalogue was not removed: {error}"
        log.error("%s", problem)
        return problem
    log.info("the catalogue was backed up: %s, %s", made.path, size(made.path.stat().st_size))
    return None
