"""What is new becomes messages in the outbox, each stored with the note that it was told."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import datetime

from asynchy.catalogue import Catalogue
from asynchy.delivery.channels import Channel
from asynchy.delivery.documents import arrival_document, arrival_message, condition_message
from asynchy.model.news import Condition, NewsKind

ANSWERS_AGAIN = "can be asked again"


def collect_arrivals(catalogue: Catalogue, channels: Sequence[Channel], now: datetime) -> None:
    """Store messages about the copies that were completed since this was last called.

    Without channels, nobody is told of them later either.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    found, rest = catalogue.arrivals.new()
    catalogue.arrivals.pass_over(rest)
    for arrival in found:
        wanting = [one for one in channels if one.wants(NewsKind.CAME_HOME, arrival.project)]
        documents = {
            people: arrival_document(catalogue, arrival, people=people)
            for people in {one.people for one in wanting}
        }
        messages = [arrival_message(one, arrival, documents[one.people], now) for one in wanting]
        catalogue.arrivals.announce(arrival, messages)


def collect_conditions(
    catalogue: Catalogue,
    channels: Sequence[Channel],
    conditions: Iterable[Condition],
    now: datetime,
    kinds: Container[NewsKind] = tuple(NewsKind),
) -> None:
    """Store messages about the conditions that a channel was not told of yet.

    `conditions` are all that hold of these `kinds`. One that has ended and begins again is told
    again. That something can be asked again is told.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    holding = list(conditions)
    for channel in channels:
        mine = {(one.kind, one.key): one for one in holding if channel.wants(one.kind, one.project)}
        told = {one for one in catalogue.outbox.told(channel.name) if one[0] in kinds}
        begun = [one for key, one in mine.items() if key not in told]
        ended = told - mine.keys()
        again = [
            Condition(kind, key, f"{key} {ANSWERS_AGAIN}")
            for kind, key in sorted(ended, key=lambda one: one[1])
            if kind is NewsKind.UNREACHABLE
        ]
        if begun or ended:
            messages = [condition_message(channel, one, now) for one in begun]
            messages += [condition_message(channel, one, now, ended=True) for one in again]
            catalogue.outbox.tell(channel.name, messages, begun, ended, now)
