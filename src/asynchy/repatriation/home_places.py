"""Where data of experiments are at home: the folders that the destination rule may have named.

The projects' folders are walked along the parts of `destination-path`, each folder once. So what
was fetched for another project, before `epn_cap_map` was changed, is found, too.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from asynchy.localfs.filesystem import holds_data
from asynchy.model.epn import Epn
from asynchy.model.formatting import escaped
from asynchy.model.policy import DestinationRules
from asynchy.reporting.presence import holds_folders

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HomePlace:
    """A folder that is named like the destination of an experiment."""

    project: str
    epn: Epn
    beamline: str | None
    """None: the rule does not name it."""
    path: Path


@dataclass(frozen=True)
class OddPlace:
    """What is named after an EPN, or is below such a folder, and cannot be the place of a copy."""

    epn: Epn
    path: Path
    why: str
    """What is wrong, and what to do."""

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True)
class ProjectFolder:
    """The folder of a project, and the places in it."""

    path: Path
    places: tuple[HomePlace, ...]
    odd: tuple[OddPlace, ...]
    """What is in it that a person has to look at."""
    is_there: bool
    """Whether it can be read and folders are in it: that of a mount that is gone has none."""


def project_folders(rules: DestinationRules) -> Iterator[ProjectFolder]:
    """The folders of all projects of the mapping, in order; each is walked when it is asked for."""
    for project in sorted(set(rules.epn_cap_map.values())):
        folder = rules.destination_root / project
        top = _names(folder)
        parts = rules.destination_path.split("/")[1:]  # the first one is the project's
        known = {"project": project}
        odd: list[OddPlace] = []
        places = tuple(_places(folder, top or [], parts, known, odd))
        yield ProjectFolder(folder, places, tuple(odd), is_there=is_filled(folder))


def data_at_home(rules: DestinationRules) -> Iterator[Path]:
    """The places that hold data; looked for as they are asked for."""
    places = (place.path for folder in project_folders(rules) for place in folder.places)
    return filter(holds_data, places)


def is_filled(folder: Path) -> bool:
    """Whether a folder can be read and has folders; that of a mount that is gone has none."""
    try:
        return holds_folders(folder)
    except OSError:
        return False


def odd_place(place: Path, epn: Epn) -> OddPlace | None:
    """A symbolic link that leads nowhere in the place of a copy; None: there is none."""
    try:
        if not place.is_symlink() or place.exists():
            return None
        target = escaped(str(place.readlink()))
    except OSError:  # who compares it says that it cannot be read
        return None
    return OddPlace(epn, place, f"a link to {target}, which is not there; mount or remove it")


def odd_spelling(place: Path, epn: Epn) -> OddPlace | None:
    """A folder that is named after an EPN in another spelling than ours; None: it is no folder."""
    try:
        if not place.is_dir():
            return None
    except OSError:  # nor could it be read under another name
        pass
    return OddPlace(epn, place, f"not looked at, because it is not named {epn}; rename it")


def _places(
    folder: Path,
    names: Sequence[str],
    parts: Sequence[str],
    known: Mapping[str, str],
    odd: list[OddPlace],
) -> Iterator[HomePlace]:
    """The places below a folder that holds some names; `parts` of the rule are left.

    What cannot be one, and is named after an EPN, is added to `odd`.
    """
    component, *remaining = parts
    pattern = _pattern(component, known)
    for name in names:
        match = pattern.fullmatch(name)
        if match is None:
            continue
        matches = {**known, **match.groupdict()}
        epn = Epn.parse(matches["epn"]) if "epn" in matches else None
        path = folder / name
        if "epn" in matches and (epn is None or epn.text != matches["epn"]):
            if epn is not None and (spelled := odd_spelling(path, epn)) is not None:
                odd.append(spelled)
            continue
        if epn is not None and (link := odd_place(path, epn)) is not None:
            odd.append(link)
        elif remaining:
            yield from _places(path, _names(path) or [], remaining, matches, odd)
        elif epn is not None:
            yield HomePlace(matches["project"], epn, matches.get("beamline"), path)


def _pattern(component: str, known_values: Mapping[str, str]) -> re.Pattern[str]:
    """What a name has to be like for one part of the rule."""
    text, patterns = "", set()
    for literal, field, _, _ in Formatter().parse(component):
        text += re.escape(literal)
        if field is None:
            continue
        if field in known_values:
            text += re.escape(known_values[field])
        elif field in patterns:
            text += f"(?P={field})"
        else:
            text += f"(?P<{field}>.+)"
            patterns.add(field)
    return re.compile(text, re.DOTALL)


def _names(folder: Path) -> list[str] | None:
    """The names in a folder, in order; None: it does not exist, or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        log.warning("%s cannot be read: %s", escaped(str(folder)), error.strerror)
        return None
