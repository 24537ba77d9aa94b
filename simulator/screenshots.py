"""`make screenshots`: the pictures of the dashboard in the docs, of a facility on this machine.

Needs Chromium, and the packages of `requirements/browser.txt` (`scripts/set-up --all`).
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

from simulator.demo_web import command, running, scene
from simulator.errors import SimulatorError
from simulator.scratch import new_folder, remove

_ADDRESS = "http://127.0.0.1:8649"
_PICTURES = {
    "dashboard-now": ("/", 1000, 900, "light"),
    "dashboard-phone": ("/", 390, 800, "dark"),
    "dashboard-experiments": ("/experiments", 1000, 620, "light"),
    "dashboard-history": ("/history", 1000, 985, "light"),
}
"""By name: the page, the width, the height, light or dark."""
_SOME = "left"
"""Shows once it is known how long a transfer still takes."""
_TIMEOUT_MS = 120_000
"""Milliseconds until then."""


def main(arguments: list[str]) -> int:
    """Make the pictures in a folder, `docs` if none is named."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of `set-up --all`

    target = Path(arguments[0] if arguments else "docs")
    program = shutil.which("chromium")
    if program is None:
        raise SimulatorError("chromium is missing: scripts/set-up --all installs it")
    folder = new_folder("asynchy-screenshots-")
    try:
        with contextlib.ExitStack() as stack:
            listen = _ADDRESS.removeprefix("http://")
            made = stack.enter_context(scene(folder, web={"listen": listen}))
            token = command(
                made.config, "web", "token", "add", "jane", "--role", "operator"
            ).strip()
            stack.enter_context(running(made.config, "mxsync", "--execute"))
            stack.enter_context(running(made.config, "asynchy", "web"))
            playwright = stack.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            for name, (path, width, height, scheme) in _PICTURES.items():
                page = _page(browser, token, width, height, scheme)
                page.get_by_text(_SOME, exact=False).first.wait_for(timeout=_TIMEOUT_MS)
                if path == "/history":
                    page.get_by_role("cell", name="complete", exact=True).first.wait_for(
                        timeout=_TIMEOUT_MS
                    )
                page.goto(_ADDRESS + path)
                page.wait_for_timeout(2500)  # for the first live figures
                page.screenshot(path=str(target / f"{name}.png"))
                print(target / f"{name}.png", flush=True)
            browser.close()
    finally:
        remove(folder)
    return 0


def _page(browser: Any, token: str, width: int, height: int, scheme: str) -> Any:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{_ADDRESS}/login")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{_ADDRESS}/")
    return page


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
