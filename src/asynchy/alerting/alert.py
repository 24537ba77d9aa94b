"""epnalert: asks the facility and the portal, and mails people about data that waits."""

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
from asynchy.repatriation.visit_query import check_clock, check_emptiness, share_failures
from asynchy.repatriation.visits import store_visits
from asynchy.reporting.at_risk import AtRisk
from asynchy.reporting.conditions import conditions
from asynchy.reporting.reports import asked_level, risks
from asynchy.runtime.cycle_context import CycleContext
from asynchy.runtime.threads import all_at_once

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertDraft:
    """The findings, and the mail about them."""

    alert: Alert
    message: EmailMessage
    conditions: tuple[Condition, ...] = ()
    """The conditions for `notify` and `webhooks`."""


def draft_alert(
    context: CycleContext, alerts: Notifications, days: int, command: str
) -> AlertDraft:
    """Collect the findings for people, and write the mail; nothing is sent.

    Only the visits are stored, if we write.

    A failed request is a problem that the mail names.

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
    # If the entries of a missing file were stored, all entries would count as a person's tomorrow.
    may_store = lost is None and files.entries.has_list
    ignored = stored_entry_owners(context, files.entries, now, may_be_first=may_store)
    observation = observe_facility(context, answers, ignored, now)
    states = observation.states
    problems = [*observation.unlisted, *problems_of(answers)]
    if lost is not None:  # neither the copies at home nor the due times are known
        problems.append(f"{lost} ({lost.hint})")
    problems += (odd_row_problems := odd_rows(context.catalogue.address))
    long_visit_notes = long_visits(
        states, observation.policy, timedelta(days=settings.long_visit_days)
    )
    notes = (*sentences(overview_of(states), shrunk=False), *long_visit_notes)
    alert = Alert(
        unknown=_unknown(context, alerts, states, answers),
        overdue=overdue(states, settings.epnalert_due_days, now),
        problems=tuple(problems),
        at_risk=_at_risk(settings, observation.records, now),
        attention=(*_paused(context, now), *attention(states, now)),
        notes=notes,
        new_notes=not alerts.told_notes().issuperset(notes),
        state_lost=lost is not None or bool(odd_row_problems),
    )
    for problem in alert.problems:
        log.error("%s", problem)
    log.info(
        "%s visible, %s of %s in the last %d days; %s unknown (%d new), %d due for long, "
        "%d deleted there soon",
        count(sum(record.visible for record in observation.records), "experiment"),
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
    mail_context = MailContext(
        command, days, settings.epnalert_due_days, settings.epnalert_at_risk_days, now
    )
    active_conditions = conditions(states, alert.at_risk, now) if channels_of(settings) else ()
    return AlertDraft(alert, message_of(settings, alert, mail_context), tuple(active_conditions))


def notify_channels(context: CycleContext, draft: AlertDraft) -> list[str]:
    """Deliver messages to `notify` and `webhooks`; returns the failures, as text for people.

    Only the cycles of mxsync note since when the portal or the server cannot be reached.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
    """
    channels = channels_of(context.settings)
    if channels:
        now = context.clock.now()
        kinds = {kind for kind in NewsKind if kind is not NewsKind.UNREACHABLE}
        collect_conditions(context.catalogue, channels, draft.conditions, now, kinds)
    work = Delivery(context.settings, context.catalogue, context.stop)
    return deliver_messages(work, at_once=True)


def _paused(context: CycleContext, now: datetime) -> tuple[str, ...]:
    pause = context.catalogue.pauses.current(now)
    return () if pause is None else (pause.sentence,)


def deliver(
    context: CycleContext, alerts: Notifications, draft: AlertDraft, *, only_new: bool
) -> ExitCode:
    """Send the mail if there is something to report; otherwise a waiting mail is sent.

    It is stored first: a mail that the server does not take is sent by the next run, which replaces
    it if it has a newer one. Recipients that it refuses for now get it then.

    Raises:
        CatalogueError: the catalogue cannot be used.
        MailError: the mail server did not take it, or not for all recipients.
        Stopped: a stop was requested meanwhile; the mail is kept.
    """
    alert, now = draft.alert, context.clock.now()
    code = alert.exit_code
    pending = alerts.pending()
    replaces = alert.needs_answer or pending is None  # a mail of notes replaces none that waits
    # A mail that waits for some recipients has nothing that the others did not get.
    is_for_all = pending is not None and not is_for_the_rest(pending)
    if alert.anything and replaces and (is_for_all or not only_new or alert.is_news):
        epns = tuple(item.epn for item in alert.unknown)
        mail = PendingMail(now, as_stored(draft.message), epns, alert.notes)
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
    records_by_epn = unknown_epns(states)
    for answer in answers:
        for visit in answer.unreadable:
            if visit.epn is not None and visit.epn.proposal not in mapping:
                records_by_epn.setdefault(visit.epn, [])
    without_visits = [
        LocatedExperiment(record.experiment, record.source)
        for records in records_by_epn.values()
        if not any(record.beamtimes for record in records)
        for record in records
        if record.visible and is_usable(record.problem)
    ]
    infos = _infos(context, without_visits)
    reported, waiting = alerts.reported(), alerts.waiting()

    reported_visits = (visit for answer in answers for visit in answer.visits)
    suggestions = ProjectSuggestions(reported_visits, mapping)

    def item(epn: Epn, records: Sequence[ExperimentRecord]) -> Unknown:
        visits = [visit for record in records for visit in record.beamtimes]
        unknown_item = Unknown(
            epn=epn,
            beamlines=tuple(sorted({record.experiment.beamline for record in records})),
            beamtimes=tuple(
                sorted(visits, key=lambda beamtime: beamtime.visit.start, reverse=True)
            ),
            info=infos.get(epn),
            waiting=waiting.get(epn),
            suggestion=None,
            reported=reported.get(epn),
        )
        return replace(
            unknown_item, suggestion=suggestions.of(unknown_item.principal, unknown_item.scientists)
        )

    return tuple(item(epn, records) for epn, records in sorted(records_by_epn.items()))


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
    check_clock(entries, context.portal.clock_offset)
    check_emptiness(context, entries, now)
    share_failures(entries)
    return tuple(entry.as_answer() for entry in entries)


def _at_risk(
    settings: Settings, records: Sequence[ExperimentRecord], now: datetime
) -> tuple[AtRisk, ...]:
    """Experiments that the facility deletes soon; empty if the config has no deletion rule."""
    level = asked_level(settings)
    at_risk = risks(settings, level, now, records)
    items = at_risk.within(settings.epnalert_at_risk_days).items
    return tuple(item for item in items if item.days_left is not None)


def _infos(context: CycleContext, located: Iterable[LocatedExperiment]) -> dict[Epn, Info]:
    """The content of the files beside the data; empty if they cannot be read."""
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
