"""A folder of an experiment: its files, and whether each is at home."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response

from asynchy.catalogue.file_reads import FolderEntry
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.formatting import escaped
from asynchy.web.queries import QueryRefused
from asynchy.web.site import PageNotFound, Site

_PER_PAGE = 200
_LONGEST = 8192
"""Bytes of a path in a link; Linux has none of more than 4,096."""


@dataclass(frozen=True)
class FolderView:
    """Some of what is in a folder, and the links from it."""

    experiment: Experiment
    folder: str
    """Its path, for people; empty: that of the experiment."""
    above: tuple[tuple[str, str], ...]
    """Names and links of the folders that it is in, the experiment's first."""
    entries: tuple[tuple[FolderEntry, str], ...]
    """With the link of each folder; empty: it is a file."""
    next: str | None
    """The link of the next page; None: there is none."""
    has_copy: bool
    """Whether there is a copy of which it is known what it has."""


def folder_view(request: Request) -> FolderView:
    """What the link of a request asks for.

    Raises:
        PageNotFound: there is no such experiment, or nothing in that folder.
        QueryRefused: the path is too long.
        CatalogueError: the catalogue cannot be read.
    """
    site = Site.of(request)
    epn, beamline = Epn.parse(request.path_params["epn"]), request.path_params["beamline"]
    experiment = Experiment("" if beamline == "-" else beamline, epn) if epn else None
    rows = site.states().snapshot.of_epn(epn.text) if epn else []
    if experiment is None or experiment.beamline not in (one.beamline for one in rows):
        raise PageNotFound("no such experiment is known")
    folder, start = _bytes(request, b"in"), _bytes(request, b"from")
    folder = folder and folder.rstrip(b"/") + b"/"
    catalogue = site.reader.catalogue
    copies = [
        one.id
        for one in catalogue.overview.copies([experiment.epn.text])
        if one.copy.experiment == experiment and one.completed is not None
    ]
    copy_id = next(iter(copies), None)
    page = catalogue.files.page(experiment, copy_id, folder, start, _PER_PAGE)
    if not page.entries and folder:
        raise PageNotFound("no file in that folder is known")
    parts = [one for one in folder.split(b"/") if one]
    above = [b"/".join(parts[:number]) for number in range(len(parts))]
    return FolderView(
        experiment=experiment,
        folder=escaped(folder),
        above=tuple((escaped(one.rpartition(b"/")[2]), _link(one)) for one in above),
        entries=tuple(
            (one, _link(folder + one.name) if one.is_folder else "") for one in page.entries
        ),
        next=None if page.next is None else _link(folder, page.next),
        has_copy=copy_id is not None,
    )


def files_page(request: Request) -> Response:
    """A folder, for people."""
    view = folder_view(request)
    return Site.of(request).page(request, "files", view=view, one=view.experiment)


def _link(folder: bytes, start: bytes = b"") -> str:
    """The part of a link after the `?`; paths may hold any byte."""
    named = f"in={quote(folder.rstrip(b'/'), safe='/')}"
    return f"{named}&from={quote(start, safe='/')}" if start else named


def _bytes(request: Request, name: bytes) -> bytes:
    query: bytes = request.scope["query_string"]
    for part in query.split(b"&"):
        found, _, value = part.partition(b"=")
        if found == name:
            if len(value) > _LONGEST:
                raise QueryRefused(f"{os.fsdecode(name)}: accepted are {_LONGEST} bytes")
            return unquote_to_bytes(value.replace(b"+", b" "))
    return b""
