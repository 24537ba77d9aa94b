"""Which experiments there are at the facility for the user that we log in as."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from asynchy.domain.epn import Epn
from asynchy.domain.experiment import Entry, Experiment, Kind, Located
from asynchy.domain.stop import Stop
from asynchy.domain.text import shown
from asynchy.errors import ExperimentAbsent, ListingError, ListingRefused
from asynchy.facility.listing import list_experiment
from asynchy.ssh.remote import Remote

log = logging.getLogger(__name__)

_MOST = 1_000_000
"""Folders in a folder of experiments: their names are held in memory."""
_BEAMLINE = re.compile(rb"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]{0,99}")


@dataclass(frozen=True)
class Visible:
    """What was found."""

    experiments: tuple[Located, ...]
    """In order of beamline and EPN."""
    unlisted: dict[str, str]
    """Folder of a beamline that could not be listed, or second folder of one EPN -> why."""


def visible(remote: Remote, root: str, stop: Stop) -> Visible:
    """The experiments in a folder at the facility and in the folders in it.

    Both layouts that the facility has had: `/data/<epn>`, and `/data/<beamline>/<epn>`. A folder
    that is named like no EPN is taken for a beamline's; in that one, it is passed over.

    Raises:
        ListingError: the folder itself could not be listed, or the connection broke off.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    try:
        names = folders_in(remote, root, stop)
    except ExperimentAbsent:
        raise ListingError(
            f"there is no {root} at the facility", hint="check `walk-root`"
        ) from None
    base = root.rstrip("/")
    found = _experiments("", base, names)
    unlisted: dict[str, str] = {}
    for name in names:
        if _epn(name) is not None:
            continue
        if _BEAMLINE.fullmatch(name) is None:
            log.info("%s/%s is neither an EPN's nor a beamline's folder", base, shown(name))
            continue
        beamline = name.decode("ascii")
        folder = f"{base}/{beamline}"
        try:
            found += _experiments(beamline, folder, folders_in(remote, folder, stop))
        except (ExperimentAbsent, ListingRefused) as error:
            unlisted[folder] = error.message.removeprefix(f"{folder}: ")
    experiments, second = _one_folder_each(found)
    return Visible(tuple(experiments), unlisted | second)


def experiments_in(remote: Remote, folder: str, beamline: str, stop: Stop) -> list[Located]:
    """The experiments in one folder, which is a beamline's. Raises as `folders_in`."""
    return _one_folder_each(_experiments(beamline, folder, folders_in(remote, folder, stop)))[0]


def _one_folder_each(found: list[Located]) -> tuple[list[Located], dict[str, str]]:
    """The experiments in order, and what else is spelled like one of them -> why it is left out.

    12282A and 12282a are one EPN, and their files would be mixed up at home.
    """
    chosen: dict[Experiment, Located] = {}
    second: dict[str, str] = {}
    # Swapped, lower case comes first: it is how EPNs are stored and, as far as known, spelled.
    for located in sorted(found, key=lambda item: (item.experiment, item.source.swapcase())):
        first = chosen.setdefault(located.experiment, located)
        if first is not located:
            why = f"left out: {first.source} is a folder of the same EPN; ask the facility"
            log.warning("%s: %s", located.source, why)
            second[located.source] = why
    return list(chosen.values()), second


def _experiments(beamline: str, folder: str, names: list[bytes]) -> list[Located]:
    # The folder's own spelling: the facility tells 12282A and 12282a apart.
    return [
        Located(Experiment(beamline, epn), f"{folder}/{name.decode('ascii')}")
        for name in names
        if (epn := _epn(name)) is not None
    ]


def _epn(name: bytes) -> Epn | None:
    """The EPN that a folder is named after, in whatever case; blanks around it are no EPN's."""
    text = name.decode("latin-1")
    epn = Epn.parse(text)
    return epn if epn is not None and epn.text == text.lower() else None


def folders_in(remote: Remote, folder: str, stop: Stop) -> list[bytes]:
    """The names of the folders in a folder.

    Raises:
        ListingError: it could not be listed; `ExperimentAbsent` where it is not there.
        Stopped: a stop was asked for meanwhile.
        ToolMissing: ssh or rsync is not installed.
    """
    names: list[bytes] = []

    def hear(entry: Entry) -> None:
        if entry.kind is Kind.FOLDER and entry.path != b".":
            if len(names) >= _MOST:
                raise ListingRefused(f"{folder}: more than {_MOST:,} folders of experiments")
            names.append(entry.path)

    list_experiment(remote, folder, hear, stop, deep=False)
    return names
