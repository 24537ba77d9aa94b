"""The mail of `asynchy report activity`: what needs a person, what came home, what was checked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

from asynchy.alerting.mail import as_message
from asynchy.alerting.mail_context import Templates
from asynchy.alerting.rendering import REPLACED, RenderedMail, template_problems
from asynchy.alerting.site_template import SHIPPED, SiteTemplate, strict_environment
from asynchy.alerting.text_table import table
from asynchy.config import Settings
from asynchy.errors import TemplateRefused
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.formatting import count, size
from asynchy.reporting.activity import Activity, CheckTotals, CopyActivity, CopyNews
from asynchy.reporting.activity_text import amounts, checks, not_complete, outcome

_HEADERS = ("EPN", "Project", "Became", "Files", "Size")
_MAX_LISTED = 50
"""Copies in one mail; the command lists all."""


def activity_message(settings: Settings, found: Activity, command: str) -> EmailMessage:
    """The mail about a span; problems of the site's templates are in it, and are logged.

    `command`: how `asynchy` is called with this config.
    """
    rendered = _rendered(templates_of(settings), found, command)
    return as_message(settings, _subject(found), rendered, found.until)


def templates_of(settings: Settings) -> Templates:
    """The site's templates for this mail."""
    return Templates(
        settings.epnalert_template_folder,
        settings.activity_template_text,
        settings.activity_template_html,
    )


def check_activity_templates(settings: Settings) -> list[str]:
    """What is wrong with the site's templates for this mail, if it has any."""
    tried = [_values(sample, "asynchy --config config.yml") for sample in samples()]
    return template_problems(templates_of(settings), lambda _: tried)


def _subject(found: Activity) -> str:
    number = len(found.attention)
    needs = count(number, "thing needs", "things need") if number else "nothing needs"
    done = outcome(found)
    return f"asynchy: {needs} a person; {done[0].lower()}{done[1:]}"


def _rendered(templates: Templates, found: Activity, command: str) -> RenderedMail:
    """The mail, by the site's templates; ours take the place of one that cannot be used."""
    values = _values(found, command)
    parts: dict[bool, str] = {}
    problems = []
    for name, is_html in ((templates.text, False), (templates.html, True)):
        try:
            if name is not None:
                template = SiteTemplate(templates.folder, name, is_html=is_html)
                parts[is_html] = template.render(values)
        except TemplateRefused as error:
            problems.append(error.message)
    values |= {"note": REPLACED if problems else "", "template_problems": problems}
    for name, is_html in (("activity.txt.j2", False), ("activity.html.j2", True)):
        if is_html not in parts:
            template_of = strict_environment(SHIPPED, is_html=is_html).get_template
            parts[is_html] = template_of(name).render(values)
    return RenderedMail(parts[False], parts[True], tuple(problems))


def _values(found: Activity, command: str) -> dict[str, Any]:
    """What a template can use."""
    shown = found.copies[:_MAX_LISTED]
    return {
        "activity": found,
        "subject": _subject(found),
        "attention": found.attention,
        "not_complete": not_complete(found),
        "outcome": outcome(found),
        "amounts": amounts(found),
        "checks": checks(found),
        "copies": shown,
        "more": len(found.copies) - len(shown),
        "copies_table": table(_HEADERS, [_cells(one) for one in shown]) if shown else "",
        "command": command,
        "host": socket.gethostname(),
        "size": size,
        "note": "",
        "template_problems": (),
    }


def _cells(one: CopyActivity) -> tuple[str, ...]:
    files = f"{one.files:,}" if one.files else "-"
    amount = size(one.bytes) if one.bytes else "-"
    return one.experiment.epn.text, one.project, one.news.value, f"{files:>7}", f"{amount:>7}"


def samples() -> Iterator[Activity]:
    """Made reports, with which a site's templates are tried before they are needed."""
    until = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
    since = until - timedelta(days=1)
    came = CopyActivity(
        experiment=Experiment("mx", Epn("12282a")),
        project="ny79",
        destination="/projects/ny79/12282a/data",
        news=CopyNews.CAME,
        files=7,
        bytes=7_000_000,
        seconds=3.5,
        attempts=1,
        failed=0,
        reason=None,
    )
    failed = replace(
        came, news=CopyNews.INCOMPLETE, files=0, bytes=0, failed=1, reason="the disk is full"
    )
    nothing = Activity(since, until, (), 0, CheckTotals(), CheckTotals(), ())
    yield nothing
    yield replace(
        nothing,
        copies=(failed, *(came,) * (_MAX_LISTED + 1)),
        seconds=3.5,
        verified=CheckTotals(1, 7, 7_000_000),
        audited=CheckTotals(2, 7, 7_000_000, wrong=1, unfinished=1),
        attention=("1 experiment belongs to no project: 77a.",),
    )
    yield replace(nothing, copies=(came,), seconds=3.5)
