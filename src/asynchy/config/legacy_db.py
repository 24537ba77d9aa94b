"""Where the database is that an original's config names, such as `db: ./files.db`."""

from __future__ import annotations

from pathlib import Path


def find_legacy_db(written: str, folder: Path) -> tuple[Path, str | None]:
    """The database that a relative `db` names, and a warning if there are two.

    The original asynchy opened it in the folder in which it was started; `folder` is that of the
    config. A file of 0 bytes does not count: the original leaves one in each folder in which it was
    started without its database.

    Raises:
        ValueError: there is none; the message says where was looked.
    """
    places = _places(folder)
    found = [path for path in (place / written for place in places) if _has_content(path)]
    if not found:
        looked = ", and not in ".join(map(str, places))
        raise ValueError(
            f"{written} is not in {looked}; write the full path of the database, also of a new one"
        )
    warning = None
    if len(found) > 1:
        warning = f"{found[0]}, in the working folder, is used, and not {found[1]}"
    return found[0], warning


def _places(folder: Path) -> list[Path]:
    """The working folder, if there is one, and that of the config; each once."""
    try:
        return list(dict.fromkeys([Path.cwd(), folder]))
    except FileNotFoundError:  # it was removed
        return [folder]


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
