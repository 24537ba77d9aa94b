"""Both sides of an experiment: what the facility has, what is at home, and what that lacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from asynchy.domain.attempt import Claim, Verdict
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment
from asynchy.domain.level import Level
from asynchy.domain.person import Person
from asynchy.domain.text import count, moment
from asynchy.domain.visit import Beamtime

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class AtHome:
    """A copy of an experiment, as the catalogue knows it."""

    id: int
    """Its number in the catalogue."""
    project: str
    destination: str
    completed: datetime | None
    """When it was last found complete; None: never, or files were found missing since."""
    listed: datetime | None
    """When the listing began that it was then held against."""
    doubted: bool
    """Whether files were found missing, or to differ from the facility's, once complete."""
    level: Level | None
    """The weakest level of its files; None where nothing is proven, or it is not known what."""
    damaged: int
    """Files in which something was found wrong."""
    files: int | None
    """Of the facility's latest listing for it."""
    bytes: int | None
    verdict: Verdict | None
    """Of the latest attempt; None where there was none, or it was found complete after it."""
    reason: str | None
    """Why that one did not complete it."""
    claim: Claim | None
    """A claim of a process that is alive."""

    def stands_since(self, level: Level | None) -> datetime | None:
        """When the facility was listed for what it holds, so proven; None: it holds no such."""
        sound = self.completed is not None and not self.doubted and not self.damaged
        return self.listed if sound and _unproven(self.level, level) is None else None


@dataclass(frozen=True)
class Standing:
    """An experiment, with all that the catalogue knows of it on both sides."""

    experiment: Experiment
    source: str
    """Its path at the facility; empty where it is not known."""
    seen: bool
    """Whether anybody has looked for it there; otherwise only the portal has told of it."""
    listed: datetime | None = None
    """When all of it was last listed there; None: never."""
    files: int | None = None
    """As it was last listed there; None where its files were never looked at."""
    bytes: int | None = None
    modified: datetime | None = None
    """The time of its latest file."""
    changed: datetime | None = None
    """When something new was last found in it."""
    vanished: datetime | None = None
    """When a walk no longer found it at the facility; None: it is there, as far as is known."""
    completed_elsewhere: bool = False
    """Whether the original program called it complete, without saying where."""
    copies: tuple[AtHome, ...] = ()
    beamtimes: tuple[Beamtime, ...] = ()
    """Its visits that are known, in order of their end."""

    @property
    def epn(self) -> Epn:
        """The EPN of the experiment."""
        return self.experiment.epn

    @property
    def principal(self) -> Person | None:
        """Who led its latest visit, where that is known."""
        told = [item.visit.principal for item in self.beamtimes if item.visit.principal]
        return told[-1] if told else None


def standings(seen: Iterable[Standing], beamtimes: Iterable[Beamtime]) -> list[Standing]:
    """Experiments with their visits, and those that only a visit tells of, in order of EPN.

    One that was seen below no beamline's folder has the visits of its EPN on any beamline. One that
    is known under two names, but lies in one place, is one.
    """
    known = _as_one(seen)
    places: defaultdict[Epn, list[Experiment]] = defaultdict(list)
    for experiment in known:
        places[experiment.epn].append(experiment)
    visits: defaultdict[Experiment, list[Beamtime]] = defaultdict(list)
    for item in beamtimes:
        experiment = Experiment(item.beamline, item.visit.epn)
        loose = [one for one in places[item.visit.epn] if not one.beamline]
        visits[loose[0] if experiment not in known and loose else experiment].append(item)
    found = [known.get(one, Standing(one, "", seen=False)) for one in sorted({*known, *visits})]
    return sorted(
        (
            replace(
                one,
                beamtimes=tuple(sorted(visits[one.experiment], key=lambda item: item.visit.end)),
            )
            for one in found
        ),
        key=lambda one: (one.epn, one.experiment.beamline),
    )


def _as_one(seen: Iterable[Standing]) -> dict[Experiment, Standing]:
    known: dict[Experiment, Standing] = {}
    by_place: dict[tuple[Epn, str], Experiment] = {}
    for one in sorted(seen, key=lambda item: item.experiment, reverse=True):  # "" comes last
        first = by_place.setdefault((one.epn, one.source or str(one.experiment)), one.experiment)
        known[first] = _merged(known[first], one) if first in known else one
    return known


