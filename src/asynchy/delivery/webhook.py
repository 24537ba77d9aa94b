"""Signed requests to other programs: Standard Webhooks (standardwebhooks.com), version 1."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from pathlib import Path

from asynchy.config.channels import WebhookEntry
from asynchy.errors import ConfigError, DeliveryError, PortalError
from asynchy.facility.portal.http_client import Http
from asynchy.model.formatting import escaped
from asynchy.model.redaction import masked

_SILENCE = 20.0
"""Seconds that a receiver may be silent; the specification recommends 15 to 30."""
_SAID = 200


def headers(secret: str, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a request: its id, its time, and the signature of both and the body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    seconds = str(int(now.timestamp()))
    signed = b".".join([message_id.encode(), seconds.encode(), body])
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{signature}",
    }


def send(
    entry: WebhookEntry, message_id: str, body: bytes, now: datetime, ca_bundle: Path | None
) -> None:
    """Send a message; when this returns, the receiver has answered 2xx. No redirect is followed.

    Raises:
        DeliveryError: it has not.
    """
    url, secret = entry.url.get_secret_value(), entry.secret.get_secret_value()
    signed = headers(secret, message_id, body, now)
    try:
        http = Http(url, ca_bundle=ca_bundle, timeout=_SILENCE, name="the receiver")
        answer = http.post(body, signed)
    except (PortalError, ConfigError) as error:
        raise DeliveryError(masked(error.message, [url, secret]), hint=error.hint) from None
    if 200 <= answer.status < 300:
        return
    said = escaped(masked(answer.body[:_SAID].decode("utf-8", "replace"), [url, secret]))
    raise DeliveryError(f"the receiver answered {answer.status}{f': {said}' if said else ''}")
