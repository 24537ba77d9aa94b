"""A test message, sent at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from asynchy.config.channels import NotifyEntry, WebhookEntry
from asynchy.delivery import apprise_sender, webhook
from asynchy.delivery.channels import Channel
from asynchy.delivery.deliver import Delivery, wait_for

_TITLE = "A test of asynchy"
_TEXT = "This is a test: nothing has happened, and nothing needs to be done."


def send_test(work: Delivery, channel: Channel) -> None:
    """Send a test message to a channel of `notify` or `webhooks`.

    Raises:
        DeliveryError: it was not taken.
        Stopped: a stop was requested meanwhile.
    """
    entry, now = channel.entry, datetime.now(UTC)
    if isinstance(entry, NotifyEntry):
        apprise_sender.send(entry.url.get_secret_value(), _TITLE, _TEXT, work.stop)
    elif isinstance(entry, WebhookEntry):
        whole = {"type": "test", "timestamp": now.isoformat(), "data": {"text": _TEXT}}
        body, number = json.dumps(whole).encode(), f"msg_{uuid4().hex}"
        bundle = work.settings.ca_bundle
        wait_for(work, partial(webhook.send, entry, number, body, now, bundle))
