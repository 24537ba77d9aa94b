"""Secrets are taken out of what others say, in every form in which we send them."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynchy.model.redaction import masked

SECRET = 'can/ary+p@ss %wörd"\\'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        urlencode({"x": SECRET}).removeprefix("x="),
        json.dumps(SECRET)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_every_form_is_masked(form: str) -> None:
    assert masked(f"refused: {form}, sorry", ["other-secret", SECRET]) == "refused: ********, sorry"


def test_what_is_too_short_to_be_a_secret_spoils_no_words() -> None:
    assert masked("an answer", ["a", ""]) == "an answer"


def test_a_secret_that_holds_another_is_masked_whole() -> None:
    assert masked("name:password1", ["password1", "name:password1"]) == "********"


@example("no-text\ud800", "", "")
@given(st.text(st.characters(exclude_characters="*"), min_size=6), st.text(), st.text())
def test_it_is_never_left(secret: str, before: str, after: str) -> None:
    assert secret not in masked(before + secret + after, [secret])
