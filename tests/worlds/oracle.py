"""What must hold of a world, written from the text of the obligations, not from the code.

The text: every experiment that the portal told of or that is visible at the SFTP service stays an
obligation until it is complete at its destination, skipped by hand, or released by a person. It is
in exactly one state at a time. A cycle ends with 0 only if no obligation needs a person, and what
needs a person is named in the mail.

This module imports nothing of asynchy. It gets two things: what the facility answered and what a
transfer brought (the methods that end in -ed), and what asynchy said of it (`Said`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.worlds.facts import Arrival, Facts, Files, Finding, Known, Name, Said, StateSaid

AT_HOME, DUE, WAITING, UNOWNED = "AT_HOME", "DUE", "WAITING", "UNOWNED"
SKIPPED, RELEASED, OUTSIDE, GONE = "SKIPPED", "RELEASED", "OUTSIDE", "GONE"
STATES = frozenset({AT_HOME, DUE, WAITING, UNOWNED, SKIPPED, RELEASED, OUTSIDE, GONE})
CURRENT = timedelta(hours=1)
"""A visit that begins within this time counts as running."""


class Oracle:
    """Follows one world, day by day."""

    def __init__(self) -> None:
        self.known: dict[Name, Known] = {}
        self._whole_until: dict[int, datetime] = {}
        """By equipment, up to when the portal has answered a cycle without a gap."""
        self._gaps: list[str] = []
        self._mailed: set[str] = set()
        """The words of all mails."""
        self._once: set[str] = set()
        """EPNs that were once due though no visit was told, or of which a mail has asked."""
        self._undone: dict[Name, int] = {}
        """Since which day something has been due."""

    # What the facility answered, what was brought.

    def portal_answered(
        self,
        equipment: int,
        beamline: str,
        span: tuple[datetime, datetime] | None,
        visits: Iterable[tuple[str, str, datetime, datetime]],
    ) -> None:
        """The portal has told visits (number, EPN, start, end): all of a span, or some."""
        told = {(equipment, number): (epn, start, end) for number, epn, start, end in visits}
        for known in self.known.values() if span is not None else ():
            assert span is not None
            for key, (start, _) in known.visits.items():
                inside = span[0] <= start <= span[1]
                if key[0] == equipment and key not in told and inside:
                    known.doubtful.add(key)
        for key, (epn, start, end) in told.items():
            known = self.known.setdefault((beamline, epn), Known())
            known.visits[key] = (start, end)
            known.doubtful.discard(key)

    def cycle_asked(self, equipment: int, since: datetime, now: datetime) -> None:
        """A cycle has asked for all visits since a time, and was answered whole."""
        before = self._whole_until.get(equipment)
        if before is not None and since > before:
            self._gaps.append(
                f"equipment {equipment} since {since:%d %b}, not since {before:%d %b}"
            )
        self._whole_until[equipment] = max(now, before or now)

    def folder_listed(self, beamline: str, found: Mapping[str, bool], now: datetime) -> None:
        """The folder of a beamline was listed: EPNs, and whether each is a broken link."""
        for (of, epn), known in self.known.items():
            if of == beamline and epn not in found:
                known.visible = known.broken = False
        for epn, broken in found.items():
            known = self.known.setdefault((beamline, epn), Known())
            if not broken and (known.broken or not known.visible):
                known.found_again, known.compared = now, False
            known.visible = known.seen = True
            known.broken = broken

    def experiment_listed(self, name: Name, files: Files) -> None:
        """The files of an experiment were listed."""
        self.known[name].listed = files
        self.known[name].compared = True

    def fetched(self, name: Name, destination: str, arrival: Arrival) -> None:
        """All files of a listing were found at home, and the next listing was equal.

        Of a copy that was sure, it takes nothing away that nothing new could be called complete.
        """
        before = self.known[name].arrivals.get(destination)
        if (
            before is not None
            and before.sure
            and not arrival.sure
            and before.files == arrival.files
        ):
            arrival = replace(before, unfinished=True)
        self.known[name].arrivals[destination] = arrival

    def not_completed(self, name: Name, destination: str) -> None:
        """An attempt did not bring all."""
        arrivals = self.known[name].arrivals
        if destination in arrivals:
            arrivals[destination] = replace(arrivals[destination], unfinished=True)

    def asked_again(self, name: Name, destination: str) -> None:
        """A person wants a copy to be fetched again."""
        self.known[name].arrivals.pop(destination, None)

    def snapshot(self) -> object:
        """What a backup of the catalogue would know."""
        known = {name: known.copied() for name, known in self.known.items()}
        return known, dict(self._whole_until)

    def restored(self, snapshot: object) -> None:
        """The catalogue was restored from that backup."""
        assert isinstance(snapshot, tuple)
        known, whole_until = snapshot
        self.known = {name: one.copied() for name, one in known.items()}
        self._whole_until = dict(whole_until)
        self._undone.clear()

    # What asynchy said.

    def check_day(self, facts: Facts, said: Said) -> list[Finding]:
        """What is wrong with what was said today."""
        found = list(self._each_once(facts, said))
        gaps, self._gaps = self._gaps, []
        expected = "a question that reaches back to the last whole answer"
        found += [Finding(facts.day, "the portal", expected, gap) for gap in gaps]
        if facts.clock_right:
            for item in said.states:
                if item.name in self.known:
                    found += self._check(facts, item)
            found += self._check_mail(facts, said)
        found += self._check_exit(facts, said)
        self._remember(facts, said)
        return found

    def _remember(self, facts: Facts, said: Said) -> None:
        self._mailed.update(re.findall(r"\w+", said.mail or ""))
        self._once |= said.asked
        for name, home in facts.homes.items():
            known = self.known[name]
            lost = known.seen and not known.visible  # named as lost, so as due
            broken = known.broken and known.visible  # a person has to know of the link, so due
            if home.project is None or lost or broken or (facts.fetch_visible and known.visible):
                self._once.add(name[1])

    def _each_once(self, facts: Facts, said: Said) -> Iterable[Finding]:
        times = Counter(item.name for item in said.states)
        for name, known in self.known.items():
            may_be_forgotten = not known.seen and not any(known.certain())  # it was called off
            if times[name] != 1 and not (may_be_forgotten and not times[name]):
                yield Finding(facts.day, _shown(name), "one state", f"{times[name]} states")
        for item in said.states:
            if item.state not in STATES:
                yield Finding(facts.day, _shown(item.name), "one of eight states", item.state)

    def _check(self, facts: Facts, item: StateSaid) -> Iterable[Finding]:
        allowed, why = self.expected(facts, item.name)
        shown = _shown(item.name)
        if item.state not in allowed:
            expected = f"{' or '.join(sorted(allowed))}, because {why}"
            yield Finding(facts.day, shown, expected, f"{item.state} ({item.reason})")
        elif item.state == AT_HOME and not item.reason and not self._is_level(facts, item.name):
            yield Finding(facts.day, shown, "at which other place it is", item.state)

    def _check_exit(self, facts: Facts, said: Said) -> Iterable[Finding]:
        code = said.exit_code
        if code is None:
            return
        if not facts.whole:
            if code == 0:
                expected = "not 0: something could not be asked, or not understood"
                yield Finding(facts.day, "the cycle's exit code", expected, "0")
            return
        undone = [
            item
            for item in said.states
            if item.state in (DUE, UNOWNED) or item.needs_person or self._needs(facts, item.name)
        ]
        if undone and code == 0:
            names = ", ".join(f"{_shown(item.name)} ({item.state})" for item in undone)
            yield Finding(facts.day, "the cycle's exit code", f"not 0, because of {names}", "0")
        if not undone and code:
            yield Finding(facts.day, "the cycle's exit code", "0: nothing is undone", str(code))

    def _check_mail(self, facts: Facts, said: Said) -> Iterable[Finding]:
        self._note_undone(facts, said)
        if not facts.mail_taken:
            return
        mail = said.mail or ""
        if not (facts.portal_whole and facts.listed) and said.mail is None:
            yield Finding(facts.day, "the mail", "what could not be asked", "no mail")
        for item in said.states:
            late = facts.day - self._undone.get(item.name, facts.day) > facts.due_days + 1
            if not (late or item.needs_person or self._needs(facts, item.name)):
                continue
            if item.state == UNOWNED and facts.only_new and item.name[1] in self._mailed:
                continue
            home = facts.homes.get(item.name)
            place = home.folder if home is not None and home.folder else "no folder"
            if not any(word in mail for word in (item.name[1], place, item.reason or place)):
                what = "no mail" if said.mail is None else "a mail without it"
                expected = f"its name in the mail: {item.state} ({item.reason})"
                yield Finding(facts.day, _shown(item.name), expected, what)

    def _note_undone(self, facts: Facts, said: Said) -> None:
        undone = {item.name for item in said.states if item.state == DUE}
        for name in self._undone.keys() - undone:
            del self._undone[name]
        for name in undone:
            self._undone.setdefault(name, facts.day)

    # What is expected of one experiment.

    def expected(self, facts: Facts, name: Name) -> tuple[Collection[str], str]:
        """The states that an experiment may be in, and why."""
        known = self.known[name]
        if name[1] in facts.skipped:
            return {
                SKIPPED,
                *([RELEASED] if name in facts.released else []),
            }, "a person has entered it in ignore.yml"
        aside: dict[str, str] = {}
        for state, since in self._set_aside(facts, name):
            why = f"it was {state.lower()} on {since:%d %b}"
            if not self._may_have_newer(known, since):
                return {state}, why
            again = known.found_again is not None and since < known.found_again
            again &= state == RELEASED  # there were no data, or others
            if not again and not any(since < end <= facts.now for _, end in known.certain()):
                aside[state] = f"{why}, though something may be newer"
        allowed = aside | self._by_facts(facts, name)
        return allowed, "; ".join(f"{state}: {why}" for state, why in allowed.items())

    def _by_facts(self, facts: Facts, name: Name) -> dict[str, str]:
        known, home = self.known[name], facts.homes[name]
        allowed: dict[str, str] = {}
        if known.seen and not known.visible:
            allowed[GONE] = "it is gone from the facility"
            if self._has_returned(facts, name):
                allowed[DUE] = "and a visit has ended since it was fetched"
        must_wait = self.is_running(name, facts.now)
        more = must_wait or self._may_wait(facts, name) or name[1] in facts.removed
        more = more or not known.compared  # its folder is there again, and may have other files
        more = more or any(one.unfinished for one in known.arrivals.values())
        if home.project is None and (more or not self._is_elsewhere(facts, name)):
            allowed[UNOWNED] = "no project is known"
            if any(not self._holds_all(facts, name, one) for one in known.arrivals):
                allowed[DUE] = "its copy at home is lost"
        if must_wait:
            allowed[WAITING] = "a visit is running"
        elif self._may_wait(facts, name):
            allowed |= {WAITING: "its visit has not begun, or ended late", DUE: "others have ended"}
        return allowed if must_wait else self._by_copies(facts, name, allowed)

    def _has_returned(self, facts: Facts, name: Name) -> bool:
        arrivals = self.known[name].arrivals.values()
        ends = [end for _, end in self.known[name].certain() if end <= facts.now]
        return any(arrival.listed < end for arrival in arrivals for end in ends)

    def _by_copies(self, facts: Facts, name: Name, allowed: dict[str, str]) -> dict[str, str]:
        known = self.known[name]
        if known.broken and known.visible and known.arrivals:
            allowed[DUE] = "its folder is a broken link, which a person should know of"
        elif self._is_level(facts, name):
            allowed[AT_HOME] = "all of it is at home"
        elif self._is_elsewhere(facts, name):
            allowed |= {AT_HOME: "it is complete at another place", DUE: "but not where it belongs"}
        if self._is_looked_at_again(facts, name):
            allowed[DUE] = "it has to be looked at once more"
        arrived = facts.homes[name].destination in known.arrivals
        if not arrived and not facts.fetch_visible and not known.visits:
            if known.broken:
                allowed[DUE] = "its folder is a broken link, which a person should know of"
            else:
                allowed[OUTSIDE] = "it is visible, and no visit was told"
        if known.doubtful or name[1] in self._once or not allowed:
            allowed[DUE] = self._why_due(facts, name)
        return allowed

    def _set_aside(self, facts: Facts, name: Name) -> Iterable[tuple[str, datetime]]:
        """How a person, or the original program, has ended the obligation, and when."""
        if name in facts.released:
            yield RELEASED, facts.released[name]
        original = facts.originals.get(name[1])
        if original is not None and name[1] not in facts.removed and not self.known[name].arrivals:
            yield SKIPPED, original

    def _may_have_newer(self, known: Known, since: datetime) -> bool:
        """Whether something may have been measured or written after a time."""
        ends = any(end > since for _, end in known.visits.values())
        files = (known.listed or {}).values()
        again = known.found_again is not None and known.found_again > since
        return ends or again or any(when > since.timestamp() for _, when in files)

    def _needs(self, facts: Facts, name: Name) -> bool:
        """Whether nothing but a person can change what an experiment is in."""
        if name not in self.known or name[1] in facts.skipped:
            return False
        if any(self._set_aside(facts, name)):
            return False
        known, home = self.known[name], facts.homes[name]
        if self.is_running(name, facts.now) or self._may_wait(facts, name):
            return False
        if known.broken and known.visible and self._is_obligation(facts, known):
            return True
        if self._is_level(facts, name) or self._is_elsewhere(facts, name):
            return False
        if home.project is None:
            return True
        if known.seen and not known.visible:
            return not self._holds_all(facts, name, home.destination)
        return False

    def _is_level(self, facts: Facts, name: Name) -> bool:
        """Whether all of it is where it belongs, proven, and nothing newer is known to be there."""
        return self._is_level_at(facts, name, facts.homes[name].destination)

    def _is_level_at(self, facts: Facts, name: Name, destination: str) -> bool:
        known = self.known[name]
        arrival = known.arrivals.get(destination)
        if arrival is None or not arrival.sure or not self._holds_all(facts, name, destination):
            return False
        if known.visible and known.listed is not None and known.listed != arrival.files:
            return False
        return not any(
            start <= facts.now and arrival.listed < end <= facts.now
            for start, end in known.certain()
        )

    def _is_elsewhere(self, facts: Facts, name: Name) -> bool:
        return any(self._is_level_at(facts, name, one) for one in self.known[name].arrivals)

    def _holds_all(self, facts: Facts, name: Name, destination: str) -> bool:
        arrival, tree = self.known[name].arrivals.get(destination), facts.trees.get(destination)
        if arrival is None or tree is None or (arrival.files and not tree):
            return False
        if destination in facts.touched:
            return True  # nobody has read it since
        return all(tree.get(path) == what for path, what in arrival.files.items())

    def _is_looked_at_again(self, facts: Facts, name: Name) -> bool:
        """Once its folder is there again, after the second look's time, after a broken attempt, or because a person wants it."""
        known = self.known[name]
        if not known.compared:
            return True
        if name[1] in facts.removed or any(one.unfinished for one in known.arrivals.values()):
            return True
        return bool(facts.recheck) and any(
            arrival.listed - end < facts.recheck <= facts.now - end
            for arrival in known.arrivals.values()
            for end in [*(end for _, end in known.visits.values()), *_latest(arrival.files)]
        )

    def is_running(self, name: Name, now: datetime) -> bool:
        """Whether a visit of this EPN runs, on any equipment."""
        return any(
            start <= now + CURRENT and end >= now
            for (_, epn), known in self.known.items()
            if epn == name[1]
            for start, end in known.certain()
        )

    def _may_wait(self, facts: Facts, name: Name) -> bool:
        """Whether a visit of it has not begun, or has ended after another's began that runs."""
        now, mine = facts.now, self.known[name].visits.values()
        if any(start > now for start, _ in mine):
            return True
        # An answer without any visit calls nothing off: what it should have had may still run.
        of_epn = [known for (_, epn), known in self.known.items() if epn == name[1]]
        if any(start <= now <= end for known in of_epn for start, end in known.visits.values()):
            return True
        starts = [
            start
            for known in self.known.values()
            for start, end in known.visits.values()
            if start <= now + CURRENT and end >= now
        ]
        return bool(starts) and any(min(starts) <= end for _, end in mine)

    def _is_obligation(self, facts: Facts, known: Known) -> bool:
        return bool(known.visits) or bool(known.arrivals) or facts.fetch_visible

    def _why_due(self, facts: Facts, name: Name) -> str:
        home = facts.homes[name]
        arrival = self.known[name].arrivals.get(home.destination)
        if not home.mounted:
            return "the project's folder is not there"
        if arrival is None:
            return "it was never brought to where it belongs"
        if not self._holds_all(facts, name, home.destination):
            return "its copy at home is lost"
        return "something newer is known, or it could not be called complete"

    # What is expected after the quiet days.

    def check_end(
        self, facts: Facts, said: Said, facility: Mapping[Name, Files],
        exempt: Mapping[Name, Collection[str]],
    ) -> list[Finding]:  # fmt: skip
        """What is not at home though nothing was in its way for days.

        `facility`: what is truly there. `exempt`: files that changed later than anybody looks.
        """
        found: list[Finding] = []
        if not facts.portal_whole:  # it tells of no visit of a piece of equipment any more
            return found
        states = {item.name: item for item in said.states}
        for name, files in facility.items():
            item = states.get(name)
            if item is None:
                found.append(Finding(facts.day, _shown(name), "a state", "it is not known"))
            elif item.state == OUTSIDE:
                if name[1] not in said.notes:
                    found.append(Finding(facts.day, _shown(name), "to be named", said.notes))
            elif item.state not in (SKIPPED, RELEASED) and files:
                found += self._end_of(facts, item, files, exempt.get(name, ()))
        for name in self.known.keys() - facility.keys():
            item = states.get(name)
            if item is None:
                continue
            ended = item.state in (SKIPPED, RELEASED, GONE, AT_HOME) or item.needs_person
            if not ended and not self.known[name].visits:
                found.append(Finding(facts.day, _shown(name), "GONE", item.state))
        return found

    def _end_of(
        self, facts: Facts, item: StateSaid, files: Files, exempt: Collection[str]
    ) -> Iterable[Finding]:
        known = self.known[item.name]
        places = [facts.homes[item.name].destination, *known.arrivals]
        missing = min(
            (_missing(files, facts.trees.get(place) or {}, exempt) for place in places), key=len
        )
        touched = any(place in facts.touched for place in places)
        if item.state != AT_HOME:
            expected = "AT_HOME after the quiet days"
            yield Finding(facts.day, _shown(item.name), expected, f"{item.state} ({item.reason})")
        elif missing and not touched:
            text = f"at home without {', '.join(missing)}"
            yield Finding(facts.day, _shown(item.name), "all of it at home", text)


def _missing(files: Files, tree: Files, exempt: Collection[str]) -> list[str]:
    return [path for path, what in files.items() if path not in exempt and tree.get(path) != what]


def _latest(files: Files) -> Iterator[datetime]:
    """The time of the latest file: of an experiment without a visit it counts as its end."""
    if files:
        yield datetime.fromtimestamp(max(when for _, when in files.values()), UTC)


def _shown(name: Name) -> str:
    return f"{name[0]}/{name[1]}"
