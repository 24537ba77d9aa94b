"""The web application: its paths, who may ask for them, and how errors are shown."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from asynchy.errors import ActionRefused, AsynchyError, ReceiptRefused
from asynchy.model.formatting import escaped
from asynchy.web import api, downloads, files, live, pages
from asynchy.web.gate import TooMany
from asynchy.web.queries import QueryRefused
from asynchy.web.rendering import static_file
from asynchy.web.site import NoStatesYet, PageNotFound, Site

log = logging.getLogger(__name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_STATIC = {
    "asynchy.css": "text/css; charset=utf-8",
    "asynchy.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_OPEN = ("/login", *(f"/static/{name}" for name in _STATIC))
"""What anybody may ask for."""
_PROGRAMS = ("/api/", "/metrics")
"""What programs ask for: they get a plain error, not a form."""

_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (TooMany, 429, ""),
    (PageNotFound, 404, ""),
    (QueryRefused, 400, "change the link"),
    (NoStatesYet, 503, "load the page again"),
    (ActionRefused, 403, ""),
    (ReceiptRefused, 409, ""),
    (AsynchyError, 503, ""),
)
"""The status of each kind of error, and what to do if the error itself does not say."""

Next = Callable[[Request], Awaitable[Response]]


class _Guard(BaseHTTPMiddleware):
    """Lets nobody in who is not known, and adds the headers that every answer has."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        try:
            response = await self._answer(request, call_next)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer has our headers
            response = await run_in_threadpool(_failed, request, error)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if not request.url.path.startswith("/static/"):
            response.headers.setdefault("cache-control", "no-store")
        return response

    async def _answer(self, request: Request, call_next: Next) -> Response:
        site = Site.of(request)
        if not site.gate.is_our_host(request):
            return Response("this server has another name\n", 421, media_type="text/plain")
        if request.url.path not in _OPEN:
            viewer = await run_in_threadpool(site.gate.viewer, request)
            if viewer is None:
                return _log_in_first(request)
            site.gate.check_rate(viewer)
            request.state.viewer = viewer
        return await call_next(request)


def application(site: Site) -> Starlette:
    """The application that serves a site."""
    get = ["GET"]
    post = ["POST"]
    app = Starlette(
        routes=[
            Route("/", pages.now, methods=get),
            Route("/experiments", pages.experiments, methods=get),
            Route("/experiments.csv", pages.experiments_csv, methods=get),
            Route("/experiments.json", pages.experiments_json, methods=get),
            Route("/experiments/{epn}", pages.experiment, methods=get),
            Route("/experiments/{beamline}/{epn}", pages.experiment, methods=get),
            Route("/experiments/{beamline}/{epn}/files", files.files_page, methods=get),
            Route("/experiments/{beamline}/{epn}/receipt", downloads.receipt, methods=get),
            Route("/history", pages.history_page, methods=get),
            Route("/facility", pages.facility, methods=get),
            Route("/health", pages.health, methods=get),
            Route("/live", live.live, methods=get),
            Route("/actions/{action}", pages.confirm, methods=get),
            Route("/actions/{action}", pages.act, methods=post),
            Route("/login", pages.login, methods=["GET", "POST"]),
            Route("/logout", pages.logout, methods=post),
            Route("/static/{name}", static, methods=get),
            *api.ROUTES,
        ],
        middleware=[Middleware(_Guard)],
        exception_handlers={HTTPException: _failed},
    )
    app.router.redirect_slashes = False
    app.state.site = site
    site.templates.globals |= {"experiment_link": pages.experiment_link, "version_of": version_of}
    return app


def static(request: Request) -> Response:
    """A style sheet or script of ours; its link changes with it."""
    name = request.path_params["name"]
    if name not in _STATIC:
        raise PageNotFound("there is no such file")
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(static_file(name), media_type=_STATIC[name], headers=headers)


def version_of(name: str) -> str:
    """What the link of a file ends with, so that a browser loads it again once it has changed."""
    return hashlib.sha256(static_file(name)).hexdigest()[:12]


def _log_in_first(request: Request) -> Response:
    if request.method != "GET" and not request.url.path.startswith(_PROGRAMS):
        page = Site.of(request).page(request, "login", back=_came_from(request), why="ended")
        page.status_code = 401
        return page
    if request.url.path.startswith(_PROGRAMS):
        return JSONResponse(
            {"error": "log in first: send a token as `Authorization: Bearer …`"}, 401,
            headers={"www-authenticate": 'Bearer realm="asynchy"'},
        )  # fmt: skip
    if request.url.path == "/live":
        return Response("log in first\n", 401)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(here)}" if here != "/" else "/login", 303)


def _came_from(request: Request) -> str:
    """The page of ours on which a form was sent; the browser names it."""
    page = urlsplit(request.headers.get("referer", ""))
    is_ours = page.netloc.lower() == request.headers.get("host", "").lower()
    return f"{page.path}?{page.query}".rstrip("?") if is_ours and page.path else "/"


def _failed(request: Request, error: Exception) -> Response:
    """What went wrong, as a page or as JSON."""
    status, text, hint = _told(error)
    headers = {}
    if isinstance(error, TooMany):
        headers["retry-after"] = str(error.seconds)
    if request.url.path.startswith(_PROGRAMS):
        return JSONResponse({"error": text, "hint": hint or None}, status, headers=headers)
    page = Site.of(request).page(request, "error", status=status, text=text, hint=hint)
    page.status_code = status
    page.headers.update(headers)
    return page


def _told(error: Exception) -> tuple[int, str, str]:
    """Status, text and hint of an error."""
    hint = getattr(error, "hint", None) or ""
    for kind, status, usual in _STATUS:
        if isinstance(error, kind):
            return status, str(error), hint or usual
    if isinstance(error, HTTPException):
        text = "There is no such page" if error.status_code == 404 else error.detail
        return error.status_code, text, ""
    log.error("an error that asynchy did not expect", exc_info=error)
    return (
        500,
        f"asynchy did not expect this: {escaped(type(error).__name__)}",
        "the log of `asynchy web` has the details; please report it",
    )
