"""The pages: HTML, made on the server, for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from asynchy.catalogue.state_snapshot import as_json
from asynchy.errors import ActionRefused
from asynchy.model.access import Action
from asynchy.model.copy_record import CopyRecord
from asynchy.model.epn import Epn
from asynchy.model.experiment_query import FILTERS, ExperimentOrder
from asynchy.model.experiment_summary import ExperimentSummary
from asynchy.model.formatting import duration
from asynchy.web import charts, history, queries
from asynchy.web.access import Viewer
from asynchy.web.actions import ActionRequest, perform
from asynchy.web.gate import form_of
from asynchy.web.site import PageNotFound, Site

_RENEW = 4.0
"""Seconds that an action waits for new states before the next page shows."""
_CONFIRMED = {Action.RELEASE, Action.TAKE_BACK, Action.REFETCH, Action.PAUSE}
"""Actions that have a page of their own, which says what follows."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def now(request: Request) -> Response:
    """What needs a person, what runs, what comes next."""
    site = Site.of(request)
    view = site.reader.now()
    return site.page(
        request, "now", view=view, live=view.live, plot=charts.hour(view.live),
        expected=view.states.facts["forecast"] if view.states else None,
        deadlines=history.deadlines(view.states),
    )  # fmt: skip


def experiments(request: Request) -> Response:
    """The list: searched, filtered, sorted, a page at a time."""
    site = Site.of(request)
    query = queries.query_of(request.query_params)
    states = site.states()
    found = states.snapshot.page(query)
    choices = {
        name: states.snapshot.counts(name) for name in FILTERS if name not in ("person", "cause")
    }
    return site.page(
        request, "experiments", query=query, found=found, choices=choices, states=states,
        link=lambda **changes: queries.link_of(query, **changes),
        without=lambda name: queries.without(query, name),
        sort=lambda name: queries.sorted_by(query, ExperimentOrder(name)),
    )  # fmt: skip


def experiments_csv(request: Request) -> Response:
    """All rows of a query, for spreadsheets."""
    rows = _csv(_rows(request))
    headers = {"content-disposition": 'attachment; filename="experiments.csv"'}
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)


def experiments_json(request: Request) -> Response:
    """All rows of a query, for programs."""
    return StreamingResponse(_json(_rows(request)), media_type="application/json")


def _rows(request: Request) -> Iterator[dict[str, Any]]:
    query = queries.query_of(request.query_params)
    return map(as_json, Site.of(request).states().snapshot.all(query))


def _csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    stream = io.StringIO()
    columns = [one.name for one in fields(ExperimentSummary)]
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    yield stream.getvalue()
    for row in rows:
        stream.seek(0)
        stream.truncate()
        writer.writerow({name: _inert(value) for name, value in row.items()})
        yield stream.getvalue()


def _inert(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    is_formula = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_formula else value


def _json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    before = "["
    for row in rows:
        yield f"{before}\n{json.dumps(row)}"
        before = ","
    yield "\n]\n" if before == "," else "[]\n"


def experiment(request: Request) -> Response:
    """One experiment: its state, why, what happened, its files."""
    site = Site.of(request)
    epn, beamline = _named(request)
    if epn is None:
        raise PageNotFound("that is not an EPN (digits and a letter, such as 12282a)")
    states = site.states()
    if beamline is None:
        found = states.snapshot.of_epn(epn.text)
        if not found:
            raise PageNotFound(f"no experiment {epn} is known")
        return RedirectResponse(experiment_link(found[0].epn, found[0].beamline), 303)
    view = site.reader.experiment(epn.text, beamline)
    if view is None:
        raise PageNotFound(f"no experiment {epn} is known on that beamline")
    return site.page(
        request, "experiment", view=view, one=view.summary, rates=charts.attempt_rates(view)
    )


def experiment_link(epn: str, beamline: str) -> str:
    """The link of an experiment's page."""
    return f"/experiments/{quote(beamline, safe='') or '-'}/{quote(epn, safe='')}"


def _named(request: Request) -> tuple[Epn | None, str | None]:
    beamline = request.path_params.get("beamline")
    return Epn.parse(request.path_params["epn"]), "" if beamline == "-" else beamline


def history_page(request: Request) -> Response:
    """What came home by day, week and month; by project and beamline; when the rest does."""
    site = Site.of(request)
    states = site.states()
    step = request.query_params.get("by", "day")
    if step not in history.STEPS:
        raise queries.QueryRefused(f"by: accepted is one of {', '.join(history.STEPS)}")
    spans = history.spans(states.facts["days"], step, datetime.now(UTC).astimezone().date())
    expected = states.facts["forecast"]
    return site.page(
        request, "history", step=step, steps=history.STEPS, spans=spans,
        plots=charts.spans(spans, step), backlog=charts.backlog(expected, states.at),
        expected=expected, states_at=states.at,
        projects=states.snapshot.totals("project"), beamlines=states.snapshot.totals("beamline"),
    )  # fmt: skip


def facility(request: Request) -> Response:
    """When portal and SFTP service were last asked, and what they have."""
    site = Site.of(request)
    return site.page(
        request, "facility", settings=site.reader.settings, states=site.reader.keeper.first(5),
        known=site.reader.catalogue.web.facility(), now=datetime.now(UTC),
        gone_soon=history.deadlines(site.reader.keeper.first(5)),
    )  # fmt: skip


def health(request: Request) -> Response:
    """Services, hosts, the catalogue, the last errors, the audit trail."""
    site = Site.of(request)
    live, states = site.reader.live(), site.reader.keeper.first(5)
    catalogue = site.reader.catalogue
    path, since = catalogue.address, datetime.now(UTC) - timedelta(days=28)
    errors = states.facts["errors"] if states else []
    # To find that none of very many attempts failed takes long, and is known already.
    failed = catalogue.web.latest_attempts(15, failed_since=since) if errors or not states else []
    return site.page(
        request, "health", live=live, states=states, catalogue_path=path, keeper=site.reader.keeper,
        found_problems=list(site.reader.problems(live, states)),
        failed=failed,
        actions=catalogue.web_access.actions(30), doctor=catalogue.health.doctor(),
        errors=errors, hosts=site.hosts(),
        catalogue_bytes=catalogue.size() or None,
        took=duration(states.facts["seconds"]) if states else "",
    )  # fmt: skip


def confirm(request: Request) -> Response:
    """What an action does, before it is done."""
    site = Site.of(request)
    action = _action(request)
    if action not in _CONFIRMED:
        raise PageNotFound("there is no such action")
    site.require_operator(request)
    asked = ActionRequest.of(action, request.query_params)
    copies: tuple[CopyRecord, ...] = ()
    if asked.epn:
        view = site.reader.experiment(asked.epn, asked.beamline)
        copies = view.copies if view else ()
    return site.page(request, "confirm", action=action, asked=asked, copies=copies)


async def act(request: Request) -> Response:
    """Do what an operator asked for, then show the page it was asked on."""
    site = Site.of(request)
    viewer: Viewer = request.state.viewer
    form = await form_of(request)
    site.gate.check_form(request, viewer, form)
    back = form.get("back", "/")
    if not _is_here(back):  # before anything is done
        raise ActionRefused(
            "the form names a page of another site: nothing was done", hint="load the page again"
        )
    asked = ActionRequest.of(_action(request), form)
    reader = site.reader

    def done() -> tuple[str, ...]:
        said = perform(asked, viewer, reader.config, reader.settings)
        reader.keeper.renew(_RENEW)
        return said

    said = await run_in_threadpool(done)
    response = RedirectResponse(back, 303)
    site.tell(response, said)
    return response


def _is_here(link: str) -> bool:
    """Whether a link leads to a page of this site, as browsers read it."""
    return link.startswith("/") and not link.startswith(("//", "/\\"))


def _action(request: Request) -> Action:
    name = request.path_params["action"].replace("-", " ")
    try:
        return Action(name)
    except ValueError:
        raise PageNotFound("there is no such action") from None


async def login(request: Request) -> Response:
    """The form for a token, and what happens when it is sent."""
    site = Site.of(request)
    back = request.query_params.get("next", "/")
    if request.method == "GET":
        return await run_in_threadpool(site.page, request, "login", back=back, why="")
    form = await form_of(request)
    site.check_login_form(request)
    back = form.get("next", "/")
    if not _is_here(back):
        back = "/"
    cookie = await run_in_threadpool(site.gate.begin_session, request, form.get("token", ""))
    if cookie is None:
        page = await run_in_threadpool(site.page, request, "login", back=back, why="wrong")
        page.status_code = 403
        return page
    response = RedirectResponse(back, 303)
    site.gate.set_cookie(response, cookie)
    return response


async def logout(request: Request) -> Response:
    """End the session in this browser."""
    site = Site.of(request)
    form = await form_of(request)
    site.gate.check_form(request, request.state.viewer, form)
    response = RedirectResponse("/login", 303)
    site.gate.end_session(response)
    return response
