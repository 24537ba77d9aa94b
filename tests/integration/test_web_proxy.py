"""The dashboard behind nginx, configured as docs/how-to/dashboard.md says."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from tests.conftest import Program, as_user, give, wait_until
from tests.tools.dashboard import MadeHome, served

pytestmark = pytest.mark.extra
DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "dashboard.md"
WHOLE = """
daemon off; pid {place}/nginx.pid; error_log {place}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;
    uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;
    server {{
        listen 127.0.0.1:{port};
        auth_basic "the university"; auth_basic_user_file {place}/users;
        {location}
    }}
}}
"""


def location(socket_path: Path) -> str:
    """The block of the documentation, with another path of the socket."""
    block = DOCS.read_text(encoding="utf-8").partition("```nginx\n")[2].partition("```")[0]
    assert "/run/asynchy/web.sock" in block
    return block.replace("/run/asynchy/web.sock", str(socket_path))


@contextmanager
def nginx(place: Path, socket_path: Path) -> Iterator[str]:
    """Its address."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin")
    assert program is not None, "nginx is missing: scripts/set-up --all installs it"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (place / "users").write_text("jane@uni:{PLAIN}a\nlea@uni:{PLAIN}b\n")
    (place / "nginx.conf").write_text(
        WHOLE.format(place=place, port=port, location=location(socket_path))
    )
    give(place)
    call = [*as_user(), program, "-c", str(place / "nginx.conf"), "-e", str(place / "nginx.log")]
    with subprocess.Popen(call) as process:
        try:
            wait_until((place / "nginx.pid").exists)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_behind_nginx_its_user_is_the_viewer_whatever_the_browser_sends(place: Path) -> None:
    path = place / "web.sock"
    home = MadeHome(place, Program(place), listen=f"unix:{path}", operators=["jane@uni"],
                    url="http://127.0.0.1", **{"user-header": "X-Remote-User"})  # fmt: skip
    home.experiment("3a")
    http = urllib3.PoolManager(retries=False, timeout=60)
    with served(home.program, home.config), nginx(place, path) as address:

        def get(user: str, link: str, **headers: str) -> urllib3.BaseHTTPResponse:
            secret = base64.b64encode(user.encode()).decode()
            more = {name.replace("_", "-"): value for name, value in headers.items()}
            return http.request("GET", address + link, preload_content=False, redirect=False,
                                headers={"Authorization": f"Basic {secret}", **more})  # fmt: skip

        assert http.request("GET", address).status == 401
        page = get("lea@uni:b", "/", X_Remote_User="jane@uni").data.decode()
        assert "lea@uni" in page and "jane@uni" not in page and "Begin a cycle" not in page
        page = get("jane@uni:a", "/", X_Forwarded_For="10.1.2.3").data.decode()
        assert "operator" in page and "from 127.0.0.1" in page
        events = get("lea@uni:b", "/live")
        news = next(part for part in events.stream() if b"data: " in part)
        news = json.loads(news.partition(b"data: ")[2].strip())
        assert "No transfer runs" in news["parts"]["running"]
        events.close()
        form_key = page.partition('name="form_key" value="')[2].partition('"')[0]

        def post(origin: str) -> int:
            headers = {"Authorization": f"Basic {base64.b64encode(b'jane@uni:a').decode()}",
                       "Content-Type": "application/x-www-form-urlencoded",
                       "Origin": origin}  # fmt: skip
            body = f"form_key={form_key}&back=/&epn=3a&project=ny79"
            link = f"{address}/actions/map"
            return http.request("POST", link, redirect=False, headers=headers, body=body).status

        assert post("http://evil.example") == 403
        assert '"3"' not in home.config.read_text()
        assert post("http://127.0.0.1") == 303  # the address that people type
        assert post(address) == 303
    assert '"3"' in home.config.read_text()
