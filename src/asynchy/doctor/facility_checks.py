"""Whether the facility can be asked: its portal, and its server."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from asynchy.config import EquipmentEntry
from asynchy.engines.selection import choose
from asynchy.errors import AsynchyError, CommandsNotOffered, SftpNotOffered
from asynchy.facility.lister import list_experiment
from asynchy.facility.portal.visit_window import VisitWindow, credentials_of
from asynchy.model.clock import apart, is_wrong
from asynchy.model.diagnostic_result import DiagnosticResult, skipped
from asynchy.model.formatting import count
from asynchy.model.policy import CURRENT
from asynchy.runtime.context import RunContext
from asynchy.runtime.cycle_context import CycleContext
from asynchy.ssh import capabilities
from asynchy.ssh.rsync import runner

_PAST_DAYS = 366
"""Equipment that had no visit for that long is probably named by a wrong id."""


def portal_entry(
    context: CycleContext, entry: EquipmentEntry, faults: dict[str, int]
) -> DiagnosticResult:
    """Whether the portal answers for an entry; `faults`: those that were found, and for which."""
    subject = f"portal, equipment {entry.id}"
    now = datetime.now(UTC)
    window = VisitWindow(
        entry, context.settings.beamline_of(entry), since=now + CURRENT, until=now + CURRENT
    )
    window.reach_back(context.portal, now)
    if window.fault in faults:
        return skipped(subject, f"the same fault as for equipment {faults[window.fault]}")
    if window.fault is not None:
        faults[window.fault] = entry.id
    if window.problem:
        results = window.problem.removeprefix(f"equipment {entry.id}: ")
        to_do = "check `base-url` and this entry of `equipment`; then ask the facility"
        return DiagnosticResult(subject, False, results, to_do)
    past = now - timedelta(days=_PAST_DAYS)
    if not window.visits and not context.portal.has_visits(
        credentials_of(entry), entry.id, past, now
    ):
        never = f"credentials accepted, but no visit in the last {_PAST_DAYS} days"
        return DiagnosticResult(
            subject, True, never, "check that it is the id of your beamline's equipment"
        )
    return DiagnosticResult(
        subject, True, f"credentials accepted, {count(len(window.visits), 'current visit')}"
    )


def clock(context: CycleContext) -> DiagnosticResult:
    """Whether the portal's clock and ours agree."""
    offset = context.portal.clock_offset
    if offset is None:
        return skipped("clock", "the portal did not report its time")
    to_do = None if not is_wrong(offset) else "have this machine's clock set (chrony, ntpd)"
    return DiagnosticResult("clock", not is_wrong(offset), apart(offset), to_do)


_SFTP = "SFTP service"


def server(context: RunContext, folders: Iterable[str]) -> Iterator[DiagnosticResult]:
    """Checks the server's features that the engine in use needs; a fault is named once."""
    if shutil.which("ssh") is None:
        yield skipped(f"{_SFTP}, {context.remote.host}", "ssh is not installed")
        return
    faults: dict[str, str] = {}
    for finding in _server_findings(context, list(folders)):
        if not finding.good and finding.found in faults:
            yield skipped(finding.what, f"the same fault as of {faults[finding.found]}")
            continue
        yield finding
        if not finding.good:
            is_sftp = finding.what.startswith(_SFTP)
            faults[finding.found] = f"the {_SFTP}" if is_sftp else finding.what


def _server_findings(context: RunContext, folders: Sequence[str]) -> Iterator[DiagnosticResult]:
    remote = context.remote
    subject = f"{_SFTP}, {remote.user} at {remote.host}"
    offers_sftp = True
    try:
        service = capabilities.sftp(remote)
    except SftpNotOffered as error:
        offers_sftp = False
        yield _without_sftp(subject, context.transfer_options.engine, error)
    except AsynchyError as error:
        yield DiagnosticResult(subject, False, _without_host(context, error), error.hint)
    else:
        results = f"host key and key accepted, version {service.version}"
        yield DiagnosticResult(subject, True, results)
        yield DiagnosticResult("round trip", True, f"{service.round_trip * 1000:.1f} ms")
    yield _rsync(context, folders[0], offers_sftp=offers_sftp)
    for folder in folders:
        yield _source(context, folder)


def _without_sftp(subject: str, engine: str, error: SftpNotOffered) -> DiagnosticResult:
    if engine == "sftp":
        return DiagnosticResult(
            subject, False, str(error), "use `engine: auto`, or ask the facility for SFTP"
        )
    return DiagnosticResult(subject, True, f"{error}; rsync takes its place")


def _rsync(context: RunContext, folder: str, *, offers_sftp: bool) -> DiagnosticResult:
    """Whether the server's rsync can be used, if it will be."""
    subject = "rsync there"
    engine, chosen = choose(context.transfer_options, offers_sftp=offers_sftp)
    try:
        version = capabilities.rsync_version(context.remote)
        if version is None and engine == "rsync":  # the key may be for rsync alone: rrsync(1)
            runner.list_tree(context.remote, folder, lambda _entry: None, context.stop, deep=False)
    except CommandsNotOffered as error:
        if engine == "sftp":
            return DiagnosticResult(subject, True, f"{error}; not needed: {chosen}")
        return DiagnosticResult(subject, False, f"{error} ({chosen})", error.hint)
    except AsynchyError as error:
        return DiagnosticResult(subject, False, _without_host(context, error), error.hint)
    return DiagnosticResult(subject, True, version or "does not report its version")


def _source(context: RunContext, folder: str) -> DiagnosticResult:
    """List a folder that holds experiments, one level deep."""
    names: list[bytes] = []
    subject = f"source {folder}"
    try:
        list_experiment(
            context.session,
            folder,
            lambda entry: names.append(entry.path),
            context.stop,
            deep=False,
        )
    except AsynchyError as error:
        return DiagnosticResult(subject, False, _without_host(context, error), error.hint)
    return DiagnosticResult(subject, True, count(max(0, len(names) - 1), "entry", "entries"))


def _without_host(context: RunContext, error: AsynchyError) -> str:
    return error.message.removeprefix(f"{context.remote.host}: ")
