"""What epnalert does: look at the facility and the portal, and tell people whose data wait."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import EmailMessage

from asynchy.catalogue.notifications import Notifications, Pending
from asynchy.config import Settings
from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Experiment, Located
from asynchy.domain.experiment_record import ExperimentRecord
from asynchy.domain.info import FILES, LARGEST, Info, parse_info
from asynchy.domain.text import count
from asynchy.domain.visit import EquipmentVisits
from asynchy.errors import ConfigError, ExitCode, ListingError
from asynchy.facility.reading import read_files
from asynchy.notify.around import Around
from asynchy.plan.alert import Alert, Unknown, overdue, suggest, unknown_epns
from asynchy.plan.at_risk import AtRisk
from asynchy.plan.experiment_state import ExperimentState
from asynchy.plan.overview import attention, long_visits, overview_of, sentences
from asynchy.service.ask import doubt_clock
from asynchy.service.cycle_site import CycleSite
from asynchy.service.heard import Heard
from asynchy.service.lost_state import lost_error, read_state_files
from asynchy.service.mail import (
    as_stored,
    for_the_rest,
    hand_over,
    is_for_the_rest,
    message_of,
    refused_for_now,
)
from asynchy.service.planning import observe
from asynchy.service.reports import asked_level, risks, whose
from asynchy.service.tasks import all_at_once
from asynchy.service.visits import store_visits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Looked:
    """What was found out, and the mail about it."""

    alert: Alert
    message: EmailMessage


def look(site: CycleSite, alerts: Notifications, days: int, command: str) -> Looked:
    """Find out what people have to be told, and write the mail; nothing is sent.

    Nothing is stored but the visits, where we write.

    What cannot be asked is a problem that the mail tells.

    Raises:
        CatalogueError: the catalogue cannot be used.
        ConfigError: the config does not say from whom and to whom mails go.
        IgnoreListError: `ignore.yml` cannot be used.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh is not installed.
    """
    settings, now = site.settings, site.clock.now()
    _require_addresses(settings)
    files = read_state_files(settings, write=False)
    lost = lost_error(files)
    # What is noted of a file that is missing would make everything in it a person's tomorrow.
    store = site.catalogue.writing and lost is None
    ignored = whose(files.entries, site.catalogue, now, store=store)
    answers = _visits(site, now, days)
    store_visits(site, answers)
    seen = observe(site, answers, ignored, now)
    states = seen.states
    problems = [*seen.unlisted, *(answer.problem for answer in answers if answer.problem)]
    if lost is not None:  # what is at home, and since when something is due, is not known
        problems.append(f"{lost} ({lost.hint})")
    long = long_visits(states, seen.policy, timedelta(days=settings.long_visit_days))
    notes = tuple(sentences(overview_of(states), shrunk=False))
    alert = Alert(
        unknown=_unknown(site, alerts, states, answers),
        overdue=overdue(states, settings.epnalert_due_days, now),
        problems=tuple(problems),
        at_risk=_at_risk(settings, seen.records, now),
        attention=(*attention(states, now), *long),
        notes=notes,
        new_notes=not alerts.told_notes().issuperset(notes),
    )
    for problem in alert.problems:
        log.error("%s", problem)
    log.info(
        "%s visible, %s of %s in the last %d days; %s unknown (%d new), %d due for long, "
        "%d deleted there soon",
        count(sum(record.visible for record in seen.records), "experiment"),
        count(sum(len(answer.visits) for answer in answers), "visit"),
        count(len(answers), "equipment entry", "equipment entries"),
        days,
        count(len(alert.unknown), "EPN"),
        len(alert.new),
        len(alert.overdue),
        len(alert.at_risk),
    )
    for unknown_item in alert.unknown:
        log.info("unknown: %s (%s)", unknown_item.epn, ", ".join(unknown_item.beamlines) or "-")
    around = Around(command, days, settings.epnalert_due_days, settings.epnalert_at_risk_days, now)
    return Looked(alert, message_of(settings, alert, around))


def deliver(site: CycleSite, alerts: Notifications, looked: Looked, *, only_new: bool) -> ExitCode:
    """Hand the mail over where there is something to say; a mail that waits goes before silence.

    It is stored first: a mail that the server does not take goes with the next run, which puts a
    newer one in its place if it has one. Recipients whom it refuses for now get theirs then.

    Raises:
        CatalogueError: the catalogue cannot be used.
        MailError: the mail server did not take it, or not for all recipients.
        Stopped: a stop was asked for meanwhile; the mail is kept.
    """
    alert, now = looked.alert, site.clock.now()
    code = ExitCode.UNASKED if alert.problems else ExitCode.OK
    pending = alerts.pending()
    replaces = alert.needs_answer or pending is None  # notes alone let a mail that waits go first
    # What waits for some recipients alone says nothing that the others were not told.
    whole = pending is not None and not is_for_the_rest(pending)
    made = False
    if alert.anything and replaces and (whole or not only_new or alert.is_news):
        made = True
        epns = tuple(item.epn for item in alert.unknown)
        pending = Pending(now, as_stored(looked.message), epns)
        alerts.keep(pending)
    if pending is None:
        log.info("nothing to tell" if not alert.anything else "nothing new to tell")
        return code
    refused = hand_over(site, pending)
    alerts.taken(pending, now)
    if made:
        alerts.tell_notes(alert.notes)
    if rest := for_the_rest(pending, refused):
        alerts.keep(rest)
        raise refused_for_now(site.settings, refused)
    return code


def _require_addresses(settings: Settings) -> None:
    keys = {
        "epnalert-email-to": settings.epnalert_email_to,
        "epnalert-email-from": settings.epnalert_email_from,
        "epnalert-email-smtp": settings.epnalert_email_smtp,
    }
    missing = [key for key, value in keys.items() if not value]
    if missing:
        raise ConfigError(
            f"the config does not have {', '.join(missing)}",
            hint="epnalert needs to know from whom, to whom and by which server mails go",
        )


def _unknown(
    site: CycleSite,
    alerts: Notifications,
    states: Sequence[ExperimentState],
    answers: Sequence[EquipmentVisits],
) -> tuple[Unknown, ...]:
    """The EPNs of no project, with all that is known of them."""
    mapping = site.settings.epn_cap_map
    found = unknown_epns(states)
    for answer in answers:
        for visit in answer.unreadable:
            if visit.epn is not None and visit.epn.proposal not in mapping:
                found.setdefault(visit.epn, [])
    silent = [
        Located(record.experiment, record.source)
        for records in found.values()
        if not any(record.beamtimes for record in records)
        for record in records
        if record.visible and record.problem is None
    ]
    infos = _infos(site, silent)
    reported, waiting = alerts.reported(), alerts.waiting()

    def item(epn: Epn, records: Sequence[ExperimentRecord]) -> Unknown:
        visits = [visit for record in records for visit in record.beamtimes]
        told = Unknown(
            epn=epn,
            beamlines=tuple(sorted({record.experiment.beamline for record in records})),
            beamtimes=tuple(sorted(visits, key=lambda one: one.visit.start, reverse=True)),
            info=infos.get(epn),
            waiting=waiting.get(epn),
            suggestion=None,
            reported=reported.get(epn),
        )
        suggestion = suggest(told.principal, told.scientists, answers, mapping)
        return replace(told, suggestion=suggestion)

    return tuple(item(epn, records) for epn, records in sorted(found.items()))


def _visits(site: CycleSite, now: datetime, days: int) -> tuple[EquipmentVisits, ...]:
    settings = site.settings
    entries = [
        Heard(entry, settings.beamline_of(entry), since=now, until=now)
        for entry in settings.equipment
    ]
    since = now - timedelta(days=days)

    def task(entry: Heard) -> Callable[[], None]:
        return lambda: entry.reach_back(site.portal, since)

    all_at_once([task(entry) for entry in entries], site.stop, site.board.beat)
    doubt_clock(entries, site.portal.clock_offset)
    return tuple(entry.told() for entry in entries)


def _at_risk(
    settings: Settings, records: Sequence[ExperimentRecord], now: datetime
) -> tuple[AtRisk, ...]:
    """What the facility deletes soon; nothing where the config does not say when it does."""
    level = asked_level(settings)
    found = risks(settings, level, now, records)
    soon = found.within(settings.epnalert_at_risk_days).items
    return tuple(item for item in soon if item.days_left is not None)


def _infos(site: CycleSite, located: Iterable[Located]) -> dict[Epn, Info]:
    """What the files beside the data say; nothing where they cannot be read."""
    paths = {
        f"{item.source}/".encode() + name: item.experiment
        for item in located
        for name in reversed(FILES)
    }
    if not paths:
        return {}
    try:
        files = read_files(site.remote, paths, LARGEST, site.stop)
    except ListingError as error:
        log.warning("no .info could be read: %s", error)
        return {}
    return dict(_understood(paths, files))


def _understood(
    paths: dict[bytes, Experiment], files: dict[bytes, bytes]
) -> Iterable[tuple[Epn, Info]]:
    for path, experiment in paths.items():  # frames/.info comes last, and counts
        info = parse_info(files[path]) if path in files else None
        if info is not None:
            yield experiment.epn, info
