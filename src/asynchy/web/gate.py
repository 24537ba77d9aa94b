"""Finds out who a request is from, and lets nobody else read or act."""

from __future__ import annotations

import ipaddress
from http.cookies import CookieError
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from asynchy.config.schema import WebServer
from asynchy.errors import ActionRefused
from asynchy.model.access import Role, WebToken
from asynchy.model.formatting import escaped
from asynchy.web.access import LoginLimit, RequestLimit, Sessions, Viewer, now_utc
from asynchy.web.reads import DashboardReader

LARGEST_FORM = 16_384
_LONGEST_NAME = 100
_SAFE_SITES = frozenset({"same-origin", "none"})


class TooMany(Exception):
    """Something was asked for too often; `seconds` until it may be asked for again."""

    def __init__(self, what: str, seconds: int) -> None:
        super().__init__(f"{what}; try again in {seconds} s")
        self.seconds = seconds


class Gate:
    """Knows viewers by session, bearer token, or the header of the reverse proxy."""

    def __init__(self, server: WebServer, reader: DashboardReader, sessions: Sessions) -> None:
        self.server = server
        self.limit = LoginLimit()
        self._requests = RequestLimit()
        self.is_secure = bool(server.url and server.url.startswith("https://"))
        self.cookie = "__Host-asynchy" if self.is_secure else "asynchy"
        self._reader = reader
        self._sessions = sessions
        self._hosts = _hosts(server)

    def is_our_host(self, request: Request) -> bool:
        """Whether the request names this server: else another site's name was bound to it."""
        if self._hosts is None:
            return True
        name = request.headers.get("host", "").lower()
        return urlsplit(f"//{name}").hostname in self._hosts

    def source(self, request: Request) -> str:
        """The address that a request came from; behind a socket, as the reverse proxy says."""
        if self.server.listen.startswith("unix:"):
            told = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            return escaped(told, limit=_LONGEST_NAME) or "the reverse proxy"
        return request.client.host if request.client else "unknown"

    def viewer(self, request: Request) -> Viewer | None:
        """Who the request is from; None: nobody who may look.

        Raises:
            TooMany: too many tokens from there were wrong.
            CatalogueError: the catalogue cannot be read.
        """
        source = self.source(request)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            owner = self._owner(token.strip(), source)
            if owner is None:
                return None
            return Viewer(owner.name, owner.role, source, "", has_session=False)
        named = self._named_by_proxy(request)
        if named is not None:
            role = Role.OPERATOR if named in self.server.operators else Role.READER
            form_key = self._sessions.form_key(f"proxy:{named}")
            return Viewer(named, role, source, form_key, has_session=False)
        return self._of_session(request, source)

    def check_rate(self, viewer: Viewer) -> None:
        """Refuse a viewer who asks too often, so that others are served.

        Raises:
            TooMany: they do.
        """
        wait = self._requests.seconds_left(viewer.name)
        if wait:
            raise TooMany("too many requests", wait)

    def begin_session(self, request: Request, token: str) -> str | None:
        """The cookie of a new session; None: the token does not count.

        Raises:
            TooMany: too many tokens from there were wrong.
            CatalogueError: the catalogue cannot be read.
        """
        owner = self._owner(token.strip(), self.source(request))
        if owner is None:
            return None
        return self._sessions.begin(owner.name, now_utc(), owner.expires)

    def set_cookie(self, response: Response, value: str) -> None:
        """Have the browser keep the session; no script can read it, no other site sends it."""
        response.set_cookie(
            self.cookie, value, httponly=True, samesite="lax", secure=self.is_secure, path="/"
        )

    def end_session(self, response: Response) -> None:
        """Have the browser forget the session."""
        response.delete_cookie(
            self.cookie, httponly=True, samesite="lax", secure=self.is_secure, path="/"
        )

    def check_form(self, request: Request, viewer: Viewer, form: dict[str, str]) -> None:
        """Refuse a form that another site could have sent.

        Raises:
            ActionRefused: it does not have what this viewer was given, or comes from elsewhere.
        """
        is_ours = viewer.form_key and self._sessions.is_form_key(viewer, form.get("form_key", ""))
        if not is_ours or not self.is_same_site(request):
            raise ActionRefused(
                "the form is of another session, or of another site: nothing was done",
                hint="load the page again, and send the form once more",
            )

    def is_same_site(self, request: Request) -> bool:
        """Whether a form was sent by a page of ours, as the browser says."""
        site = request.headers.get("sec-fetch-site")
        if site is not None and site not in _SAFE_SITES:
            return False
        origin = request.headers.get("origin")
        if origin is None or origin == self.server.url:
            return True
        return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()

    def _owner(self, token: str, source: str) -> WebToken | None:
        """Whose token it is. A right one counts however many wrong ones came from there.

        Nobody can guess one (256 random bits), and all users of a transfer node share an address:
        one of them must not keep the others out.
        """
        owner = self._reader.catalogue.web_access.owner_of(token, now_utc())
        if owner is not None:
            return owner
        wait = self.limit.seconds_left(source)
        if wait:
            raise TooMany("too many log-ins failed", wait)
        self.limit.failed(source)
        return None

    def _named_by_proxy(self, request: Request) -> str | None:
        if self.server.user_header is None:
            return None
        values = request.headers.getlist(self.server.user_header)
        name = values[0].strip() if len(values) == 1 else ""
        return name[:_LONGEST_NAME] or None

    def _of_session(self, request: Request, source: str) -> Viewer | None:
        try:
            cookie = request.cookies.get(self.cookie, "")
        except CookieError:
            return None
        name = self._sessions.token_of(cookie, now_utc()) if cookie else None
        owner = self._reader.catalogue.web_access.named(name, now_utc()) if name else None
        if owner is None:
            return None
        form_key = self._sessions.form_key(f"session:{cookie}")
        return Viewer(owner.name, owner.role, source, form_key, has_session=True)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form.

    Raises:
        ActionRefused: it is too large, or not text.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise ActionRefused("the form is too large", hint="shorten what you wrote")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50,
                           errors="strict")  # fmt: skip
    except ValueError:
        raise ActionRefused("the form cannot be read", hint="load the page again") from None
    return dict(fields)


def _hosts(server: WebServer) -> frozenset[str] | None:
    """The names of this server; None: any, for only the reverse proxy can connect."""
    url = urlsplit(server.url).hostname if server.url else None
    if server.listen.startswith("unix:"):
        return frozenset({url}) if url else None
    host = server.listen.rpartition(":")[0].strip("[]").lower()
    names = {host, url} if url else {host}
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if is_here:
        names |= {"localhost", "127.0.0.1", "::1"}
    return frozenset(name for name in names if name)
