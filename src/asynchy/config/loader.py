"""A config file into `Settings`: every problem reported at once, each with its place."""

from __future__ import annotations

import difflib
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from asynchy.config.channels import NotifyEntry, OnCompleteEntry, WebhookEntry
from asynchy.config.executor import DaskCluster
from asynchy.config.field_types import UnreadableSecret
from asynchy.config.file_access import access_hint
from asynchy.config.legacy_db import find_legacy_db
from asynchy.config.schema import (
    LAYOUT_KEYS,
    OTHER_NAMES,
    BandwidthEntry,
    EquipmentEntry,
    LogFiles,
    Settings,
    Shared,
    WebServer,
)
from asynchy.config.text_file import UnusableFile, read_text
from asynchy.config.yaml_source import Place, Plain, YamlDocument, YamlError, parse
from asynchy.errors import ConfigError
from asynchy.model.catalogue_address import is_postgres
from asynchy.model.file_times import tolerate
from asynchy.model.formatting import count, escaped

_SECRETS = {
    "password",
    "client_password",
    "catalogue-password",
    "epnalert-smtp-password",
    "url",
    "secret",
}
_HARMLESS = {"id", "beamline", "name", "events", "projects", "people"}
_WITH_SECRETS = ("equipment", "notify", "webhooks")
"""The lists whose entries hold secrets."""
_HERE = {"localhost", "127.0.0.1", "::1"}
_S_co = TypeVar("_S_co", bound=Shared, covariant=True)

_UNTOLD = ""
_MOST_PROBLEMS = 100
"""To find what was meant by an unknown key takes a millisecond."""

_SECTIONS: dict[Place, type[BaseModel]] = {
    ("equipment",): EquipmentEntry,
    ("bandwidth-limit",): BandwidthEntry,
    ("executor", "dask"): DaskCluster,
    ("log-files",): LogFiles,
    ("notify",): NotifyEntry,
    ("webhooks",): WebhookEntry,
    ("on-complete",): OnCompleteEntry,
    ("web",): WebServer,
}
_ACCEPTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "string_too_short": "a text that is not empty",
    "string_type": "a text",
    "too_short": "at least one entry",
    "tuple_type": "a list",
}
"""What is accepted, as text for people, by Pydantic's name of the error."""


@dataclass(frozen=True)
class Loaded(Generic[_S_co]):
    """What came of reading a config file."""

    settings: _S_co
    warnings: tuple[str, ...]
    given: frozenset[str]
    """The top-level keys that stand in the file, by our names."""
    document: YamlDocument = field(default_factory=YamlDocument, repr=False)
    """The file, for the lines of its keys."""

    def place(self, path: Path, place: Place) -> str:
        """The file, and the line in it of what a problem is about."""
        line = self.document.line(place)
        return f"{path}:{line}" if line else str(path)


def load(path: Path) -> Loaded[Settings]:
    """Read and check a config file of the layout of `config.yml`.

    Raises:
        ConfigError: it cannot be read or has problems; the message lists all of them.
    """
    return _checked(path, _keys(path), Settings)


def load_shared(path: Path) -> Loaded[Shared]:
    """Read and check a config file of any layout: `config.yml`, `~/.as.yaml` or as-walker's.

    The settings of a `config.yml` are whole `Settings`.

    Raises:
        ConfigError: it cannot be read or has problems; the message lists all of them.
    """
    tree = _keys(path)
    assert isinstance(tree.data, dict)
    if LAYOUT_KEYS.isdisjoint(tree.data):
        return _checked(path, tree, Shared)
    return _checked(path, tree, Settings)


def _keys(path: Path) -> YamlDocument:
    tree = _parse(path, _read(path))
    if not isinstance(tree.data, dict):
        raise _problems(path, [(1, "a mapping of keys and values is expected, and not found")])
    return tree


