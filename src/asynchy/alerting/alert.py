"""What epnalert does: look at the facility and the portal, and tell people whose data wait."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import EmailMessage

from asynchy.alerting.content import Alert, Unknown, overdue, unknown_epns
from asynchy.alerting.mail import message_of, require_addresses
from asynchy.alerting.mail_context import MailContext
from asynchy.alerting.suggestions import ProjectSuggestions
from asynchy.catalogue.notifications import Notifications, PendingMail
from asynchy.catalogue.odd_rows import odd_rows
from asynchy.config import Settings
from asynchy.delivery.channels import channels_of
from asynchy.delivery.collect import collect_conditions
from asynchy.delivery.deliver import Delivery, deliver_messages
from asynchy.delivery.mail import as_stored, deliver_mail, is_for_the_rest
from asynchy.errors import ExitCode, ListingError
from asynchy.facility.portal.visit_window import VisitWindow
from asynchy.facility.small_files import read_files
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment, LocatedExperiment
from asynchy.model.experiment_record import ExperimentRecord
from asynchy.model.experiment_state import ExperimentState
from asynchy.model.formatting import count
from asynchy.model.info_file import FILES, MAX_INFO_BYTES, Info, parse_info
from asynchy.model.news import Condition, NewsKind
from asynchy.model.observed import is_usable
from asynchy.model.plan_overview import attention, long_visits, overview_of, sentences
from asynchy.model.visit import EquipmentVisits, problems_of
from asynchy.repatriation.cycle_planner import observe_facility, stored_entry_owners
from asynchy.repatriation.lost_state import lost_error, read_state_files
from asynchy.repatriation.visit_query import doubt_clock, doubt_emptiness, name_together
from asynchy.repatriation.visits import store_visits
from asynchy.reporting.at_risk import AtRisk
from asynchy.reporting.conditions import conditions
from asynchy.reporting.reports import asked_level, risks
from asynchy.runtime.cycle_context import CycleContext
from asynchy.runtime.threads import all_at_once

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertDraft:
    """What was found out, and the mail about it."""

    alert: Alert
    message: EmailMessage
    conditions: tuple[Condition, ...] = ()
    """What `notify` and `webhooks` are told."""


def draft_alert(
    context: CycleContext, alerts: Notifications, days: int, command: str
) -> AlertDraft:
    """Find out what people have to be told, and write the mail; nothing is sent.

    Nothing is stored but the visits, where we write.

    What cannot be asked is a problem that the mail tells.

    Raises:
        CatalogueError: the catalogue cannot be used.
        ConfigError: the config does not say from whom and to whom mails go.
        IgnoreListError: `ignore.yml` cannot be used.
        Stopped: a stop was requested meanwhile.
        ToolMissing: ssh is not installed.
    """
    settings, now = context.settings, context.clock.now()
    require_addresses(settings)
    files = read_state_files(settings, write=False)
    lost = lost_error(files)
    answers = _visits(context, now, days)
    store_visits(context, answers)
    # What is noted of a file that is not there would make everything in it a person's tomorrow.
    first = lost is None and files.entries.has_list
    ignored = stored_entry_owners(context, files.entries, now, first=first)
    seen = observe_facility(context, answers, ignored, now)
    states = seen.states
    problems = [*seen.unlisted, *problems_of(answers)]
    if lost is not None:  # what is at home, and since when something is due, is not known
        problems.append(f"{lost} ({lost.hint})")
    problems += (odd := odd_rows(context.catalogue.path))
    long = long_visits(states, seen.policy, timedelta(days=settings.long_visit_days))
    notes = (*sentences(overview_of(states), shrunk=False), *long)
    alert = Alert(
        unknown=_unknown(context, alerts, states, answers),
        overdue=overdue(states, settings.epnalert_due_days, now),
        problems=tuple(problems),
        at_risk=_at_risk(settings, seen.records, now),
        attention=(*_paused(context, now), *attention(states, now)),
        notes=notes,
        new_notes=not alerts.told_notes().issuperset(notes),
        state_lost=lost is not None or bool(odd),
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
    around = MailContext(
        command, days, settings.epnalert_due_days, settings.epnalert_at_risk_days, now
    )
    holding = conditions(states, alert.at_risk, now) if channels_of(settings) else ()
    return AlertDraft(alert, message_of(settings, alert, around), tuple(holding))


def tell_others(context: CycleContext, looked: AlertDraft) -> list[str]:
    """Deliver what `notify` and `webhooks` have to be told; why some was not, for people.

    Since when the portal or the server cannot be asked is noted by the cycles of mxsync alone.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
    """
    channels = channels_of(context.settings)
    if channels:
        now = context.clock.now()
        kinds = {kind for kind in NewsKind if kind is not NewsKind.UNREACHABLE}
        collect_conditions(context.catalogue, channels, looked.conditions, now, kinds)
    work = Delivery(context.settings, context.catalogue, context.stop)
    return deliver_messages(work, at_once=True)


def _paused(context: CycleContext, now: datetime) -> tuple[str, ...]:
    pause = context.catalogue.pauses.current(now)
    return () if pause is None else (pause.sentence,)


def deliver(
    context: CycleContext, alerts: Notifications, looked: AlertDraft, *, only_new: bool
) -> ExitCode:
    """Hand the mail over where there is something to say; a mail that waits goes before silence.

    It is stored first: a mail that the server does not take goes with the next run, which puts a
    newer one in its place if it has one. Recipients whom it refuses for now get theirs then.

    Raises:
        CatalogueError: the catalogue cannot be used.
        MailError: the mail server did not take it, or not for all recipients.
        Stopped: a stop was requested meanwhile; the mail is kept.
    """
    alert, now = looked.alert, context.clock.now()
    code = alert.exit_code
    pending = alerts.pending()
    replaces = alert.needs_answer or pending is None  # notes alone let a mail that waits go first
    # What waits for some recipients alone says nothing that the others were not told.
    whole = pending is not None and not is_for_the_rest(pending)
    if alert.anything and replaces and (whole or not only_new or alert.is_news):
        epns = tuple(item.epn for item in alert.unknown)
        mail = PendingMail(now, as_stored(looked.message), epns, alert.notes)
        pending = alerts.keep(mail)
    if pending is None:
        log.info("nothing to report" if not alert.anything else "nothing new to report")
        return code
    deliver_mail(context.settings, alerts, pending, context.stop)
    return code


def _unknown(
    context: CycleContext,
    alerts: Notifications,
    states: Sequence[ExperimentState],
    answers: Sequence[EquipmentVisits],
) -> tuple[Unknown, ...]:
    """The EPNs of no project, with all that is known of them."""
    mapping = context.settings.epn_cap_map
    found = unknown_epns(states)
    for answer in answers:
        for visit in answer.unreadable:
            if visit.epn is not None and visit.epn.proposal not in mapping:
                found.setdefault(visit.epn, [])
    silent = [
        LocatedExperiment(record.experiment, record.source)
        for records in found.values()
        if not any(record.beamtimes for record in records)
        for record in records
        if record.visible and is_usable(record.problem)
    ]
    infos = _infos(context, silent)
    reported, waiting = alerts.reported(), alerts.waiting()

    told_visits = (visit for answer in answers for visit in answer.visits)
    suggestions = ProjectSuggestions(told_visits, mapping)

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
        return replace(told, suggestion=suggestions.of(told.principal, told.scientists))

    return tuple(item(epn, records) for epn, records in sorted(found.items()))


def _visits(context: CycleContext, now: datetime, days: int) -> tuple[EquipmentVisits, ...]:
    settings = context.settings
    entries = [
        VisitWindow(entry, settings.beamline_of(entry), since=now, until=now)
        for entry in settings.equipment
    ]
    since = now - timedelta(days=days)

    def task(entry: VisitWindow) -> Callable[[], None]:
        return lambda: entry.reach_back(context.portal, since)

    all_at_once([task(entry) for entry in entries], context.stop, context.board.beat)
    doubt_clock(entries, context.portal.clock_offset)
    doubt_emptiness(context, entries, now)
    name_together(entries)
    return tuple(entry.as_answer() for entry in entries)


def _at_risk(
    settings: Settings, records: Sequence[ExperimentRecord], now: datetime
) -> tuple[AtRisk, ...]:
    """What the facility deletes soon; nothing if the config does not say when it does."""
    level = asked_level(settings)
    found = risks(settings, level, now, records)
    soon = found.within(settings.epnalert_at_risk_days).items
    return tuple(item for item in soon if item.days_left is not None)


def _infos(context: CycleContext, located: Iterable[LocatedExperiment]) -> dict[Epn, Info]:
    """What the files beside the data say; nothing if they cannot be read."""
    paths = {
        f"{item.source}/".encode() + name: item.experiment
        for item in located
        for name in reversed(FILES)
    }
    if not paths:
        return {}
    try:
        files = read_files(context.session, paths, MAX_INFO_BYTES, context.stop)
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
