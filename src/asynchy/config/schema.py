"""Every key of the config file, what it means and what it is where it is not given.

The keys of the originals' files keep their names and meaning: `config.yml` of mxsync and epnalert
(`Settings`), `~/.as.yaml` of `asynchy` and the config of as-walker (`Shared`, where some keys have
`OTHER_NAMES`). Those marked "new" came with asynchy and all have defaults.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from asynchy.config.channels import NotifyEntries, OnCompleteEntries, WebhookEntries
from asynchy.config.executor import ExecutorChoice, ExecutorEntry
from asynchy.config.field_types import (
    Addresses,
    Bandwidth,
    BandwidthEntries,
    CataloguePlace,
    Days,
    DestinationTemplate,
    FacilityPath,
    FilePath,
    HeaderName,
    Host,
    Hours,
    Listen,
    LogLevel,
    MailHost,
    Proposal,
    Retention,
    Secret,
    Segment,
    Sender,
    SourceTemplate,
    Streams,
    Url,
    User,
    WebAddress,
    is_local,
)
from asynchy.config.section import Section
from asynchy.model.bandwidth import (
    BandwidthSpan,
    BandwidthTimetable,
    parse_days,
    parse_hours,
)
from asynchy.model.catalogue_address import CatalogueAddress, PostgresAddress, beside
from asynchy.model.cluster import ClusterAddress
from asynchy.model.file_times import MAX_TIME_TOLERANCE

Port = Annotated[int, Field(ge=1, le=65535)]


def _no_password_in_the_open(value: str | None, info: ValidationInfo) -> str | None:
    if value == "none" and info.data.get("epnalert_smtp_user"):
        raise ValueError("starttls or tls where epnalert-smtp-user is given, to hide the password")
    return value


def _only_what_it_can(value: str, info: ValidationInfo) -> str:
    asked = info.data
    if value == "sftp" and (
        asked.get("compare") == "checksum" or asked.get("symlinks") or asked.get("special_files")
    ):
        raise ValueError("auto or rsync: compare: checksum, symlinks and special-files need rsync")
    return value


class EquipmentEntry(Section):
    """One piece of equipment at the portal, and who asks for its visits."""

    id: int = Field(ge=0)
    username: str = Field(min_length=1)
    password: Secret
    client_name: str = Field(alias="client_name", min_length=1)
    client_password: Secret = Field(alias="client_password")
    beamline: Segment | None = None
    """New: the path segment of its data at the SFTP service; default: the top-level `beamline`."""


def _on_one_beamline(value: tuple[EquipmentEntry, ...]) -> tuple[EquipmentEntry, ...]:
    beamlines: dict[int, str | None] = {}
    for entry in value:
        if beamlines.setdefault(entry.id, entry.beamline) != entry.beamline:
            raise ValueError(
                f"one beamline for each equipment; {entry.id} is there with two, and each visit "
                "of it would be looked for on both in turn"
            )
    return value


class BandwidthEntry(Section):
    """New: a limit, and when it holds, by the local time of this machine."""

    limit: Bandwidth
    """Bytes a second."""
    days: Days = "mon-sun"
    """On which the span begins."""
    hours: Hours = "00:00-24:00"
    """The end not after the begin: on the next day."""


class LogFiles(Section):
    """Where the three logs are written; each rotates."""

    sync: FilePath | None = None
    epnalert: FilePath | None = None
    email: FilePath | None = None


def _safe_to_listen(value: str, info: ValidationInfo) -> str:
    if not is_local(value) and not (info.data.get("url") or "").startswith("https://"):
        raise ValueError(
            "127.0.0.1:PORT, [::1]:PORT or unix:/PATH; any other address only where `url` begins "
            "with https://, so that no token crosses the network in clear text"
        )
    return value


def _only_behind_a_socket(value: str | None, info: ValidationInfo) -> str | None:
    if value is not None and not info.data.get("listen", "").startswith("unix:"):
        raise ValueError(
            "a header only where `listen` is unix:/PATH: at a port, each user of the machine could "
            "send the header"
        )
    return value


class WebServer(Section):
    """New: `asynchy web`, the dashboard."""

    url: WebAddress | None = None
    """The address that people type, where it is not `listen`; with https, cookies are Secure."""
    listen: Annotated[Listen, AfterValidator(_safe_to_listen)] = "127.0.0.1:8642"
    """Where the server listens: HOST:PORT, or unix:/PATH for a reverse proxy."""
    user_header: Annotated[HeaderName | None, AfterValidator(_only_behind_a_socket)] = None
    """The header in which the reverse proxy names who has logged in there."""
    operators: tuple[str, ...] = ()
    """Those of its names that may act; all others may look."""


class Shared(Section):
    """What every command needs: the facility, the catalogue, the logs, what a transfer is."""

    comment: Any = None
    host: Host = "sftp.synchrotron.org.au"
    user: User = "help@massive.org.au"
    """New in `config.yml`: the user at the SFTP service; the default is what mxsync's original
    hard-codes."""
    port: Port | None = None
    """New: default as ssh_config says, or 22."""
    key_file: FilePath | None = None
    """The SSH private key; where it is not given, ssh-agent and ssh_config decide."""
    known_hosts: FilePath | None = None
    """New: default as ssh_config says, or ~/.ssh/known_hosts."""
    timeout: int = Field(default=600, ge=1, le=86400)
    """New: seconds without a word from the facility after which a connection is given up."""
    source_path: SourceTemplate = "/data/{beamline}/{epn}"
    """New: where an experiment is at the facility."""
    walk_root: FacilityPath = "/data"
    """New: where a walk begins; experiments are in it or in its folders."""
    epns_path: FilePath | None = Field(default=None, alias="epns_path")
    """A folder of spreadsheets: a walk takes the EPNs in them alone."""

    catalogue: CataloguePlace | None = None
    """New: the database; default `catalogue.db` beside `ignore`, or else beside the config. For
    several machines: postgresql://USER@HOST/DATABASE."""
    catalogue_password: Secret | None = None
    """New: the password of `catalogue` in PostgreSQL; default as .pgpass says."""
    log_level: LogLevel = logging.INFO
    log_files: LogFiles = LogFiles()

    compare: Literal["time", "size", "checksum"] = "time"
    """New: what makes a file at home the same as the facility's: size and time; size alone (the
    original's way; it never repairs a file of the right size); or a checksum."""
    time_tolerance: int = Field(default=0, ge=0, le=MAX_TIME_TOLERANCE)
    """New: seconds by which the time of a file at home may differ, for file systems that cannot
    hold every time (FAT: 2); default: 2 with `compare: size`, otherwise 0."""
    modes: Literal["group-shared", "source", "umask"] = "group-shared"
    """New: the permission bits of what arrives: the project's group may work with it; those of the
    facility; or those of the facility less the umask. What is there already keeps its own."""
    symlinks: bool = False
    """New: bring symbolic links home too, those that lead to a place in the experiment."""
    special_files: bool = False
    """New: bring FIFOs and sockets home too (never devices)."""
    dot_files: bool = False
    """New: bring files and folders whose names begin with a dot home too, such as Zarr's `.zarray`
    (`.info` always comes, `.asynchy-…` never)."""
    accept_left_out: bool = False
    """New: what is left out (dot files, links, special files) may be deleted at the facility: it
    keeps `asynchy report reconcile` from saying yes no more."""
    engine: Annotated[Literal["auto", "sftp", "rsync"], AfterValidator(_only_what_it_can)] = "auto"
    """New: what moves the files; auto: sftp where the facility offers it, else rsync."""
    executor: ExecutorChoice = ExecutorEntry()
    """New: where the sftp engine works: on this machine, or on the hosts of a Dask cluster."""
    streams: Streams = None
    """New: connections of one transfer (of one shard, on a cluster); auto: as many as pay."""
    max_connections: int = Field(default=16, ge=1, le=256)
    """New: connections of this machine, and of the cluster's hosts that work for it, to the
    facility at most, whatever commands run."""
    max_entries: int = Field(default=20_000_000, ge=1000, le=1_000_000_000)
    """New: entries (files, folders, links) of an experiment at most; more are taken for a server
    that went wrong."""
    bandwidth_limit: Annotated[tuple[BandwidthEntry, ...], BandwidthEntries] = ()
    """New: bytes a second for all transfers of this machine together, such as 80 MB; or a list of
    limits, each with the days and hours at which it holds. The smallest of them counts."""

    verify: Literal["none", "size", "source"] = "size"
    """New: what is proven of a copy right after its transfer, before it is called complete: nothing
    but what the engine checked; size and time of each file; or a digest made at the facility."""
    manifest: bool = True
    """New: compute the SHA-256 of every file right after its copy is complete."""
    receipt: bool = False
    """New: then make a receipt, beside the copy."""

    retention_days: Retention = Field(default_factory=dict)
    """New: beamline -> days after a visit until the facility deletes its data; `default` for those
    that are not named. Where it says nothing, it is not known."""
    proof_for_deletion: Literal["size", "transport", "source"] = "source"
    """New: what must be proven of every file of a copy before a report says that the facility's may
    be deleted."""

    @property
    def cluster(self) -> ClusterAddress | None:
        """The Dask cluster; None: transfers are worked on here."""
        return None if self.executor.dask is None else self.executor.dask.address

    @property
    def bandwidth_timetable(self) -> BandwidthTimetable | None:
        """What `bandwidth-limit` says; None: there is no limit."""
        spans = [
            BandwidthSpan(entry.limit, parse_days(entry.days), *parse_hours(entry.hours))
            for entry in self.bandwidth_limit
        ]
        return BandwidthTimetable(tuple(spans)) if spans else None

    @property
    def catalogue_address(self) -> CatalogueAddress:
        """Where the catalogue is, its default and its password worked out."""
        assert self.catalogue is not None  # load fills it in
        if isinstance(self.catalogue, PostgresAddress) and self.catalogue_password is not None:
            return self.catalogue.with_password(self.catalogue_password.get_secret_value())
        return self.catalogue

    @property
    def catalogue_path(self) -> Path:
        """What the files of this machine beside it are named after; SQLite's is the file itself."""
        return beside(self.catalogue_address)


