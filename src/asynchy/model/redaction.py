"""Secrets in answers: a portal, a proxy or a mail server may quote the request."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_MASK = "********"
_MIN_SECRET_LENGTH = 6  # characters
"""A shorter text may be part of any word, and is not masked."""


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, as they are, quoted for URLs or JSON, or in Base64."""
    forms = {
        form for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH for form in _forms(secret)
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, _MASK)
    return text


def _forms(secret: str) -> set[str]:
    data = secret.encode("utf-8", "surrogatepass")  # no error may quote it
    return {
        secret,
        quote(data),
        quote(data, safe=""),
        quote_plus(data),
        json.dumps(secret)[1:-1],
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
    }
