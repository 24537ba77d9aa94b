"""Renders a mail: with the two texts of the original's templates, and asynchy's own templates."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asynchy.alerting.content import Alert, Unknown
from asynchy.alerting.mail_context import MailContext, Templates
from asynchy.alerting.site_template import (
    SHIPPED,
    RecordingAlert,
    SiteTemplate,
    html_escaped,
    not_shown,
    strict_environment,
    with_below,
)
from asynchy.alerting.text_table import in_rows, table
from asynchy.errors import TemplateRefused
from asynchy.model.formatting import count, size
from asynchy.model.person import Person
from asynchy.reporting.at_risk import AtRisk

TEXT = "alert.txt.j2"
HTML = "alert.html.j2"
_HTML_BODY = "alert.body.html.j2"
_BELOW = "The template of this site does not show this; asynchy adds it:"
REPLACED = (
    "A mail template of this site cannot be used. asynchy's own is used until you correct it "
    "(`asynchy config check FILE` finds the mistakes):"
)
_EPNS_PER_ROW = 8
_PEOPLE = ("First name", "Last name", "Email")


def epn_details(alert: Alert) -> str:
    """Each unknown EPN with a visit, as the original's templates get it, to the letter."""
    items = sorted(alert.with_visits, key=lambda item: item.epn.text)
    return "".join(f"{_details(item)}\n\n" for item in items)


def unknown_epns(alert: Alert) -> str:
    """The unknown EPNs without a visit, as the original's templates get them, to the letter."""
    return in_rows(sorted(item.epn.text for item in alert.without_visits), _EPNS_PER_ROW)


@dataclass(frozen=True)
class RenderedMail:
    """The two parts of a mail."""

    text: str
    html: str
    problems: tuple[str, ...] = ()
    """Why templates of the site could not be used; it is in the mail, too."""


def rendered(alert: Alert, around: MailContext, templates: Templates) -> RenderedMail:
    """The mail, by the site's templates or asynchy's own.

    If a template of the site cannot be used, asynchy's own replaces it. Parts of the alert that the
    site's does not show are added below it.
    """
    attempts = [
        _attempt(alert, around, templates.folder, templates.text, is_html=False),
        _attempt(alert, around, templates.folder, templates.html, is_html=True),
    ]
    problems = tuple(part for part in attempts if isinstance(part, TemplateRefused))
    sentences = tuple(dict.fromkeys(problem.message for problem in problems))
    text, page = (
        _completed(alert, around, part, sentences, is_html=is_html)
        for part, is_html in zip(attempts, (False, True), strict=True)
    )
    return RenderedMail(text, page, sentences)


def check_templates(
    templates: Templates, samples: Iterable[tuple[Alert, MailContext]]
) -> list[str]:
    """The problems of the site's templates, found by rendering samples with them."""
    tried = list(samples)

    def values(is_html: bool) -> Iterator[dict[str, Any]]:
        return (_values(alert, around, is_html=is_html) for alert, around in tried)

    return template_problems(templates, values)


def template_problems(
    templates: Templates, values: Callable[[bool], Iterable[Mapping[str, Any]]]
) -> list[str]:
    """The problems of a site's templates for one mail.

    `values`: samples of what the template gets, by whether it is the one for HTML.
    """
    problems = [
        problem
        for name, is_html in ((templates.text, False), (templates.html, True))
        if name is not None
        for problem in SiteTemplate(templates.folder, name, is_html=is_html).problems(
            values(is_html)
        )
    ]
    return list(dict.fromkeys(problems))


@dataclass(frozen=True)
class _Rendered:
    output: str
    used: set[str]


def _attempt(
    alert: Alert, around: MailContext, folder: Path | None, name: str | None, *, is_html: bool
) -> _Rendered | TemplateRefused | None:
    """The text of the site's template; None: the config names none."""
    if name is None:
        return None
    recording = RecordingAlert(alert)
    template = SiteTemplate(folder, name, is_html=is_html)
    try:
        values = {**_values(alert, around, is_html=is_html), "alert": recording}
        return _Rendered(template.render(values), recording.used)
    except TemplateRefused as error:
        return error


