"""Everything that must be right before the first cycle, or the first walk, tried for real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from asynchy.alerting.mail import lacking_addresses
from asynchy.config import Settings, Shared
from asynchy.config.file_access import reachable
from asynchy.delivery.checks import channel_problems
from asynchy.delivery.mail import mail_server
from asynchy.delivery.smtp import try_server
from asynchy.doctor.cluster_checks import cluster
from asynchy.doctor.facility_checks import clock, portal_entry, server
from asynchy.doctor.home_checks import catalogue_file, destination, ignore_file, logs, state_space
from asynchy.doctor.leftovers import leftovers
from asynchy.errors import AlreadyRunning, AsynchyError, CatalogueError, MailError
from asynchy.model.cancellation import Stop
from asynchy.model.diagnostic_result import DiagnosticResult, failed, skipped
from asynchy.model.formatting import count, moment
from asynchy.model.news import ACTIVITY_MAIL, MAIL
from asynchy.model.pause import HOW_TO_END
from asynchy.repatriation.lost_state import lost_error, read_state_files
from asynchy.runtime.context import RunContext, run_context
from asynchy.runtime.cycle_context import CycleContext, cycle_context
from asynchy.runtime.instance_lock import instance_lock, lock_file
from asynchy.runtime.progress import ProgressBoard
from asynchy.ssh import capabilities
from asynchy.ssh.rsync.output import known_holes

_AT_ONCE = {
    MAIL: "`epnalert` tries it at once",
    ACTIVITY_MAIL: "`asynchy report activity --mail --if-needed` tries it at once",
}
_PATIENCE = 15.0
"""Seconds that the mail server may be silent."""
_TEST = "`asynchy notify test` tries it at once"


def examine(settings: Shared) -> Iterator[DiagnosticResult]:
    """Try everything that the config is for, one after the other; nothing of it stays.

    A whole `config.yml` is for cycles of mxsync, another layout for as-walker and `asynchy sync`.
    """
    yield from leftovers(settings.destination_root_path if isinstance(settings, Settings) else None)
    try:
        if isinstance(settings, Settings):
            yield from _examine_cycle(settings)
        else:
            yield from _examine_walk(settings)
    except AsynchyError as error:
        yield failed("state", error)


def _examine_walk(settings: Shared) -> Iterator[DiagnosticResult]:
    yield from _programs()
    yield from logs(settings)
    yield from state_space(settings)
    unusable = list(catalogue_file(settings))
    yield from unusable
    context = run_context(settings, Stop(), ProgressBoard(), write=False)
    yield from server(context, [settings.walk_root])
    yield from cluster(settings)
    if not unusable:
        yield _catalogue(context)
    yield _service(settings)


def _examine_cycle(settings: Settings) -> Iterator[DiagnosticResult]:
    yield from _programs()
    yield from ignore_file(settings)
    yield from logs(settings)
    yield from state_space(settings)
    unusable = list(catalogue_file(settings))
    yield from unusable
    try:
        context = cycle_context(settings, Stop(), ProgressBoard(), write=False)
    except CatalogueError as error:
        yield failed("catalogue", error)
        for summary in ("portal", "SFTP service", "state"):
            yield skipped(summary, "the catalogue cannot be used")
        yield from destination(settings)
    else:
        faults: dict[str, int] = {}
        for entry in settings.equipment:
            yield portal_entry(context, entry, faults)
        yield clock(context)
        yield from server(context, settings.source_folders)
        yield from destination(settings)
        yield from cluster(settings)
        if not unusable:
            yield _catalogue(context)
        yield from _channels(context)
        yield from _lost(settings)
        yield from _pause(context)
    yield from _unset(settings)
    yield _service(settings)


def _programs() -> Iterator[DiagnosticResult]:
    for name, version in zip(("rsync", "ssh"), capabilities.own_versions(), strict=True):
        to_do = None if version else f"install the package that has {name}"
        if version and name == "rsync" and (holes := known_holes(version)):
            to_do = f"it {capabilities.may_have(holes)}"
        yield DiagnosticResult(
            f"{name} here", version is not None, version or "not installed", to_do
        )


def _unset(settings: Settings) -> Iterator[DiagnosticResult]:
    """Keys without which a cycle runs, and something that people expect does not happen."""
    if not settings.epn_cap_map:
        yield DiagnosticResult(
            "epn_cap_map",
            True,
            "empty, so nothing is fetched",
            "`asynchy map add PROPOSAL PROJECT` gives a proposal to a project",
        )
    if not settings.retention_days:
        yield DiagnosticResult(
            "retention-days",
            True,
            "not set, so nobody is warned before the facility deletes",
            "ask the facility for how many days it keeps data, and set it",
        )
    lacking = lacking_addresses(settings)
    if not lacking:
        yield _mail(settings)
    else:
        yield DiagnosticResult(
            "mail",
            True,
            f"{', '.join(lacking)} not set, so epnalert sends no mail",
            "set them, so that people get a mail about EPNs without a project",
        )


def _mail(settings: Settings) -> DiagnosticResult:
    """Whether the mail server would take a mail; none is sent."""
    server = mail_server(settings)
    server = replace(server, timeout=min(server.timeout, _PATIENCE))
    try:
        try_server(server)
    except MailError as error:
        return failed("mail server", error)
    how = {"none": "without TLS", "starttls": "with STARTTLS", "tls": "with TLS"}[server.security]
    login = f"logged in as {server.user}" if server.user else "without log-in"
    return DiagnosticResult("mail server", True, f"{server} answers {how}, {login}; no mail sent")


def _catalogue(context: RunContext) -> DiagnosticResult:
    schema_version = count(len(context.catalogue.overview.copies()), "copy", "copies")
    return DiagnosticResult(
        "catalogue", True, f"{context.catalogue.address}, {schema_version} known"
    )


def _channels(context: CycleContext) -> Iterator[DiagnosticResult]:
    """Whether the channels can be used, and the number of messages waiting for them."""
    problems = channel_problems(context.settings)
    for channel in problems:
        yield DiagnosticResult(channel.what, False, channel.found, channel.to_do)
    waiting = context.catalogue.outbox.waiting()
    for name in sorted({channel.channel for channel in waiting}):
        own_channels = [channel for channel in waiting if channel.channel == name]
        failing = [channel for channel in own_channels if channel.failing_since is not None]
        number = count(len(own_channels), "message waits", "messages wait")
        if failing and failing[0].failing_since is not None:
            since = moment(failing[0].failing_since)
            results = f"{number}; it fails since {since}: {failing[0].error or ''}"
            yield DiagnosticResult(name, False, results, _AT_ONCE.get(name, _TEST))
        else:
            yield DiagnosticResult(name, True, number)


def _pause(context: CycleContext) -> Iterator[DiagnosticResult]:
    if (pause := context.catalogue.pauses.current(datetime.now(UTC))) is not None:
        yield DiagnosticResult("pause", False, f"mxsync is {pause}", HOW_TO_END)


def _lost(settings: Settings) -> Iterator[DiagnosticResult]:
    """Whether `ignore.yml` or the catalogue is missing; unusable files were reported before."""
    try:
        error = lost_error(read_state_files(settings, write=False))
    except AsynchyError:
        return
    if error is not None:
        yield failed("state", error)


def _service(settings: Shared) -> DiagnosticResult:
    none = DiagnosticResult("service", True, "none runs on this catalogue")
    if not reachable(lock_file(settings.catalogue_path, "service").exists):
        return none
    try:
        with instance_lock(settings.catalogue_address, "service"):
            return none
    except AlreadyRunning as error:
        return DiagnosticResult("service", True, str(error))
