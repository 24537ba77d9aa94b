"""What a message says: JSON for programs, a sentence for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from asynchy.catalogue import Catalogue
from asynchy.delivery.channels import Channel
from asynchy.model.experiment import Experiment
from asynchy.model.formatting import count, escaped, moment, size
from asynchy.model.news import Arrival, Condition, Message, NewsKind, WaitingMessage
from asynchy.model.person import Person
from asynchy.model.safety import name_of
from asynchy.receipts.bag import CRATE, MANIFEST, place_beside

_TOGETHER = timedelta(minutes=5)
"""What comes home within this time is told to people in one message."""
_NAMED = 10
"""Lines of one message to people."""
_OLD = timedelta(minutes=30)
_TITLES = {
    NewsKind.CAME_HOME: ("An experiment came home", "{} experiments came home"),
    NewsKind.NEEDS_PERSON: ("An experiment needs a person", "{} things need a person"),
    NewsKind.UNKNOWN_EPN: ("An EPN belongs to no project", "{} EPNs belong to no project"),
    NewsKind.AT_RISK: ("The facility deletes data soon", "The facility deletes data soon ({})"),
    NewsKind.DAMAGED: ("A copy at home is damaged", "{} copies at home are damaged"),
    NewsKind.UNREACHABLE: ("The facility", "The facility"),
}


def arrival_document(catalogue: Catalogue, arrival: Arrival, *, people: bool) -> dict[str, Any]:
    """A copy that was completed, for programs; `people`: with names and the proposal's title.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    files, known = catalogue.arrivals.digests(arrival.copy_id)
    visits = catalogue.visits_of(arrival.experiment, arrival.completed)
    folder = place_beside(arrival.destination)
    described = [
        {"start": one.start.isoformat(), "end": one.end.isoformat()}
        | ({"title": one.title, **_people(one.principal, one.scientists)} if people else {})
        for one in visits
    ]
    return {
        "experiment": _experiment(arrival.experiment) | {"visits": described},
        "copy": {
            "id": arrival.copy_id,
            "project": arrival.project,
            "source": arrival.source,
            "destination": str(arrival.destination),
            "files": arrival.files,
            "bytes": arrival.bytes,
            "completed": arrival.completed.isoformat(),
            "again": arrival.again,
        },
        "level": arrival.level.word if arrival.level else None,
        "manifest": {
            "algorithm": "sha256",
            "files": files,
            "known": known,
            "path": _made(folder / MANIFEST, arrival.completed),
        },
        "receipt": str(folder) if _made(folder / CRATE, arrival.completed) else None,
    }


def _experiment(one: Experiment) -> dict[str, Any]:
    return {"epn": one.epn.text, "beamline": one.beamline, "proposal": one.epn.proposal}


def _people(principal: Person | None, scientists: Sequence[Person]) -> dict[str, Any]:
    return {
        "principal": _person(principal) if principal else None,
        "scientists": [_person(one) for one in scientists],
    }


def _person(one: Person) -> dict[str, Any]:
    return {"name": one.name, "email": one.email}


def _made(path: Path, since: datetime) -> str | None:
    """The path, if a file there is of this copy: an older one says what an earlier one held."""
    try:
        fresh = path.stat().st_mtime >= since.timestamp() - 1
    except OSError:
        return None
    return str(path) if fresh else None


def arrival_message(
    channel: Channel, arrival: Arrival, document: Mapping[str, Any], now: datetime
) -> Message:
    """The message about a copy that was completed, for one channel."""
    one = arrival.experiment
    if channel.type != "notify":
        made = _for_program(channel, NewsKind.CAME_HOME, name_of(one), document, now)
        return replace(made, detail={"copy": arrival.copy_id})
    what = "has more at home" if arrival.again else "is at home"
    files = "" if arrival.files is None else f": {count(arrival.files, 'file')}"
    amount = "" if arrival.bytes is None else f", {size(arrival.bytes)}"
    level = arrival.level.word if arrival.level else "not known"
    text = f"{name_of(one)} {what}{files}{amount}; project {arrival.project}, proven: {level}"
    people = (
        [visit["principal"] for visit in document["experiment"]["visits"]] if channel.people else []
    )
    if people and people[-1]:
        text += f"; {escaped(people[-1]['name'])}"
    return _for_people(channel, NewsKind.CAME_HOME, text, now, together=True)


def condition_message(
    channel: Channel, condition: Condition, now: datetime, *, ended: bool = False
) -> Message:
    """The message that a condition holds, or with `ended` that it does no more."""
    people = condition.people if channel.people else ""
    text = f"{condition.text}; {people}" if people else condition.text
    if channel.type == "notify":
        return _for_people(channel, condition.kind, text, now)
    document = {
        "text": text,
        "holds": not ended,
        "experiment": _experiment(condition.experiment) if condition.experiment else None,
        "project": condition.project,
    }
    about = name_of(condition.experiment) if condition.experiment else condition.key
    return _for_program(channel, condition.kind, about, document, now)


def _for_people(
    channel: Channel, kind: NewsKind, text: str, now: datetime, *, together: bool = False
) -> Message:
    body = json.dumps({"text": text}).encode()
    wait = now + _TOGETHER if together else None
    return Message(channel.name, kind, "", now, body, _new_id(), wait)


def _for_program(
    channel: Channel, kind: NewsKind, subject: str, document: Mapping[str, Any], now: datetime
) -> Message:
    """As Standard Webhooks recommends: the type, the time, the data."""
    whole = {"type": kind.value, "timestamp": now.isoformat(), "data": document}
    return Message(channel.name, kind, subject, now, json.dumps(whole).encode(), _new_id())


def _new_id() -> str:
    return f"msg_{uuid4().hex}"


def text_for_people(messages: Sequence[WaitingMessage], now: datetime) -> tuple[str, str]:
    """Title and text of one message to people, about several things of one kind."""
    one, several = _TITLES[messages[0].kind]
    title = one if len(messages) == 1 else several.format(len(messages))
    lines = []
    for message in messages[:_NAMED]:
        said = str(json.loads(message.body)["text"])
        late = now - message.created > _OLD
        lines.append(f"{said} ({moment(message.created)})" if late else said)
    if len(messages) > _NAMED:
        lines.append(f"and {len(messages) - _NAMED:,} more: see `asynchy status`")
    return title, "\n".join(lines)
