"""The portal's process; its arguments, if any, are a certificate and its key.

Prints its address as a line of JSON when it is ready, takes orders as lines of JSON on standard
input and answers each with one; ends when standard input ends.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from simulator.portal.server import Server
from simulator.portal.state import State


def main() -> int:
    """Serve until standard input ends."""
    state = State()
    server = Server(state, sys.argv[1:])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": server.url}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_obey(state, json.loads(line))), flush=True)
    return 0


def _obey(state: State, order: dict[str, Any]) -> dict[str, Any]:
    """Carry out an order: the name of a method of `State`, and its arguments."""
    try:
        return {"result": getattr(state, order.pop("do"))(**order)}
    except (AttributeError, TypeError, ValueError) as error:
        return {"error": str(error)}