def _completed(
    alert: Alert,
    around: MailContext,
    attempt: _Rendered | TemplateRefused | None,
    problems: tuple[str, ...],
    *,
    is_html: bool,
) -> str:
    note = REPLACED if problems else ""
    if not isinstance(attempt, _Rendered):
        name = HTML if is_html else TEXT
        return _shipped(name, alert, around, note, problems)
    remaining = not_shown(alert, attempt.used, attempt.output, is_html=is_html)
    if not (remaining.needs_answer or remaining.notes or problems):
        return attempt.output
    name = _HTML_BODY if is_html else TEXT
    additions = _shipped(name, remaining, around, note or _BELOW, problems)
    return (
        with_below(attempt.output, additions)
        if is_html
        else f"{attempt.output.rstrip()}\n\n{additions}"
    )


def _shipped(
    name: str, alert: Alert, around: MailContext, note: str, problems: Sequence[str]
) -> str:
    is_html = name != TEXT
    values = {**_values(alert, around, is_html=is_html), "note": note}
    template = strict_environment(SHIPPED, is_html=is_html).get_template(name)
    return template.render(values, template_problems=problems)


def _values(alert: Alert, around: MailContext, *, is_html: bool) -> dict[str, Any]:
    """The variables of a template."""
    details, epns = epn_details(alert), unknown_epns(alert)
    return {
        "epn_details": html_escaped(details) if is_html else details,
        "unknown_epns": html_escaped(epns) if is_html else epns,
        "alert": alert,
        "command": around.command,
        "days": around.days,
        "due_days": around.due_days,
        "at_risk_days": around.at_risk_days,
        "now": around.now,
        "host": socket.gethostname(),
        "person": _person,
        "standing": _state_text,
        "waiting": _waiting,
        "project": _project,
        "left": _days_left_text,
        "size": size,
        "owner": _owner,
        "note": "",
        "template_problems": (),
    }


def _details(item: Unknown) -> str:
    visit = item.beamtimes[0].visit
    principal = visit.principal
    people = [
        (beamtime.first_names, beamtime.last_name, beamtime.email) for beamtime in visit.scientists
    ]
    return "\n".join(
        (
            f"Epn {item.epn} on {visit.start.isoformat()} is not known.",
            f"Principal scientist: {principal if principal else 'not known'}",
            "It includes scientists: ",
            table(_PEOPLE, people),
            "** Please add it the config. **",
        )
    )


def _person(person: Person | None) -> str:
    if person is None or not person.known:
        return "not known"
    address = f" <{person.email}>" if person.email else ""
    organisation = f", {person.organisation}" if person.organisation else ""
    return f"{person.name}{address}{organisation}".strip()


def _state_text(item: Unknown) -> str:
    if item.reported is None:
        return "new"
    times = count(item.reported.times, "time")
    return f"reported {times} since {item.reported.first.astimezone():%Y-%m-%d}"


def _waiting(item: Unknown) -> str:
    if item.waiting is None:
        return "size unknown (run as-walker)"
    return f"{count(item.waiting.files, 'file')}, {size(item.waiting.bytes)}"


def _days_left_text(item: AtRisk) -> str:
    """The days that are left, as text for people."""
    days = item.days_left
    if days is None:
        return "not known how long it is kept"
    about = "about " if item.about else ""
    if days < 0:
        return f"{about}{count(-days, 'day')} past"
    return f"{about}{count(days, 'day')} left" if days else f"{about}less than a day left"


def _owner(item: AtRisk) -> str:
    if item.project or item.principal:
        return item.project or _person(item.principal)
    return "owner not known"


def _project(item: Unknown) -> str:
    return item.suggestion.project if item.suggestion else "PROJECT"
