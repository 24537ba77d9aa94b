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


def activity_message(settings: Settings, activity: Activity, command: str) -> EmailMessage:
    """The mail about a span; problems of the site's templates are in it, and are logged.

    `command`: how `asynchy` is called with this config.
    """
    rendered = _rendered(templates_of(settings), activity, command)
    return as_message(settings, _subject(activity), rendered, activity.until)


def templates_of(settings: Settings) -> Templates:
    """The site's templates for this mail."""
    return Templates(
        settings.epnalert_template_folder,
        settings.activity_template_text,
        settings.activity_template_html,
    )


def check_activity_templates(settings: Settings) -> list[str]:
    """The problems of the site's templates for this mail, if it has any."""
    tried = [_values(sample, "asynchy --config config.yml") for sample in samples()]
    return template_problems(templates_of(settings), lambda _: tried)


def _subject(activity: Activity) -> str:
    number = len(activity.attention)
    needs = count(number, "thing needs", "things need") if number else "nothing needs"
    completed = outcome(activity)
    return f"asynchy: {needs} a person; {completed[0].lower()}{completed[1:]}"


def _rendered(templates: Templates, activity: Activity, command: str) -> RenderedMail:
    """The mail, by the site's templates; asynchy's own replaces one that cannot be used."""
    values = _values(activity, command)
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


def _values(activity: Activity, command: str) -> dict[str, Any]:
    """The variables of a template."""
    copies_shown = activity.copies[:_MAX_LISTED]
    return {
        "activity": activity,
        "subject": _subject(activity),
        "attention": activity.attention,
        "not_complete": not_complete(activity),
        "outcome": outcome(activity),
        "amounts": amounts(activity),
        "checks": checks(activity),
        "copies": copies_shown,
        "more": len(activity.copies) - len(copies_shown),
        "copies_table": table(_HEADERS, [_cells(item) for item in copies_shown])
        if copies_shown
        else "",
        "command": command,
        "host": socket.gethostname(),
        "size": size,
        "note": "",
        "template_problems": (),
    }


def _cells(item: CopyActivity) -> tuple[str, ...]:
    files = f"{item.files:,}" if item.files else "-"
    amount = size(item.bytes) if item.bytes else "-"
    return item.experiment.epn.text, item.project, item.news.value, f"{files:>7}", f"{amount:>7}"


def samples() -> Iterator[Activity]:
    """Made reports, with which a site's templates are tried before they are needed."""
    end = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
    since = end - timedelta(days=1)
    came_home = CopyActivity(
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
        came_home, news=CopyNews.INCOMPLETE, files=0, bytes=0, failed=1, reason="the disk is full"
    )
    empty = Activity(since, end, (), 0, CheckTotals(), CheckTotals(), ())
    yield empty
    yield replace(
        empty,
        copies=(failed, *(came_home,) * (_MAX_LISTED + 1)),
        seconds=3.5,
        verified=CheckTotals(1, 7, 7_000_000),
        audited=CheckTotals(2, 7, 7_000_000, wrong=1, unfinished=1),
        attention=("1 experiment belongs to no project: 77a.",),
    )
    yield replace(empty, copies=(came_home,), seconds=3.5)
