"""`/api/v1`: what the pages show, as JSON for programs, by the same functions."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asynchy.catalogue.state_snapshot import as_json
from asynchy.model.epn import Epn
from asynchy.model.experiment_query import FILTERS, MAX_PAGE_ROWS, ExperimentOrder
from asynchy.model.experiment_summary import ExperimentSummary
from asynchy.model.formatting import escaped
from asynchy.web import downloads, history, queries
from asynchy.web.files import folder_view
from asynchy.web.metrics import CONTENT_TYPE, metrics_text
from asynchy.web.site import PageNotFound, Site

_TYPES = {
    "str": {"type": ["string", "null"]},
    "int": {"type": "integer"},
    "int | None": {"type": ["integer", "null"]},
    "bool": {"type": "boolean"},
    "datetime | None": {"type": ["string", "null"], "format": "date-time"},
}


def experiments(request: Request) -> Response:
    """A page of the list, with links to the pages beside it."""
    query = queries.query_of(request.query_params)
    states = Site.of(request).states()
    found = states.snapshot.page(query)
    if query.page > found.pages:  # a program would read the last page for ever
        raise PageNotFound(f"there is no page {query.page}; the last one is {found.pages}")

    def link(page: int) -> str:
        return f"{request.url.path}?{queries.link_of(query, page=page)}"

    return _json(request, {
        "states_at": states.at,
        "total": found.total,
        "page": found.page,
        "pages": found.pages,
        "next": link(found.page + 1) if found.page < found.pages else None,
        "previous": link(found.page - 1) if found.page > 1 else None,
        "experiments": [as_json(row) for row in found.rows],
    })  # fmt: skip


def experiment(request: Request) -> Response:
    """All that is known of one experiment."""
    site = Site.of(request)
    site.states()
    epn = Epn.parse(request.path_params["epn"])
    beamline = request.path_params["beamline"]
    view = site.reader.experiment(epn.text, "" if beamline == "-" else beamline) if epn else None
    if view is None:
        raise PageNotFound("no such experiment is known")
    return _json(request, {
        "states_at": view.states.at,
        "experiment": as_json(view.summary),
        "visits": view.visits,
        "attempts": [{"destination": place, **asdict(one)} for place, one in view.attempts],
        "checks": [{"destination": place, **asdict(one)} for place, one in view.checks],
        "events": [{"at": one.at, "what": one.kind, "detail": one.detail} for one in view.events],
        "actions": view.actions,
        "running": view.running,
        "folders": view.files.folders if view.files else None,
        "damaged": [{"path": p, "damage": d, "checked": at} for p, d, at in view.files.damaged]
                   if view.files else None,
    })  # fmt: skip


def files(request: Request) -> Response:
    """A page of what is in a folder of an experiment."""
    view = folder_view(request)

    def link(query: str) -> str:
        return f"{request.url.path}?{query}"

    return _json(request, {
        "folder": view.folder,
        "next": link(view.next) if view.next else None,
        "folders": [{"name": one.name, "link": link(to)} for one, to in view.entries if to],
        "files": [{"name": one.name, "bytes": one.size, "modified": one.modified,
                   "at_home": one.is_held if view.has_copy else None, "level": one.level}
                  for one, to in view.entries if not to],
    })  # fmt: skip


def status(request: Request) -> Response:
    """What needs a person, what runs, and why not all may be known."""
    view = Site.of(request).reader.now()
    facts = view.states.facts if view.states else None
    found = history.deadlines(view.states)
    return _json(request, {
        "states_at": view.states.at if view.states else None,
        "problems": view.problems,
        "needs_person": view.number_urgent,
        "causes": view.causes,
        "experiments": view.counts,
        "at_risk": {one.name: {"experiments": one.experiments, "bytes": one.bytes,
                               "of_unknown_size": one.unknown}
                    for one in found.bands} if found else None,
        "service": view.live.service,
        "complete_cycle": view.live.complete_cycle,
        "connections": view.live.connections,
        "paused": view.live.pause,
        "running": view.live.running,
        "bytes_last_hour": view.live.hour_bytes,
        "forecast": facts["forecast"] if facts else None,
    })  # fmt: skip


def days(request: Request) -> Response:
    """What came home on each day."""
    states = Site.of(request).states()
    return _json(request, {"states_at": states.at, "days": states.facts["days"]})


def openapi(request: Request) -> Response:
    """This API, described."""
    row = {one.name: _TYPES[str(one.type)] for one in fields(ExperimentSummary)}
    orders = [one.value for one in ExperimentOrder]
    asked = [("q", "string", "Part of an EPN, title, name or project.")]
    asked += [(name, "string", "Only those with this value; `-`: not known.") for name in FILTERS]
    asked += [
        ("needs", "string", "`person`: only those that need a person."),
        ("at", "string", "`risk`: only those that the facility may delete before they are safe."),
        ("sort", "string", f"One of {', '.join(orders)}; `-` before it: the reverse."),
        ("page", "integer", "From 1 on."),
        ("per_page", "integer", f"At most {MAX_PAGE_ROWS}."),
    ]
    named = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
             for name in ("beamline", "epn")]  # fmt: skip
    return _json(request, {
        "openapi": "3.1.0",
        "info": {"title": "asynchy", "version": "1",
                 "description": "Sizes are bytes, times ISO 8601, durations seconds. Rates are "
                                "bytes a second. Names are escaped: they may hold any byte."},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Experiment": {"type": "object", "properties": row}},
        },
        "security": [{"token": []}],
        "paths": {
            "/api/v1/status": _get("What needs a person, what runs, what is at risk."),
            "/api/v1/experiments": _get(
                "A page of the list of experiments.",
                [{"name": name, "in": "query", "schema": {"type": kind}, "description": text}
                 for name, kind, text in asked],
            ),
            "/api/v1/experiments/{beamline}/{epn}": _get(
                "One experiment; `-` as beamline: not known.", named
            ),
            "/api/v1/experiments/{beamline}/{epn}/files": _get(
                "A page of what is in a folder; follow `link` and `next`.", named
            ),
            "/api/v1/experiments/{beamline}/{epn}/receipt": _get(
                "The receipt of its copy, a zip file: a manifest (BagIt) and an RO-Crate. "
                "409: none can be made; the error says why.",
                [*named, {"name": "place", "in": "query", "schema": {"type": "string"},
                          "description": "The destination of the copy, if there are several."}],
            ),
            "/api/v1/history": _get("What attempts came to on each day."),
        },
    })  # fmt: skip


def metrics(request: Request) -> Response:
    """The figures for Prometheus."""
    reader = Site.of(request).reader
    body = metrics_text(reader.live(), reader.keeper.first(5), reader.catalogue.health.doctor())
    return Response(body, media_type=CONTENT_TYPE)


def _get(summary: str, parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    answers = {"200": {"description": "found"}, "304": {"description": "not changed (ETag)"},
               "401": {"description": "no token that counts"}}  # fmt: skip
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": answers}}


def _json(request: Request, found: Mapping[str, Any]) -> Response:
    """An answer with an ETag; 304 if the program has it already."""
    body = json.dumps(_plain(found), ensure_ascii=False).encode("utf-8", "backslashreplace")
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    known = request.headers.get("if-none-match", "")
    if tag in (one.strip().removeprefix("W/") for one in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case Epn():
            return value.text
        case datetime():
            return value.isoformat()
        case Path() | bytes():
            return escaped(os.fsencode(value))
        case Enum():
            return value.value if isinstance(value.value, str) else value.name.lower()
    return _members(value)


def _members(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


ROUTES = (
    Route("/api/v1/status", status, methods=["GET"]),
    Route("/api/v1/experiments", experiments, methods=["GET"]),
    Route("/api/v1/experiments/{beamline}/{epn}", experiment, methods=["GET"]),
    Route("/api/v1/experiments/{beamline}/{epn}/files", files, methods=["GET"]),
    Route("/api/v1/experiments/{beamline}/{epn}/receipt", downloads.receipt, methods=["GET"]),
    Route("/api/v1/history", days, methods=["GET"]),
    Route("/api/v1/openapi.json", openapi, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
)
