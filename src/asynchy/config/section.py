"""What all parts of a config file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


def _dashed(name: str) -> str:
    return name.replace("_", "-")


class Section(BaseModel):
    """A part of a config file: keys with dashes, none unknown, no value quoted in an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_dashed,
        hide_input_in_errors=True,
        validate_default=False,
    )