def _checked(path: Path, tree: YamlDocument, model: type[_S_co]) -> Loaded[_S_co]:
    written = _without_nulls(tree.data)
    problems: list[tuple[int | None, str]] = [
        (line, f"{_dotted(place)}: is there twice; remove one") for place, line in tree.repeated
    ]
    names = {OTHER_NAMES.get(key, key): key for key in written}
    problems += [
        (tree.line((key,)), f"{key}: the same as {names[ours]}, which stands there too")
        for key in written
        if names[ours := OTHER_NAMES.get(key, key)] != key
    ]
    data = {ours: written[key] for ours, key in names.items()}
    ignore = data.get("ignore")
    state = Path(ignore).parent if isinstance(ignore, str) and "\0" not in ignore else Path()
    if "catalogue" not in data:
        data["catalogue"] = str(state / "catalogue.db")
    if data.get("compare") == "size":
        data.setdefault("time-tolerance", "2")
    folder = path.absolute().parent
    warnings = []
    if _is_relative_path(written.get("db")):
        try:
            located, warning = find_legacy_db(written["db"], folder)
        except ValueError as error:
            problems.append((tree.line(("db",)), f"db: {error}"))
        else:
            data["catalogue"] = str(located)
            warnings = [f"{path}: db: {warning}"] if warning else []
    try:
        settings = model.model_validate(data, context={"folder": folder, "state": state})
    except ValidationError as error:
        details = [_as_written(detail, names) for detail in _worth_telling(error, data)]
        told = details[:_MOST_PROBLEMS]
        problems += [_problem(tree, written, detail, model) for detail in told]
        problems += [(None, _UNTOLD)] * (len(details) - len(told))
    if problems:
        raise _problems(path, problems)
    tolerate(settings.time_tolerance)
    given = frozenset(names)
    warnings += _warnings(path, settings, tree.data, given)
    return Loaded(settings, tuple(warnings), given, tree)


def _is_relative_path(value: object) -> bool:
    if not isinstance(value, str) or not value or "\0" in value or is_postgres(value):
        return False
    return not value.startswith("~") and not Path(value).is_absolute()


def _as_written(detail: ErrorDetails, names: dict[str, str]) -> ErrorDetails:
    """The problem with the key's name as it stands in the file."""
    first, *rest = detail["loc"] or ("",)
    if first in names:
        detail["loc"] = (names[str(first)], *rest)
    return detail


def _read(path: Path) -> str:
    try:
        return read_text(path, pipe=True)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: {error.strerror}",
            hint="name the config file with --config FILE; `asynchy init` or the README's example "
            "make a new one",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="name the config file with --config FILE"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except UnusableFile as error:
        raise ConfigError(
            f"{path}: {error}", hint="name the config file with --config FILE"
        ) from None


def _parse(path: Path, text: str) -> YamlDocument:
    try:
        return parse(text)
    except YamlError as error:
        raise _problems(path, [(error.line, error.told)]) from None


def _problems(path: Path, problems: list[tuple[int | None, str]]) -> ConfigError:
    told = sorted(
        (one for one in problems if one[1] != _UNTOLD), key=lambda problem: problem[0] or 0
    )
    told = told[:_MOST_PROBLEMS]
    lines = [f"{path}:{line}: {text}" if line else f"{path}: {text}" for line, text in told]
    if more := len(problems) - len(told):
        lines.append(f"{path}: and {count(more, 'more problem')}")
    return ConfigError(
        "\n".join(lines), hint="correct the file; `asynchy config check FILE` looks at it again"
    )