def _merged(one: Standing, other: Standing) -> Standing:
    newer, older = (one, other) if _is_later(one.listed, other.listed) else (other, one)
    files = newer if newer.files is not None else older
    return replace(
        newer,
        experiment=one.experiment,
        files=files.files,
        bytes=files.bytes,
        modified=files.modified,
        changed=one.changed if _is_later(one.changed, other.changed) else other.changed,
        completed_elsewhere=one.completed_elsewhere or other.completed_elsewhere,
        copies=one.copies + other.copies,
    )


def _is_later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one >= other)


@dataclass(frozen=True)
class Asked:
    """What must hold of a copy, and who says what is to become of an experiment."""

    level: Level | None
    """What must be proven of every file; None: that it is complete is enough."""
    epn_cap_map: Mapping[str, str] | None = None
    """Proposal -> project; None where there is no such mapping, so that none is missing in it."""
    ignored: frozenset[str] = frozenset()
    """The EPNs in `ignore.yml`."""
    due: Mapping[str, str] | None = None
    """EPN -> why `mxsync` has left it undone, as it was last noted."""

    def project(self, one: Standing) -> str | None:
        """Whose an experiment is; None where nobody has said."""
        named = [copy.project for copy in one.copies if copy.project]
        mapped = (self.epn_cap_map or {}).get(one.epn.proposal)
        return mapped or (named[0] if named else None)

    def is_waved_through(self, one: Standing) -> bool:
        """Whether a person, or an original program, said that it needs no transfer, unproven.

        What was found to differ, or was completed here and has changed since, is due all the same.
        """
        ours = any(copy.completed or copy.doubted for copy in one.copies)
        return not ours and (one.completed_elsewhere or one.epn.text in self.ignored)

    def stands(self, one: Standing, now: datetime) -> tuple[AtHome | None, str | None]:
        """The copy that stands best for an experiment, and what it lacks; None: nothing."""
        lacks = [(copy, lack_of(one, copy, self.level, now)) for copy in one.copies]
        for copy, lack in lacks:
            if lack is None:
                return copy, None
        if lacks:  # of those that lack something, the one that was complete last
            copy, lack = max(lacks, key=lambda item: (item[0].completed or _NEVER, item[0].id))
            if copy.completed or copy.doubted or copy.verdict:
                return copy, lack
        return None, self._unfetched(one, now)

    def _unfetched(self, one: Standing, now: datetime) -> str:
        if self.is_waved_through(one):
            said = "an original's database" if one.completed_elsewhere else "ignore.yml"
            return f"{said} calls it fetched, and nothing proves it"
        if self.epn_cap_map is not None and one.epn.proposal not in self.epn_cap_map:
            return "belongs to no project"
        if any(copy.claim for copy in one.copies):
            return "it is being fetched"
        if any(item.visit.start <= now < item.visit.end for item in one.beamtimes):
            return "a visit is running"
        return (self.due or {}).get(one.epn.text, "never fetched")


def lack_of(one: Standing, copy: AtHome, level: Level | None, now: datetime) -> str | None:
    """Why a copy does not stand for all that the facility has, in words; None where it does.

    `level` must be proven of every file; None: that it is complete is enough.
    """
    if copy.doubted:
        return "files are missing, or differ from the facility's"
    if copy.completed is None or copy.listed is None:
        if copy.claim is not None:
            return "it is being fetched"
        return copy.reason or "not complete"
    if copy.damaged:
        return f"{count(copy.damaged, 'file')} damaged at home"
    newer = _newer(one, copy.listed, now)
    return newer or _unfinished(one, copy) or _unproven(copy.level, level)


def _newer(one: Standing, listed: datetime, now: datetime) -> str | None:
    """What the facility may have that it did not have when it was listed; None: nothing known."""
    for item in one.beamtimes:
        if item.visit.end > listed and item.visit.start <= now:
            ended = item.visit.end <= now
            return "a visit has ended since it was fetched" if ended else "a visit is running"
    if one.changed is not None and one.changed > listed:
        return f"changes were seen there {moment(one.changed)}"
    return None


def _unfinished(one: Standing, copy: AtHome) -> str | None:
    if one.vanished is not None:  # no attempt will ever end better
        return None
    if copy.verdict is None or copy.verdict is Verdict.COMPLETE:
        return None
    return f"the latest attempt: {copy.reason or copy.verdict.value}"


def _unproven(found: Level | None, wanted: Level | None) -> str | None:
    if wanted is None or (found is not None and found >= wanted):
        return None
    return f"complete, proven by {found} alone" if found else "complete, but not known how proven"
