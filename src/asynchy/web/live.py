"""Server-sent events: what goes on right now, read once for everybody who looks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from asynchy.errors import CatalogueError
from asynchy.web.pages import hour_plot
from asynchy.web.site import Site

_EVERY = 2.0
"""Seconds between two looks."""
_MOST = 500
"""Pages that are kept up to date at a time."""


class LiveFeed:
    """Reads while somebody listens, and hands out what has changed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._text = ""
        self._news = asyncio.Condition()
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
        sent = ""
        try:
            yield "retry: 3000\n\n"
            async for counts in who_counts:
                if not counts or self.ended.is_set():
                    return
                if self._text != sent:
                    sent = self._text
                    yield f"data: {sent}\n\n"
                else:
                    yield ": nothing new\n\n"
        finally:
            self._listeners -= 1

    async def _read(self) -> None:
        while self._listeners and not self.ended.is_set():
            self._text = await run_in_threadpool(self._rendered)
            await asyncio.sleep(_EVERY)

    def _rendered(self) -> str:
        try:
            live = self._site.reader.live()
        except CatalogueError as error:
            return json.dumps({"problem": error.message})
        template = self._site.templates.get_template("_live.html.j2")
        states = self._site.reader.keeper.current()
        at = states.at.isoformat() if states else ""
        return json.dumps({"html": template.render(live=live, plot=hour_plot(live)), "states": at})


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