def _without_nulls(value: Plain) -> Any:
    """A key without a value counts as not given."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _worth_telling(error: ValidationError, data: Any) -> list[ErrorDetails]:
    """The problems without those that only follow from others."""
    entries = data.get("equipment")
    return [
        detail
        for detail in error.errors()
        # Entries with problems of their own make the list look too short.
        if not (detail["type"] == "too_short" and detail["loc"] == ("equipment",) and entries)
    ]


def _problem(
    tree: YamlDocument, data: Any, detail: ErrorDetails, model: type[BaseModel]
) -> tuple[int | None, str]:
    loc = detail["loc"]
    is_key = len(loc) > 1 and loc[-1] == "[key]" and detail["type"] != "extra_forbidden"
    place: Place = loc[:-1] if is_key else loc
    line, key = tree.line(place), _dotted(place) or "the whole"
    if detail["type"] == "missing":
        return tree.line(place[:-1]), f"{key}: is required, and not there"
    if detail["type"] == "extra_forbidden":
        return line, f"{key}: unknown key{_nearest(place, model)}"
    if isinstance(error := detail.get("ctx", {}).get("error"), UnreadableSecret):
        return line, f"{key}: {error}"
    found = repr(escaped(str(place[-1]), limit=60)) if is_key else _found(data, place)
    meant = _meant(detail) if detail["type"] == "literal_error" else ""
    return line, f"{key}: found {found}; accepted is {_accepted(detail)}{meant}"


def _meant(detail: ErrorDetails) -> str:
    """The word that was probably meant, of those that are accepted."""
    known = re.findall(r"'([^']+)'", detail["ctx"]["expected"])
    wanted = str(detail["input"]).strip().lower().replace("_", "-").replace(" ", "-")
    near = difflib.get_close_matches(wanted, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _accepted(detail: ErrorDetails) -> str:
    template = _ACCEPTED.get(detail["type"])
    if template is not None:
        return template.format(**detail.get("ctx", {}))
    return detail["msg"].removeprefix("Value error, ")


def _nearest(place: Place, whole: type[BaseModel]) -> str:
    around = tuple(part for part in place[:-1] if isinstance(part, str))
    model = _SECTIONS.get(around, whole)
    known = [field.alias or name for name, field in model.model_fields.items()]
    wanted = str(place[-1]).lower().replace("_", "-")
    by_dashes = {name.replace("_", "-"): name for name in known}
    near = difflib.get_close_matches(wanted, by_dashes, n=1, cutoff=0.5)
    return f"; did you mean {by_dashes[near[0]]}?" if near else f"; known are {', '.join(known)}"


def _found(data: Any, place: Place) -> str:
    for part in place:
        if isinstance(part, int) and isinstance(data, dict):
            continue  # the only entry, which needs no list around it
        if isinstance(part, int) and isinstance(data, str):
            continue  # nor does the only word
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):  # the problem is the key, not its value
            hidden = _SECRETS.intersection(place)
            return "something else" if hidden else repr(escaped(str(part), limit=60))
    if isinstance(data, (dict, list)) and not _SECRETS.intersection(place):
        return f"a {'mapping' if isinstance(data, dict) else 'list'}"
    if place and place[0] in _WITH_SECRETS and not _HARMLESS.intersection(place):
        return "something else"  # whatever stands there may be a secret that was mistyped
    if "://" in str(data) and ("@" in str(data) or "password" in str(data)):
        return "something else"  # an address with a password in it
    return repr(escaped(str(data), limit=60))


def _dotted(place: Place) -> str:
    text = ""
    for part in _up_to_secret(place):
        text += f"[{part}]" if isinstance(part, int) else f".{escaped(part, limit=60)}"
    return text.removeprefix(".")


def _up_to_secret(place: Place) -> Place:
    """The place without what stands within a secret."""
    for at, part in enumerate(place):
        if part in _SECRETS:
            return place[: at + 1]
    return place


def _warnings(path: Path, settings: Shared, data: Any, given: frozenset[str]) -> list[str]:
    found = []
    for file in [path, *_secret_files(path, data)]:
        if file.stat().st_mode & stat.S_IROTH and (file != path or _has_plain_secret(data)):
            found.append(f"{file} holds secrets and everybody can read it; chmod o-rwx {file}")
    if "user" not in given:
        found.append(f"{path}: user is not given; {settings.user} is used at the SFTP service")
    if isinstance(settings, Settings):
        url = urlsplit(settings.base_url)
        if url.scheme == "http" and url.hostname not in _HERE:
            found.append(f"{path}: base-url is http, so passwords travel unencrypted; use https")
        for hook in settings.webhooks:
            address = urlsplit(hook.url.get_secret_value())
            if address.scheme == "http" and address.hostname not in _HERE:
                found.append(f"{path}: webhook {hook.name}: everybody on the way can read http")
    if (known := settings.known_hosts) is not None and (problem := _no_file(known)):
        found.append(f"{path}: known-hosts: {problem}")
    return found


def _no_file(path: Path) -> str | None:
    """Why there is no file that this user can read, and what to do; None: there is one."""
    try:
        return None if path.is_file() else f"there is no file {path}"
    except PermissionError as error:
        return f"{path}: {error.strerror}; {access_hint(path)}"


def _secrets(data: Plain) -> list[Plain]:
    if not isinstance(data, dict):
        return []
    lists = [data.get(name) for name in _WITH_SECRETS]
    return [
        entry.get(key)
        for entry in [data, *(one for some in lists if isinstance(some, list) for one in some)]
        if isinstance(entry, dict)
        for key in sorted(_SECRETS)
    ]


def _has_plain_secret(data: Plain) -> bool:
    return any(isinstance(secret, str) for secret in _secrets(data))


def _secret_files(path: Path, data: Plain) -> list[Path]:
    named = {
        secret["file"] for secret in _secrets(data) if isinstance(secret, dict) and "file" in secret
    }
    return [
        path.absolute().parent / Path(str(name)).expanduser() for name in sorted(map(str, named))
    ]
