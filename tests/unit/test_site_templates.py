"""A site's own mail templates: what is wrong with one, and what it does not show."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynchy.alerting import site_template
from asynchy.alerting.content import Alert
from asynchy.alerting.mail_context import MailContext, Templates
from asynchy.alerting.rendering import check_templates, rendered
from asynchy.alerting.samples import samples


def sample() -> tuple[Alert, MailContext]:
    return max(samples(), key=lambda one: len(one[0].unknown))


def of_site(folder: Path, text: str, page: str = "<p>{{ unknown_epns }}</p>") -> Templates:
    (folder / "mine.txt").write_text(text)
    (folder / "mine.html").write_text(page)
    return Templates(folder, "mine.txt", "mine.html")


def test_a_template_whose_text_no_mail_can_hold_gives_way_to_ours(tmp_path: Path) -> None:
    templates = of_site(tmp_path, r"{{ unknown_epns }}{{ '\ud800' }}")
    mail = rendered(*sample(), templates)
    said = "the template mine.txt cannot be used: no mail can hold its character U+D800"
    assert mail.problems == (said,)
    assert check_templates(templates, samples()) == [said]
    (mail.text + mail.html).encode()


@pytest.mark.parametrize("body", ["", "x", "{% set y = a %}"])
def test_a_template_that_does_not_end_gives_way_to_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(site_template, "_TIME_LIMIT", 0.2)
    loop = f"{{% for a in range(10**12) %}}{body}{{% endfor %}}"
    mail = rendered(*sample(), of_site(tmp_path, loop))
    (problem,) = mail.problems
    assert problem.startswith("the template mine.txt:1 cannot be used: it takes longer than")
    assert mail.text


def test_a_byte_order_mark_of_a_template_is_not_in_the_mail(tmp_path: Path) -> None:
    text = rendered(*sample(), of_site(tmp_path, "\ufeff{{ unknown_epns }}")).text
    assert "\ufeff" not in text


def test_a_mistake_in_a_template_is_named_without_our_classes(tmp_path: Path) -> None:
    templates = of_site(tmp_path, "{{ alert.unknwon }}{{ alert.unknwon.x }}")
    (problem,) = rendered(*sample(), templates).problems
    assert problem == (
        "the template mine.txt:1 cannot be used: the value has no attribute 'unknwon'"
    )


def test_what_is_in_the_title_of_a_page_alone_is_not_shown(tmp_path: Path) -> None:
    alert, around = sample()
    page = "<html><head><title>{{ unknown_epns }}{{ epn_details }}</title></head><body></body>"
    mail = rendered(alert, around, of_site(tmp_path, "{{ unknown_epns }}", page))
    body = mail.html.partition("</title>")[2]
    for item in alert.unknown:
        assert item.epn.text in body
