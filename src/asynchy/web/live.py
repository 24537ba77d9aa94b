"""Server-sent events: what goes on right now, read once for everybody who looks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from asynchy.errors import CatalogueError
from asynchy.web import charts
from asynchy.web.site import Site

_EVERY = 2.0
"""Seconds between two looks."""
_LINK_EVERY = 10.0
"""Seconds between two drawings of the last hour: they are larger than all else."""
_MOST = 500
"""Pages that are kept up to date at a time."""


@dataclass(frozen=True)
class _News:
    """What the page Now shows of what goes on."""

    parts: Mapping[str, str] = field(default_factory=dict)
    """By name the parts of the page that are kept up to date, as HTML."""
    states: str = ""
    """Of when the newest states are."""
    problem: str = ""
    """Why it is not known what goes on."""

    def since(self, sent: _News) -> dict[str, object]:
        """What a page has to be told that was told the other; empty: nothing."""
        changed = {name: one for name, one in self.parts.items() if one != sent.parts.get(name)}
        if not changed and (self.states, self.problem) == (sent.states, sent.problem):
            return {}
        return {"parts": changed, "states": self.states, "problem": self.problem}


class LiveFeed:
    """Reads while somebody listens, and hands out what has changed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._news = _News()
        self._link_at = 0.0
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether no more can listen."""
        return self._listeners >= _MOST

    async def events(self, who_counts: AsyncIterator[bool]) -> AsyncIterator[str]:
        """An event for each change, and a comment now and then, while the viewer counts."""
        self._listeners += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
        sent = _News()
        try:
            yield "retry: 3000\n\n"
            async for counts in who_counts:
                if not counts or self.ended.is_set():
                    return
                news, sent = self._news.since(sent), self._news
                yield f"data: {json.dumps(news)}\n\n" if news else ": nothing new\n\n"
        finally:
            self._listeners -= 1

    async def _read(self) -> None:
        while self._listeners and not self.ended.is_set():
            self._news = await run_in_threadpool(self._rendered)
            await asyncio.sleep(_EVERY)

    def _rendered(self) -> _News:
        try:
            live = self._site.reader.live()
        except CatalogueError as error:
            return replace(self._news, problem=error.message)
        template = self._site.templates.get_template("_running.html.j2")
        parts = {"running": template.render(live=live), "link": self._news.parts.get("link", "")}
        if not parts["link"] or time.monotonic() - self._link_at > _LINK_EVERY:
            self._link_at = time.monotonic()
            template = self._site.templates.get_template("_link.html.j2")
            parts["link"] = template.render(plot=charts.hour(live))
        states = self._site.reader.keeper.current()
        return _News(parts, states.at.isoformat() if states else "")


def live(request: Request) -> Response:
    """The events of the page Now."""
    feed: LiveFeed = request.app.state.feed
    site = Site.of(request)
    if feed.is_full:
        return Response("too many pages are open", 503)

    async def who_counts() -> AsyncIterator[bool]:
        """Whether the viewer may still look: a session ends, a token is revoked."""
        yield True
        while True:
            await asyncio.sleep(_EVERY)
            yield await run_in_threadpool(site.gate.viewer, request) is not None

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(
        feed.events(who_counts()), media_type="text/event-stream", headers=headers
    )