class Settings(Shared):
    """A whole `config.yml`, as mxsync and epnalert need it."""

    epn_cap_map: dict[Proposal, Segment] = Field(default_factory=dict, alias="epn_cap_map")
    """Proposal -> project (CAP) that owns its data."""
    ignore: FilePath
    """`ignore.yml`: the EPNs that need no transfer."""
    equipment: Annotated[tuple[EquipmentEntry, ...], AfterValidator(_on_one_beamline)] = Field(
        min_length=1
    )
    base_url: Url = "https://portal.synchrotron.org.au:443"
    ca_bundle: FilePath | None = None
    """New: a PEM file of the authorities trusted for portal and mail server, instead of the
    system's."""
    beamline: Segment

    epnalert_email_to: Addresses | None = None
    epnalert_email_from: Sender | None = None
    epnalert_email_smtp: MailHost | None = None
    """The mail server: a host, host:port or [IPv6 address]:port."""
    epnalert_smtp_user: str | None = None
    """New: the user at the mail server; default: nobody logs in."""
    epnalert_smtp_password: Secret | None = None
    """New."""
    epnalert_smtp_security: Annotated[
        Literal["none", "starttls", "tls"] | None, AfterValidator(_no_password_in_the_open)
    ] = None
    """New: default tls on port 465, starttls on 587 or where a user is given, otherwise none."""
    epnalert_due_days: int = Field(default=3, ge=1, le=3660)
    """New: days after which an experiment that does not come home is named in the mail."""
    epnalert_at_risk_days: int = Field(default=14, ge=1, le=3660)
    """New: days before the facility deletes an experiment from which on it is named in the mail,
    unless it is at home and proven as `verify` asks."""
    epnalert_template_folder: FilePath | None = None
    epnalert_template_text: str | None = None
    epnalert_template_html: str | None = None
    activity_template_text: str | None = None
    """New: the templates of the mails of `asynchy report activity`, in the same folder."""
    activity_template_html: str | None = None
    """New."""

    notify: NotifyEntries = ()
    """New: people who are told of events, by Slack, Teams, Matrix and others that Apprise knows."""
    webhooks: WebhookEntries = ()
    """New: programs that are told of events, by signed requests (standardwebhooks.com)."""
    on_complete: OnCompleteEntries = ()
    """New: commands that are run for each copy that was completed."""
    unreachable_hours: float = Field(default=12, gt=0, le=8760)
    """New: hours after which people are told that the portal or the facility's server cannot be
    asked."""

    visit_day_range: int = Field(default=30, ge=1, le=3660)
    """Days before the earliest current visit in which ended visits are looked for."""
    fetch_visible: bool = False
    """New: fetch what is visible at the SFTP service and ours, though no visit of it was told."""
    long_visit_days: int = Field(default=7, ge=1, le=3660)
    """New: days since its start after which a running visit that holds others back is named."""
    destination_root_path: FilePath
    destination_path: DestinationTemplate = "{project}/{epn}/data"
    """New: where its copy goes, below `destination-root-path`."""
    sync_frequency_hours: float = Field(default=24, gt=0, le=8760)
    retry_minutes: float = Field(default=5, gt=0, le=1440)
    """New: minutes until an incomplete cycle of the service is tried again; doubles each time, up
    to `sync-frequency-hours`."""
    recheck_after: int = Field(default=7, ge=0, le=3660)
    """New: days after a visit at which its experiment is looked at a second time; 0: never."""
    backups: int = Field(default=7, ge=0, le=3660)
    """New: backups of the catalogue that are kept, one a day; 0: none is made."""
    keep_replaced: int = Field(default=90, ge=0, le=36500)
    """New: days for which an earlier version of a file is kept beside its copy; 0: for ever."""
    max_tasks: int = Field(default=1, ge=1, le=64)
    """Experiments that are transferred at a time."""
    web: WebServer = WebServer()

    @property
    def source_folders(self) -> dict[str, str]:
        """The folders at the facility that hold experiments -> the beamline of each.

        The beamline is empty if `source-path` does not tell beamlines apart.
        """
        template = self.source_path.partition("{epn}")[0].rpartition("/")[0]
        if "{beamline}" not in template:
            return {template: ""}
        beamlines = sorted({self.beamline_of(entry) for entry in self.equipment})
        return {template.format(beamline=name): name for name in beamlines}

    @property
    def equipment_ids(self) -> frozenset[int]:
        """The equipment that the portal is asked about."""
        return frozenset(entry.id for entry in self.equipment)

    def beamline_of(self, entry: EquipmentEntry) -> str:
        """The beamline of an equipment entry, its default worked out."""
        return entry.beamline or self.beamline


OTHER_NAMES = {
    "hostname": "host",
    "keypath": "key-file",
    "key_path": "key-file",
    "db": "catalogue",
}
"""Names of keys in the configs of as-walker and `asynchy` (`~/.as.yaml`) -> ours."""

LAYOUT_KEYS = frozenset({"equipment", "ignore", "destination-root-path", "epn_cap_map"})
"""A file with one of these has the layout of `config.yml`."""
