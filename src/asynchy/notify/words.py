"""What a mail says: the two texts of the original's templates, and our own templates."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    Template,
    TemplateError,
    TemplateNotFound,
)

from asynchy.domain.person import Person
from asynchy.domain.text import count, day, moment, shown, size
from asynchy.errors import TemplateRefused
from asynchy.notify.tables import in_rows, table
from asynchy.plan.alert import Alert, Unknown
from asynchy.plan.at_risk import AtRisk

TEXT = "alert.txt.j2"
HTML = "alert.html.j2"
_TO_A_ROW = 8
_PEOPLE = ("First name", "Last name", "Email")


@dataclass(frozen=True)
class Templates:
    """The templates of a site; what is None comes with the package."""

    folder: Path | None = None
    text: str | None = None
    html: str | None = None


@dataclass(frozen=True)
class Around:
    """What a mail says beside the alert itself."""

    command: str
    """How `asynchy` is called with this config."""
    days: int
    """Of the visits that were asked for."""
    due_days: int
    at_risk_days: int
    now: datetime


def epn_details(alert: Alert) -> str:
    """Each unknown EPN with a visit, as the original's templates get it, to the letter."""
    return "".join(f"{_details(item)}\n\n" for item in alert.with_visits)


def unknown_epns(alert: Alert) -> str:
    """The unknown EPNs without a visit, eight to a row."""
    return in_rows([item.epn.text for item in alert.without_visits], _TO_A_ROW)


def written(alert: Alert, around: Around, templates: Templates) -> tuple[str, str]:
    """The mail's text and its HTML.

    Raises:
        TemplateRefused: a template of the site's is not there or cannot be used.
    """
    values = {
        "epn_details": epn_details(alert),
        "unknown_epns": unknown_epns(alert),
        "alert": alert,
        "command": around.command,
        "days": around.days,
        "due_days": around.due_days,
        "at_risk_days": around.at_risk_days,
        "now": around.now,
        "host": socket.gethostname(),
        "person": _person,
        "standing": _standing,
        "waiting": _waiting,
        "project": _project,
        "left": _left,
        "size": size,
        "owner": _owner,
    }
    text = _rendered(templates.folder, templates.text or TEXT, values, html=False)
    return text, _rendered(templates.folder, templates.html or HTML, values, html=True)


def _rendered(folder: Path | None, name: str, values: dict[str, Any], *, html: bool) -> str:
    try:
        return _template(folder, name, html=html).render(values)
    except TemplateNotFound as error:
        raise TemplateRefused(
            f"there is no template {shown(str(error))} in {folder}",
            hint="check epnalert-template-folder, -text and -html",
        ) from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, OSError) as error:
        line = getattr(error, "lineno", None)
        where = f"{name}:{line}" if line else name
        raise TemplateRefused(
            f"the template {where} cannot be used: {shown(str(error), limit=200)}",
            hint="mend it, or take it out of the config: asynchy brings templates of its own",
        ) from None


def _template(folder: Path | None, name: str, *, html: bool) -> Template:
    loaders: list[BaseLoader] = [PackageLoader("asynchy.notify")]
    if folder is not None:
        loaders.insert(0, FileSystemLoader(folder))
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=html,  # noqa: S701 - text is no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["moment"] = moment
    environment.filters["day"] = day
    return environment.get_template(name)


def _details(item: Unknown) -> str:
    visit = item.beamtimes[0].visit
    principal = visit.principal
    people = [(one.first_names, one.last_name, one.email) for one in visit.scientists]
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


def _standing(item: Unknown) -> str:
    if item.reported is None:
        return "new"
    times = count(item.reported.times, "time")
    return f"reported {times} since {item.reported.first.astimezone():%Y-%m-%d}"


def _waiting(item: Unknown) -> str:
    if item.waiting is None:
        return "how much is not known (as-walker finds out)"
    return f"{count(item.waiting.files, 'file')}, {size(item.waiting.bytes)}"


def _left(item: AtRisk) -> str:
    """The days that are left, in words."""
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
