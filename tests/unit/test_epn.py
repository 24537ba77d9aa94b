from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.model.epn import Epn, is_proposal


@pytest.mark.parametrize(
    ("text", "proposal"),
    [("12282a", "12282"), ("8020l", "8020"), ("1234", "1234"), ("0123ab", "0123")],
)
def test_an_epn_and_its_proposal(text: str, proposal: str) -> None:
    epn = Epn.parse(text)
    assert epn is not None
    assert (epn.text, epn.proposal, str(epn)) == (text, proposal, text)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a",
        "12a3",
        "12-a",
        "../../etc",
        "12282a/",
        "12 282a",
        "\u200b12282a",
        "१२३",
        "9" * 10_000,
        None,
        True,
        -1,
        10**12,
        1.5,
        1234.0,
        b"12282a",
        ["12282a"],
    ],
)
def test_what_is_no_epn(value: object) -> None:
    assert Epn.parse(value) is None


def test_an_epn_cannot_be_made_of_something_else() -> None:
    with pytest.raises(ValueError, match="not an EPN"):
        Epn("../etc")


@given(st.text())
def test_whatever_passes_is_one_safe_path_segment(text: str) -> None:
    epn = Epn.parse(text)
    if epn is not None:
        assert epn.text.isascii() and epn.text.isalnum() and len(epn.text) <= 20
        assert is_proposal(epn.proposal)


@given(st.from_regex(r"[0-9]{1,12}[A-Za-z]{0,8}", fullmatch=True).filter(str.isascii))
def test_digits_then_letters_are_an_epn(text: str) -> None:
    assert Epn.parse(text) is not None


@pytest.mark.parametrize("text", ["1" * 12, "1" * 12 + "a" * 8, "0", "12282A", "007", "19754aB"])
def test_the_longest_and_the_oddest_epns(text: str) -> None:
    epn = Epn.parse(text)
    assert epn is not None
    assert epn.proposal == text.rstrip("aAB")
    assert epn.text == text.lower()


@pytest.mark.parametrize(
    "value", ["12282a", "12282A", " 12282a", "12282a ", "\t12282A\r\n", "\u00a012282a"]
)
def test_epns_that_differ_in_blanks_and_case_are_equal(value: str) -> None:
    epn = Epn.parse(value)
    assert epn == Epn("12282a") == Epn(value)
    assert (str(epn), len({epn, Epn("12282a")})) == ("12282a", 1)


@pytest.mark.parametrize(("value", "text"), [(1234, "1234"), (0, "0"), (10**12 - 1, "9" * 12)])
def test_an_integer_is_an_epn_as_its_text(value: int, text: str) -> None:
    epn = Epn.parse(value)
    assert epn is not None and epn.text == text


@pytest.mark.parametrize(
    "text",
    ["1" * 13, "1" * 12 + "a" * 9, "12282\u00aa", "12282\u212a", "\uff11a", "12282a\0", "1 2", "1_0", "+1", ".", "..", "-1a"],
)  # fmt: skip
def test_what_only_looks_like_an_epn(text: str) -> None:
    assert Epn.parse(text) is None
    with pytest.raises(ValueError, match="not an EPN"):
        Epn(text)


@pytest.mark.parametrize("text", ["", "1a", "\u0967", "1" * 13, "1\n", "-1"])
def test_what_is_no_proposal(text: str) -> None:
    assert not is_proposal(text)


def test_epns_have_an_order_in_which_case_does_not_count() -> None:
    assert sorted([Epn("8020l"), Epn("12282B"), Epn("12282a")])[0] == Epn("12282a")
