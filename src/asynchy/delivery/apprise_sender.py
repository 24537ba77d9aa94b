"""Messages to people by Apprise, which knows the services where they are.

Apprise is an optional package, and is loaded where a message is sent: in a process of its own, see
`apprise_process`. It says whether a message was taken, and why not in its log alone: that is kept
from our logs, since it quotes addresses.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections import deque
from urllib.parse import unquote

from asynchy.delivery.apprise_process import INSTALL, NOT_INSTALLED, UNKNOWN, client, quiet
from asynchy.delivery.limited_run import run_limited
from asynchy.errors import DeliveryError
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import duration, escaped
from asynchy.model.redaction import masked

_TIME_LIMIT = 60.0
"""Seconds until a service must have taken a message, its whole answer included."""
_PROCESS = "asynchy.delivery.apprise_process"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_PART = re.compile(r"[/?&=:@,;#]+")


def is_installed() -> bool:
    """Whether Apprise is there; it is not loaded."""
    return importlib.util.find_spec("apprise") is not None


def address_problem(url: str) -> str | None:
    """Why Apprise cannot use an address, without the address; None: it can."""
    try:
        with quiet([]):
            return None if client().add(url) else UNKNOWN
    except DeliveryError as error:
        return str(error)


def send(url: str, title: str, text: str, stop: Stop) -> None:
    """Send a message; when this returns, the service has taken it. No redirect is followed.

    Raises:
        DeliveryError: it was not taken.
        Stopped: a stop was requested meanwhile.
    """
    if not is_installed():
        raise DeliveryError(NOT_INSTALLED, hint=INSTALL)
    said: deque[bytes] = deque(maxlen=1)
    message = json.dumps({"url": url, "title": title, "text": text}).encode()
    ended = run_limited(
        # No folder of modules but those installed: the working folder may have some.
        [sys.executable, "-P", "-m", _PROCESS],
        seconds=_TIME_LIMIT,
        stop=stop,
        stdin=message,
        on_stdout=said.append,
    )
    if ended.stopped:
        raise DeliveryError(f"the service took more than {duration(_TIME_LIMIT)} to answer")
    if ended.code != 0 or not said:
        last = ended.stderr.strip().rpartition("\n")[2]
        reason = f": {without_secrets(last, url)}" if last else ""
        raise DeliveryError(f"the process that runs Apprise ended with {ended.code}{reason}")
    answer = json.loads(said[-1])
    if not answer["taken"]:
        raise _refused(answer["reason"], url)


def _refused(reason: str, url: str) -> DeliveryError:
    if reason == UNKNOWN:
        return DeliveryError(
            UNKNOWN,
            hint="`asynchy config check` looks at it; the list of addresses is in Apprise's "
            "documentation",
        )
    return DeliveryError(without_secrets(reason, url))


def without_secrets(text: str, url: str) -> str:
    """What was said without the address, or any part of it that may be a token."""
    parts = [part for piece in (url, unquote(url)) for part in _PART.split(piece)]
    return escaped(masked(_ADDRESS.sub("…", text), [url, *parts]), limit=200)
