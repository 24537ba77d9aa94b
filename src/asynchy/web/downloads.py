"""The receipt of a copy, as a file for people and programs."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from asynchy.errors import ReceiptRefused
from asynchy.model.epn import Epn
from asynchy.web.background import WorkFailed, run_apart
from asynchy.web.site import PageNotFound, Site

_AT_A_TIME = CapacityLimiter(2)
"""Receipts that are made at a time; each looks at every file of a copy. Others wait."""


async def receipt(request: Request) -> Response:
    """A zip file of a copy's receipt: the one that is beside the copy, or made now."""
    work = partial(_made, Site.of(request), request)
    return await to_thread.run_sync(work, limiter=_AT_A_TIME)


def _made(site: Site, request: Request) -> Response:
    epn, beamline = Epn.parse(request.path_params["epn"]), request.path_params["beamline"]
    beamline = "" if beamline == "-" else beamline
    found = site.states().snapshot.of_epn(epn.text) if epn else []
    if epn is None or beamline not in (one.beamline for one in found):
        raise PageNotFound("no such experiment is known")
    folder = Path(tempfile.mkdtemp(prefix="asynchy-receipt-"))
    path = folder / "receipt.zip"
    place = request.query_params.get("place", "")
    try:
        run_apart("receipt", str(site.reader.config), epn.text, beamline, place, str(path))
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, WorkFailed):
            raise ReceiptRefused(error.message, hint=error.hint) from None
        raise
    return FileResponse(
        path,
        media_type="application/zip",
        filename=f"{epn.text}-receipt.zip",
        headers={"cache-control": "no-store"},
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )
