"""What all pages have in common: who looks, templates, and messages after an action."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from asynchy.errors import ActionRefused
from asynchy.web.gate import Gate
from asynchy.web.hosts import HostsReader
from asynchy.web.reads import DashboardReader
from asynchy.web.snapshot import StateView

_SAID = "asynchy-said"
_LONGEST_SAID = 600
_SOON = "they are being derived, which takes some seconds"
PAGES = (
    ("/", "Now"),
    ("/experiments", "Experiments"),
    ("/history", "History"),
    ("/facility", "Facility"),
    ("/health", "Health"),
)


class PageNotFound(Exception):
    """There is no such page, or experiment; the text says what is not there."""


class NoStatesYet(Exception):
    """The states of experiments are not known yet; the text says why."""


@dataclass
class Site:
    """What endpoints work with."""

    reader: DashboardReader
    gate: Gate
    templates: Environment
    _hosts: HostsReader | None = field(default=None, init=False)

    @classmethod
    def of(cls, request: Request) -> Site:
        """Of the server that a request came to."""
        site: Site = request.app.state.site
        return site

    def states(self) -> StateView:
        """The newest states.

        Raises:
            NoStatesYet: there are none.
        """
        found = self.reader.keeper.first(10)
        if found is None:
            why = self.reader.keeper.problem or _SOON
            raise NoStatesYet(f"no states of experiments are known yet: {why}")
        return found

    def hosts(self) -> HostsReader | None:
        """Who asks the Dask scheduler of the config; None: there is no cluster."""
        address = self.reader.settings.cluster
        if self._hosts is None or self._hosts.address != address:
            self._hosts = None if address is None else HostsReader(address)
        return self._hosts

    def page(self, request: Request, name: str, **context: Any) -> HTMLResponse:
        """A page from a template."""
        said = _said(request.cookies.get(_SAID, ""))
        text = self.templates.get_template(f"{name}.html.j2").render(
            viewer=getattr(request.state, "viewer", None),
            pages=PAGES,
            path=request.url.path,
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            said=said,
            quote=lambda text: quote(os.fsencode(text), safe=""),
            **context,
        )
        response = HTMLResponse(text)
        if said:
            response.delete_cookie(_SAID, path="/")
        return response

    def tell(self, response: Response, said: tuple[str, ...]) -> None:
        """Have the next page show what an action said."""
        cut = json.dumps([text[:_LONGEST_SAID] for text in said])
        text = base64.urlsafe_b64encode(cut.encode()).decode()
        response.set_cookie(
            _SAID, text, max_age=60, httponly=True, samesite="lax", secure=self.gate.is_secure
        )

    def require_operator(self, request: Request) -> None:
        """Refuse somebody who may only look.

        Raises:
            ActionRefused: the viewer is no operator.
        """
        if not request.state.viewer.may_act:
            raise ActionRefused(
                "a reader may look, and not act",
                hint="an operator's token, or a name in `web: operators` of the config, may act",
            )

    def check_login_form(self, request: Request) -> None:
        """Refuse a log-in that another site sends.

        Raises:
            ActionRefused: the browser says that it does.
        """
        if not self.gate.is_same_site(request):
            raise ActionRefused(
                "the form was sent by another site: nothing was done",
                hint="open the page by its address, and log in there",
            )


def _said(cookie: str) -> list[str]:
    """What an action said; the cookie is as trustworthy as the browser, and shown as text."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cookie)) if cookie else []
    except ValueError:
        return []
    return [str(text) for text in found] if isinstance(found, list) else []
