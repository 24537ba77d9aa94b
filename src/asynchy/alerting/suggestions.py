"""The project that an EPN probably belongs to, by the people who measured. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from asynchy.model.person import Person
from asynchy.model.visit import Visit


@dataclass(frozen=True)
class Suggestion:
    """The project that an EPN probably belongs to, and why."""

    project: str
    reason: str


class ProjectSuggestions:
    """Knows for which projects people have measured. People are identified by mail address."""

    def __init__(self, visits: Iterable[Visit], epn_cap_map: Mapping[str, str]) -> None:
        """`visits`: all known ones; those without a project in `epn_cap_map` are ignored."""
        self._projects = epn_cap_map
        self._led: dict[str, Visit] = {}
        """By principal scientist the latest visit."""
        self._projects_led: defaultdict[str, set[str]] = defaultdict(set)
        self._by_person: defaultdict[str, list[Visit]] = defaultdict(list)
        """By person the visits, the latest first."""
        known = (visit for visit in visits if visit.epn.proposal in epn_cap_map)
        for visit in sorted(known, key=lambda one: (one.start, one.epn), reverse=True):
            if visit.principal is not None and visit.principal.email:
                self._led.setdefault(_key(visit.principal), visit)
                self._projects_led[_key(visit.principal)].add(epn_cap_map[visit.epn.proposal])
            for person in {_key(one) for one in _all(visit) if one.email}:
                self._by_person[person].append(visit)

    def projects_led(self, principal: Person) -> list[str]:
        """The projects for which somebody was principal scientist, by name."""
        return sorted(self._projects_led.get(_key(principal), ()))

    def of(self, principal: Person | None, scientists: Iterable[Person]) -> Suggestion | None:
        """The project of the same principal scientist's latest visit; else of most of its people.

        None if nobody of it measured for a project that is known.
        """
        if principal is not None and (visit := self._led.get(_key(principal))) is not None:
            project = self._projects[visit.epn.proposal]
            reason = f"the same principal scientist as {visit.epn}, which belongs to {project}"
            return Suggestion(project, reason)
        shared: Counter[str] = Counter()
        example: dict[str, Visit] = {}
        for person in scientists:
            own_projects = self._by_person.get(_key(person), []) if person.email else []
            for visit in reversed(own_projects):
                example[self._projects[visit.epn.proposal]] = visit
            shared.update({self._projects[visit.epn.proposal] for visit in own_projects})
        if not shared:
            return None
        (project, number), *other_projects = shared.most_common(2)
        if other_projects and other_projects[0][1] == number:
            return None  # as good a guess as another
        people = "1 of its people" if number == 1 else f"{number} of its people"
        reason = f"{people} measured for {example[project].epn}, which belongs to {project}"
        return Suggestion(project, reason)


def _key(person: Person) -> str:
    """Names alone are shared by many."""
    return person.email.casefold()


def _all(visit: Visit) -> tuple[Person, ...]:
    return (*visit.scientists, *([visit.principal] if visit.principal else []))
