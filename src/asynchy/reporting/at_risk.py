"""What the facility may delete before it is at home, and how many days are left for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from asynchy.config.field_types import ANY_BEAMLINE
from asynchy.model.copy_record import CopyRecord
from asynchy.model.experiment import Experiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.person import Person
from asynchy.model.safety import SafetyPolicy, safe_since, unexpected

_LATEST = datetime(9998, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class AtRisk:
    """An experiment that is not at home, or not proven to be."""

    experiment: Experiment
    source: str
    """Its path at the facility; empty if it is not known."""
    project: str | None
    """Whose it is; None: nobody has said."""
    principal: Person | None
    """Who led the visit; None if the portal has not told."""
    files: int | None
    """As last listed at the facility; None: it was never looked at."""
    bytes: int | None
    lack: str
    """Why it is not safe, as text for people."""
    visit_end: datetime | None
    """The end of the first visit of which something may not be at home; None: not known."""
    counted_from: datetime | None
    """That, or where it is not known the time of the latest file; None: not known either."""
    retention: int | None
    """Days for which the facility keeps it; None: not configured."""
    now: datetime

    @property
    def kept_until(self) -> datetime | None:
        """When the facility may delete it; None: not known."""
        if self.counted_from is None or self.retention is None:
            return None
        try:
            return self.counted_from + timedelta(days=self.retention)
        except OverflowError:
            return _LATEST

    @property
    def days_left(self) -> int | None:
        """Whole days until then, below zero once it is past; None: not known."""
        until = self.kept_until
        return None if until is None else (until - self.now).days

    @property
    def is_past(self) -> bool:
        """Whether the facility may have deleted it by now."""
        return (self.days_left or 0) < 0

    @property
    def about(self) -> bool:
        """Whether the days are counted from the latest file, for want of a visit."""
        return self.visit_end is None and self.counted_from is not None

    @property
    def unknown(self) -> str | None:
        """Why it is not known how many days are left, as text for people; None if it is."""
        if self.retention is None:
            where = self.experiment.beamline
            return f"no retention-days for {where}" if where else "no retention-days for it"
        return "end of visit not known" if self.counted_from is None else None


@dataclass(frozen=True)
class Risks:
    """What a report says."""

    items: tuple[AtRisk, ...]
    """Those past their time first, then by the days that are left, then those not known."""
    exempt: tuple[Experiment, ...] = ()
    """Left out: in `ignore.yml`, or complete by an original program, without a proof of ours."""
    released: tuple[Experiment, ...] = ()
    """Left out: a person has released them."""
    lost: tuple[ExperimentRecord, ...] = ()
    """Left out: no longer at the facility, and not whole at home."""

    @property
    def unknown(self) -> tuple[AtRisk, ...]:
        """Those of which it is not known how many days are left."""
        return tuple(item for item in self.items if item.days_left is None)

    @property
    def past(self) -> tuple[AtRisk, ...]:
        """Those that the facility may have deleted by now."""
        return tuple(item for item in self.items if item.is_past)

    def within(self, days: int) -> Risks:
        """Those that have at most so many days left, and those of which that is not known."""
        soon = [item for item in self.items if item.days_left is None or item.days_left <= days]
        return replace(self, items=tuple(soon))


def at_risk(
    standings: Iterable[ExperimentRecord],
    policy: SafetyPolicy,
    retention: Mapping[str, int],
    now: datetime,
    *,
    everything: bool = False,
) -> Risks:
    """What is at the facility and not, as asked, at home.

    Days are counted from the end of the first visit of which something may not be at home.
    `everything`: what was waved through, too.
    """
    items: list[AtRisk] = []
    exempt: list[Experiment] = []
    released: list[Experiment] = []
    lost: list[ExperimentRecord] = []
    for one in standings:
        try:
            copy, lack = policy.best_copy(one, now)
            if lack is None:
                continue
            waved = policy.is_exempt(one, now) and not everything
            if one.vanished is not None:
                _, lost_too = replace(policy, level=None).best_copy(one, now)
                if lost_too is not None and not waved:
                    lost.append(one)
            elif not one.seen and not any(item.visit.start <= now for item in one.beamtimes):
                continue  # nothing was measured yet
            elif waved:
                (released if one.is_released(now) else exempt).append(one.experiment)
            else:
                items.append(_risk(one, copy, lack, policy, retention, now))
        except Exception as error:  # noqa: BLE001 - it costs this experiment alone
            items.append(_risk(one, None, unexpected(error), policy, retention, now))
    items.sort(key=lambda item: (item.kept_until or _LATEST, -(item.bytes or 0), item.experiment))
    return Risks(
        items=tuple(items), exempt=tuple(exempt), released=tuple(released), lost=tuple(lost)
    )


def _risk(  # noqa: PLR0913, PLR0917 - all that is known
    one: ExperimentRecord,
    copy: CopyRecord | None,
    lack: str,
    policy: SafetyPolicy,
    retention: Mapping[str, int],
    now: datetime,
) -> AtRisk:
    end = _first_end(one, None if copy is None else safe_since(copy, policy.level))
    files, total = (one.files, one.bytes)
    if copy is not None and files is None:
        files, total = copy.files, copy.bytes
    return AtRisk(
        experiment=one.experiment,
        source=one.source,
        project=policy.project(one),
        principal=one.principal,
        files=files,
        bytes=total,
        lack=lack,
        visit_end=end,
        counted_from=end or one.modified,
        retention=retention.get(one.experiment.beamline, retention.get(ANY_BEAMLINE)),
        now=now,
    )


def _first_end(one: ExperimentRecord, fetched: datetime | None) -> datetime | None:
    """The end of the first visit of which something may not be at home."""
    ends = [item.visit.end for item in one.beamtimes]
    later = [end for end in ends if fetched is None or end > fetched]
    return next(iter(later or ends[-1:]), None)
