"""New catalogues for tests that are not about how one is made.

To make one takes 50 ms; here that is done once in a process.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from asynchy.catalogue import Catalogue


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.db"
        Catalogue.open(path)
        return path.read_bytes()


def new_catalogue(path: Path) -> Catalogue:
    """A catalogue that knows nothing, where there was no file before."""
    with path.open("xb") as file:
        file.write(_empty())
    return Catalogue.open(path)
