"""What operators do: each action runs what the command runs, and is written to the audit trail."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from asynchy.catalogue import Catalogue
from asynchy.config import Settings
from asynchy.config.project_map import assign_project
from asynchy.errors import ActionRefused, AsynchyError
from asynchy.model.access import Action, OperatorAction
from asynchy.model.cancellation import Stop
from asynchy.model.epn import Epn
from asynchy.model.formatting import escaped
from asynchy.repatriation import service_control
from asynchy.reporting.reports import destination_rules
from asynchy.runtime.portal_clock import require_right_clock
from asynchy.verification import moved_copies
from asynchy.web.access import Viewer

log = logging.getLogger(__name__)

_LONGEST = 500


@dataclass(frozen=True)
class ActionRequest:
    """What an operator wants, as the form has it; what an action does not need is empty."""

    action: Action
    epn: str = ""
    beamline: str = ""
    project: str = ""
    reason: str = ""
    place: str = ""
    """The folder of a copy, if an EPN has several."""

    @classmethod
    def of(cls, action: Action, form: Mapping[str, str]) -> ActionRequest:
        """From the fields of a form."""
        names = ("epn", "beamline", "project", "reason", "place")
        return cls(action, **{name: form.get(name, "").strip()[:_LONGEST] for name in names})

    @property
    def subject(self) -> str:
        """What it is about, for the audit trail."""
        return self.epn

    @property
    def detail(self) -> str:
        """What else was asked for, for the audit trail."""
        return "; ".join(filter(None, (self.beamline, self.project, self.place, self.reason)))


def perform(
    request: ActionRequest, viewer: Viewer, config: Path, settings: Settings
) -> tuple[str, ...]:
    """Do it, and write to the audit trail that it was done, or refused; what follows, for people.

    Raises:
        ActionRefused: the viewer may not, or something is not filled in.
        AsynchyError: as the command would.
    """
    catalogue = Catalogue.open(settings.catalogue_address)  # before anything is done
    if not viewer.may_act:
        _record(catalogue, request, viewer, "refused: a reader may look, and not act")
        raise ActionRefused(
            f"{escaped(viewer.name)} may look, and not act",
            hint="an operator's token, or a name in `web: operators` of the config, may act",
        )
    try:
        said = _done(request, catalogue, config, settings)
    except (AsynchyError, ValueError) as error:
        _record(catalogue, request, viewer, f"refused: {error}")
        if isinstance(error, ValueError):
            raise ActionRefused(str(error), hint="correct it in the form") from None
        raise
    _record(catalogue, request, viewer, " ".join(said))
    return said


def _record(catalogue: Catalogue, request: ActionRequest, viewer: Viewer, outcome: str) -> None:
    entry = OperatorAction(
        at=datetime.now(UTC),
        who=viewer.name,
        source=viewer.source,
        action=request.action,
        subject=request.subject,
        detail=request.detail,
        outcome=outcome,
    )
    log.info(
        "%s from %s: %s %s %s: %s", entry.who, entry.source, entry.action.value,
        escaped(entry.subject), escaped(entry.detail), escaped(outcome),
    )  # fmt: skip
    catalogue.web_access.record(entry)


def _done(
    request: ActionRequest, catalogue: Catalogue, config: Path, settings: Settings
) -> tuple[str, ...]:
    now = datetime.now(UTC)
    match request.action:
        case Action.PAUSE:
            return service_control.pause(catalogue, now, None, request.reason)
        case Action.RESUME:
            return service_control.resume(catalogue, now)
        case Action.NOW:
            return service_control.begin_cycle(catalogue, now)
        case Action.MAP:
            assigned = assign_project(config, request.epn, request.project)
            # The path of the config is of no use to people at a browser.
            text = assigned.text.removeprefix(f"{config}: ")
            return tuple(filter(None, (text, assigned.warning)))
    return _about_experiment(request, catalogue, settings, now)


def _about_experiment(
    request: ActionRequest, catalogue: Catalogue, settings: Settings, now: datetime
) -> tuple[str, ...]:
    epn = Epn.parse(request.epn)
    if epn is None:
        name = escaped(request.epn, limit=40)
        raise ValueError(f"{name} is not an EPN (digits and a letter, such as 12282a)")
    place = Path(request.place) if request.place else None
    if request.action is Action.REFETCH:
        record = moved_copies.chosen_copy(catalogue, epn, place)
        rules = destination_rules(settings)
        destination = moved_copies.refetch(catalogue, record, now, rules)
        return (f"{epn}: it is due again, to {escaped(str(destination))}.",)
    if not request.reason:
        raise ValueError("say why; it is kept in the catalogue")
    if request.action is Action.TAKE_BACK:
        chosen = moved_copies.chosen_experiment(catalogue, epn, request.beamline)
        moved_copies.take_back(catalogue, chosen, request.reason, now)
        return (f"{epn}: due again. Files that are at home are compared.",)
    require_right_clock(settings, Stop())
    said = moved_copies.release(catalogue, epn, request.beamline, place, request.reason, now)
    return (said,)
