"""New catalogues for tests that are not about how one is made, in SQLite or in PostgreSQL.

To make one takes 50 ms; here that is done once in a process.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

from asynchy.catalogue import Catalogue


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.db"
        Catalogue.open(path)
        return path.read_bytes()


in_postgres: Callable[[Path], Catalogue] | None = None
"""What makes catalogues instead, where tests are tried with another database."""


def new_catalogue(path: Path) -> Catalogue:
    """A catalogue that knows nothing, where there was no file before."""
    if in_postgres is not None:
        return in_postgres(path)
    with path.open("xb") as file:
        file.write(_empty())
    return Catalogue.open(path)
