"""The dashboard behind nginx and Apache, configured as docs/how-to/dashboard.md says.

Both log people in with passwords here. In Apache, that stands in for mod_auth_openidc: either sets
REMOTE_USER, and the line of `AuthType` is all that differs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


APACHE = """
ServerRoot {place}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {place}/apache.pid
ErrorLog {place}/apache.log
Mutex file:{place}
DefaultRuntimeDir {place}
{modules}
{location}
"""
MODULES = ("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic",
           "headers", "proxy", "proxy_http")  # fmt: skip
OPENID = "AuthType openid-connect"
BASIC = 'AuthType Basic\nAuthName "the university"\nAuthUserFile {place}/users'


def location(socket_path: Path, kind: str) -> str:
    """The block of the documentation, with another path of the socket."""
    block = DOCS.read_text(encoding="utf-8").partition(f"```{kind}\n")[2].partition("```")[0]
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
        WHOLE.format(place=place, port=port, location=location(socket_path, "nginx"))
    )
    give(place)
    call = [*as_user(), program, "-c", str(place / "nginx.conf"), "-e", str(place / "nginx.log")]
    with subprocess.Popen(call) as process:
        try:
            wait_until((place / "nginx.pid").exists)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def apache(place: Path, socket_path: Path) -> Iterator[str]:
    """Its address."""
    program = shutil.which("apache2", path="/usr/sbin:/usr/bin:/sbin")
    assert program is not None, "apache2 is missing: scripts/set-up --all installs it"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    secrets = {"jane@uni": "a", "lea@uni": "b"}
    users = [f"{name}:{{SHA}}{_sha1(secret)}" for name, secret in secrets.items()]
    (place / "users").write_text("\n".join([*users, ""]))
    block = location(socket_path, "apache")
    assert OPENID in block
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES
    )
    (place / "apache.conf").write_text(
        APACHE.format(
            place=place, port=port, modules=modules,
            location=block.replace(OPENID, BASIC.format(place=place)),
        )
    )  # fmt: skip
    give(place)
    call = [*as_user(), program, "-f", str(place / "apache.conf"), "-D", "FOREGROUND"]
    with subprocess.Popen(call) as process:
        try:
            wait_until(lambda: (place / "apache.pid").exists() or process.poll() is not None)
            assert process.poll() is None, (place / "apache.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _sha1(secret: str) -> str:
    return base64.b64encode(hashlib.sha1(secret.encode()).digest()).decode()


@pytest.mark.parametrize("proxy", [nginx, apache])
def test_behind_a_proxy_its_user_is_the_viewer_whatever_the_browser_sends(
    place: Path, proxy: Callable[[Path, Path], AbstractContextManager[str]]
) -> None:
    path = place / "web.sock"
    home = MadeHome(place, Program(place), listen=f"unix:{path}", operators=["jane@uni"],
                    url="http://127.0.0.1", **{"user-header": "X-Remote-User"})  # fmt: skip
    home.experiment("3a")
    http = urllib3.PoolManager(retries=False, timeout=60)
    with served(home.program, home.config), proxy(place, path) as address:

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
