"""Everything that a run works with, made from the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from asynchy.catalogue import Catalogue, IgnoreList
from asynchy.config import Settings
from asynchy.domain.experiment import Copy, Survey
from asynchy.domain.stop import Stop
from asynchy.facility.listing import list_experiment
from asynchy.facility.portal import Portal
from asynchy.plan.decide import Rules
from asynchy.service.board import Board
from asynchy.service.heard import Heard
from asynchy.ssh.remote import Remote
from asynchy.ssh.rsync import Choices
from asynchy.transfer.engine import Engine
from asynchy.transfer.rsync import RsyncEngine
from asynchy.verify.survey import Surveyor


@dataclass(frozen=True)
class Site:
    """The facility, the state and the engine of one run."""

    settings: Settings
    portal: Portal
    remote: Remote
    engine: Engine
    rules: Rules
    ignore: IgnoreList
    catalogue: Catalogue
    stop: Stop
    board: Board
    heard: dict[int, Heard] = field(default_factory=dict)
    """By equipment: what the portal told in an earlier try of this cycle."""

    @classmethod
    def of(cls, settings: Settings, stop: Stop, board: Board, *, write: bool) -> Site:
        """The site that a config describes; without `write`, the catalogue is only looked at.

        Raises:
            CatalogueError: the catalogue cannot be used.
            ConfigError: `ca-bundle` or the proxy of the environment cannot be used.
        """
        remote = Remote(
            host=settings.host,
            user=settings.user,
            port=settings.port,
            key_file=settings.key_file,
            known_hosts=settings.known_hosts,
            timeout=settings.timeout,
        )
        choices = Choices(settings.compare, settings.symlinks, settings.special_files)
        path = settings.catalogue_path
        return cls(
            settings=settings,
            portal=Portal(
                settings.base_url,
                stop=stop,
                ca_bundle=settings.ca_bundle,
                timeout=settings.timeout,
            ),
            remote=remote,
            engine=RsyncEngine(remote, choices),
            rules=Rules(
                epn_cap_map=settings.epn_cap_map,
                source_path=settings.source_path,
                destination_root=settings.destination_root_path,
                destination_path=settings.destination_path,
            ),
            ignore=IgnoreList(settings.ignore),
            catalogue=Catalogue.open(path) if write else Catalogue.peek(path),
            stop=stop,
            board=board,
        )

    def survey(self, copy: Copy) -> Survey:
        """List an experiment and hold it against its copy at home.

        Raises:
            ListingError: it could not be listed whole.
            Stopped: a stop was asked for meanwhile.
        """
        surveyor = Surveyor(
            copy.destination, datetime.now(UTC), size_only=self.settings.compare == "size"
        )
        list_experiment(self.remote, copy.source, surveyor.add, self.stop)
        return surveyor.result()
