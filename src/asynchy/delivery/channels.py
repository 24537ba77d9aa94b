"""The channels that the config names: what each is told, and how it is handed over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from asynchy.config import Settings
from asynchy.config.channels import NotifyEntry, OnCompleteEntry, WebhookEntry
from asynchy.model.news import NewsKind

ChannelType = Literal["notify", "webhook", "on-complete"]


@dataclass(frozen=True)
class Channel:
    """A receiver of messages."""

    type: ChannelType
    entry: NotifyEntry | WebhookEntry | OnCompleteEntry

    @property
    def name(self) -> str:
        """By which the outbox and people name it: `notify team-chat`."""
        return f"{self.type} {self.entry.name}"

    @property
    def people(self) -> bool:
        """Whether it gets the names of people."""
        return self.entry.people

    def wants(self, kind: NewsKind, project: str | None) -> bool:
        """Whether it is told such a thing about a project; None: about none."""
        entry = self.entry
        if isinstance(entry, OnCompleteEntry):
            asked = kind is NewsKind.CAME_HOME
        else:
            asked = kind.value in entry.events
        return asked and (entry.projects is None or project in entry.projects)


def channels_of(settings: Settings) -> list[Channel]:
    """The channels of a config, in its order."""
    return [
        *(Channel("notify", entry) for entry in settings.notify),
        *(Channel("webhook", entry) for entry in settings.webhooks),
        *(Channel("on-complete", entry) for entry in settings.on_complete),
    ]


def secrets_of(settings: Settings) -> list[str]:
    """Every secret in a config: none of them leaves in a message."""
    return list(_secrets(settings))


def _secrets(value: Any) -> list[str]:
    if isinstance(value, SecretStr):
        return [value.get_secret_value()]
    if isinstance(value, BaseModel):
        return [one for name in type(value).model_fields for one in _secrets(getattr(value, name))]
    if isinstance(value, (list, tuple)):
        return [one for item in value for one in _secrets(item)]
    return []
