"""Assigns proposals to projects: changes `epn_cap_map` in the config, and nothing else there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asynchy.config.field_types import checked_proposal, checked_segment
from asynchy.config.file_access import access_hint
from asynchy.config.loader import load
from asynchy.config.map_editor import MAPPING, with_project, without_proposal
from asynchy.config.yaml_editor import edit_text
from asynchy.config.yaml_source import parse
from asynchy.errors import ConfigError, MappingRefused
from asynchy.model.epn import Epn
from asynchy.model.formatting import escaped


@dataclass(frozen=True)
class Assigned:
    """What came of it, for people."""

    text: str
    warning: str | None
    """What is still missing before anything comes home; None: nothing."""


def assign_project(config: Path, proposal: str, project: str, *, replace: bool = False) -> Assigned:
    """Assign a proposal, or the one of an EPN, to a project.

    `replace`: also if it belongs to another project now.

    Raises:
        ValueError: that is no proposal, or not the name of a project.
        MappingRefused: it belongs to another project.
        ConfigError: the config is broken, or cannot be changed.
    """
    number = _proposal(proposal)
    try:
        checked_segment(project)
    except ValueError as error:
        raise ValueError(f"found {escaped(project)!r}; accepted is {error}") from None
    settings = load(config).settings  # nothing is added to a file that is broken

    def change(text: str) -> str | None:
        before = _mapping_in(text).get(number)
        if before == project:
            return None
        if before is not None and not replace:
            raise MappingRefused(
                f"{number} belongs to {before} already",
                hint=f"--replace gives it to {project} all the same",
            )
        return with_project(text, number, project)

    written = _edited(config, change)
    folder = settings.destination_root_path / project
    warning = None
    try:
        if not folder.is_dir():
            warning = (
                f"the project folder {folder} does not exist; nothing is brought home"
                " until somebody makes it."
            )
    except PermissionError as error:
        warning = f"{folder}: {error.strerror}; {access_hint(folder)}"
    says = f"{number} belongs to {project}"
    return Assigned(f"{config}: {says} now." if written else f"{config}: {says} already.", warning)


def remove_project(config: Path, proposal: str) -> str:
    """Remove a proposal, or the one of an EPN, from its project; what came of it.

    Raises:
        ValueError: that is no proposal.
        MappingRefused: it belongs to no project.
        ConfigError: the config is broken, or cannot be changed.
    """
    number = _proposal(proposal)
    load(config)

    def change(text: str) -> str:
        if number not in _mapping_in(text):
            raise MappingRefused(
                f"{number} belongs to no project", hint="`asynchy map list` shows all proposals"
            )
        return without_proposal(text, number)

    _edited(config, change)
    return f"{config}: {number} belongs to no project now."


def _proposal(text: str) -> str:
    """The proposal that is named by itself or by one of its EPNs."""
    epn = Epn.parse(text)
    try:
        return checked_proposal(epn.proposal if epn else text)
    except ValueError as error:
        raise ValueError(f"found {escaped(text)!r}; accepted is {error}") from None


def _mapping_in(text: str) -> dict[str, str]:
    data = parse(text).data
    mapping = data.get(MAPPING) if isinstance(data, dict) else None
    return {key: str(value) for key, value in mapping.items()} if isinstance(mapping, dict) else {}


def _edited(config: Path, change: Callable[[str], str | None]) -> bool:
    try:
        return edit_text(config, change)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{config} was not changed: {reason}", hint=f"edit {MAPPING} in the file by hand"
        ) from None
