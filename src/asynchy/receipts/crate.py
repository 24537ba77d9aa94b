"""The content of a receipt as an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1): JSON-LD.

Only terms of its context are used, and `sha256` of schema.org. An experiment with more than
`MAX_FILES` files is described as a whole: the manifest names each (docs/decisions/0022).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.experiment import Copy, LeftOutCounts
from asynchy.model.formatting import count, escaped, size
from asynchy.model.info_file import Info
from asynchy.model.person import Person
from asynchy.model.verification import Check, CopyFile, Level
from asynchy.model.visit import Visit
from asynchy.receipts.bag import MANIFEST, ODD_NAMES, PAYLOAD

MAX_FILES = 10_000
"""Files that are described one by one; 100,000 make 32 MB of JSON."""
_MEANING = {
    None: "nothing was proven of some of it",
    Level.SIZE: "it has the size and the time that the facility lists",
    Level.TRANSPORT: "the engine checked what it received",
    Level.SOURCE: "a digest made from it at the facility equals that of what is at home",
}
_FACILITY = "Australian Synchrotron"
_VERSION = "https://w3id.org/ro/crate/1.1"
_METADATA = "ro-crate-metadata.json"
_DONE = {"@id": "http://schema.org/CompletedActionStatus"}
_FAILED = {"@id": "http://schema.org/FailedActionStatus"}
Ref = dict[str, str]


@dataclass(frozen=True)
class ReceiptData:
    """The data of a receipt, without the names of the files."""

    copy: Copy
    host: str
    """The machine that the receipt was made on."""
    made: datetime
    completed: datetime | None
    files: int
    bytes: int
    unnamed: int
    """Files with names that are not UTF-8."""
    level: Level | None
    digests: str
    """Where the digests come from, as text for people."""
    left_out: LeftOutCounts | None
    """The entries at the facility that are not brought home because of their kind; None: not
    counted.
    """
    visits: Sequence[Visit]
    info: Info | None
    """The content of the file beside the data, if no visit is known."""
    attempts: Sequence[Attempt]
    checks: Sequence[Check]
    versions: dict[str, str]
    """Of the programs that made it."""

    @property
    def title(self) -> str:
        """The proposal's; empty if it is not known."""
        return next((visit.title for visit in reversed(self.visits) if visit.title), "")

    @property
    def left_out_words(self) -> str:
        """The entries that were left out, as text for people."""
        return "not counted" if self.left_out is None else str(self.left_out) or "nothing"

    @property
    def name(self) -> str:
        """The name of the experiment."""
        where = f" on {self.copy.experiment.beamline}" if self.copy.experiment.beamline else ""
        return f"{self.copy.epn}{where}" + (f": {self.title}" if self.title else "")


def level_word(level: Level | None) -> str:
    """The name of a level, also of none."""
    return level.word if level is not None else "none"


def described(facts: ReceiptData, files: Iterable[CopyFile] | None) -> bytes:
    """The crate's metadata file; `files` is None if there are more than `MAX_FILES`."""
    crate = {
        "@context": [f"{_VERSION}/context", {"sha256": "http://schema.org/sha256"}],
        "@graph": _Description(facts).graph(files),
    }
    return json.dumps(crate, ensure_ascii=False, indent=1).encode() + b"\n"


class _Description:
    """Collects the entities of a crate: each is there once, and the others refer to it."""

    def __init__(self, facts: ReceiptData) -> None:
        self._facts = facts
        self._entities: dict[str, dict[str, Any]] = {}
        self._people: dict[Person, Ref] = {}
        self._levels: dict[Level | None, Ref] = {}

    def graph(self, files: Iterable[CopyFile] | None) -> list[dict[str, Any]]:
        """The file that describes the crate, the crate itself, and all that they refer to."""
        facts = self._facts
        values: dict[str, Any] = {
            "name": facts.name,
            "description": self._in_words(listed=files is not None),
            "identifier": facts.copy.epn.text,
            "datePublished": facts.made.astimezone(UTC).isoformat(timespec="seconds"),
            "license": self._thing(
                "#licence",
                "CreativeWork",
                name="No licence is stated",
                description="Those who measured, and the facility, say who may use the data.",
            ),
            "sourceOrganization": self._thing("#facility", "Organization", name=_FACILITY),
            "contentSize": str(facts.bytes),
            "additionalProperty": [self._level(facts.level), *self._properties()],
            "mentions": [*self._attempts(), *self._checks(), self._own_action()],
            **self._people_and_times(),
            "hasPart": [self._data(files), *self._lists()],
        }
        about = {
            "@id": _METADATA,
            "@type": "CreativeWork",
            "conformsTo": {"@id": _VERSION},
            "about": {"@id": "./"},
        }
        root = {"@id": "./", "@type": "Dataset"}
        root |= {name: value for name, value in values.items() if value}
        return [about, root, *self._entities.values()]

    def _in_words(self, *, listed: bool) -> str:
        facts = self._facts
        copy = facts.copy
        named = "" if listed else f" They are named in {MANIFEST} alone."
        odd = (
            f" The names of {facts.unnamed:,} are no UTF-8: see {ODD_NAMES}."
            if facts.unnamed
            else ""
        )
        return (
            f"The experiment {copy.epn}, measured at the {_FACILITY}"
            f" and brought home from {escaped(copy.source) or 'there'}:"
            f" {count(facts.files, 'file')}, {size(facts.bytes)}, on {facts.host} in"
            f" {escaped(str(copy.destination))}. Left out: {facts.left_out_words}."
            f" Level of proof: {level_word(facts.level)} ({_MEANING[facts.level]})."
            f" SHA-256 digests: {facts.digests}.{named}{odd}"
        )

    def _properties(self) -> list[Ref]:
        copy, facts = self._facts.copy, self._facts
        completed = facts.completed.isoformat(timespec="seconds") if facts.completed else ""
        values = {
            "beamline": copy.experiment.beamline,
            "project": copy.project,
            "source": escaped(copy.source),
            "destination": escaped(str(copy.destination)),
            "complete since": completed,
            "left out": facts.left_out_words,
        }
        return [
            self._thing(f"#{quote(name)}", "PropertyValue", name=name, value=value)
            for name, value in values.items()
            if value
        ]

    def _people_and_times(self) -> dict[str, Any]:
        facts = self._facts
        if not facts.visits:
            return self._of_info(facts.info)
        principals = dict.fromkeys(visit.principal for visit in facts.visits if visit.principal)
        others = dict.fromkeys(person for visit in facts.visits for person in visit.scientists)
        start = min(visit.start for visit in facts.visits)
        end = max(visit.end for visit in facts.visits)
        return {
            "creator": [self._person(person) for person in principals],
            "contributor": [self._person(person) for person in others if person not in principals],
            "temporalCoverage": f"{start.isoformat()}/{end.isoformat()}",
            "recordedAt": [
                self._thing(
                    f"#visit-{quote(visit.id, safe='')}",
                    "Event",
                    name=f"Visit {escaped(visit.id, limit=60)} of {visit.epn}",
                    startDate=visit.start.isoformat(),
                    endDate=visit.end.isoformat(),
                )
                for visit in facts.visits
            ],
        }

    def _of_info(self, info: Info | None) -> dict[str, Any]:
        if info is None:
            return {}
        values: dict[str, Any] = {
            "contributor": [self._person(person) for person in info.users],
        }
        if info.principal:
            values["creator"] = [self._person(info.principal)]
        if info.start or info.finish:
            values["temporalCoverage"] = (
                f"{escaped(info.start or '..')}/{escaped(info.finish or '..')}"
            )
        return values

    def _person(self, person: Person) -> Ref:
        if person not in self._people:
            values: dict[str, Any] = {"name": person.name or person.email}
            if person.email:
                values["email"] = person.email
            if person.organisation:
                identity = f"#organisation-{quote(person.organisation, safe='')}"
                values["affiliation"] = self._thing(
                    identity, "Organization", name=person.organisation
                )
            identity = f"#person-{len(self._people) + 1}"
            self._people[person] = self._thing(identity, "Person", **values)
        return self._people[person]

    def _level(self, level: Level | None) -> Ref:
        if level not in self._levels:
            word = level_word(level)
            self._levels[level] = self._thing(
                f"#level-{word}",
                "PropertyValue",
                name="level of proof",
                value=word,
                description=_MEANING[level],
            )
        return self._levels[level]

    def _data(self, files: Iterable[CopyFile] | None) -> Ref:
        facts = self._facts
        parts = [self._file(file) for file in files or ()]
        return self._thing(
            f"{PAYLOAD}/",
            "Dataset",
            name="The data",
            description=f"{count(facts.files, 'file')}, {size(facts.bytes)}",
            contentSize=str(facts.bytes),
            **({"hasPart": parts} if parts else {}),
        )

    def _file(self, file: CopyFile) -> Ref:
        assert file.sha256 is not None
        values: dict[str, Any] = {
            "name": escaped(file.path.rpartition(b"/")[2]),
            "contentSize": str(file.size),
            "sha256": file.sha256.hex(),
            "additionalProperty": self._level(file.level),
        }
        if (modified := _moment(file.modified)) is not None:
            values["dateModified"] = modified
        return self._thing(f"{PAYLOAD}/{quote(file.path)}", "File", **values)

    def _lists(self) -> list[Ref]:
        facts = self._facts
        named = facts.files - facts.unnamed
        lists = [
            self._thing(
                MANIFEST,
                "File",
                name="SHA-256 of every file",
                description=f"BagIt manifest of {count(named, 'file')}",
                encodingFormat="text/plain",
            )
        ]
        if facts.unnamed:
            lists.append(
                self._thing(
                    ODD_NAMES,
                    "File",
                    name="SHA-256 of the files whose names are not UTF-8",
                    description=f"{count(facts.unnamed, 'file')}; sha256sum --check reads it",
                    encodingFormat="text/plain",
                )
            )
        return lists

    def _attempts(self) -> list[Ref]:
        return [self._attempt(at, item) for at, item in enumerate(self._facts.attempts, 1)]

    def _attempt(self, at: int, attempt: Attempt) -> Ref:
        good = attempt.verdict is Verdict.COMPLETE
        amounts = [count(attempt.files, "file")] if attempt.files is not None else []
        amounts += [size(attempt.bytes)] if attempt.bytes is not None else []
        how = f"{attempt.engine} engine, compare: {attempt.compare}, check: {attempt.check}"
        return self._action(
            f"#attempt-{at}",
            "CreateAction",
            attempt,
            good=good,
            name=f"Attempt {at}: {attempt.verdict.value}",
            description=f"On {attempt.host}" + (f", by the {how}" if attempt.engine else "")
            + (f"; moved {', '.join(amounts)}" if amounts else ""),
            **({} if attempt.reason is None else {"error": escaped(attempt.reason)}),
            **({"result": {"@id": "./"}} if good else {}),
        )  # fmt: skip

    def _checks(self) -> list[Ref]:
        return [self._check(at, item) for at, item in enumerate(self._facts.checks, 1)]

    def _check(self, at: int, check: Check) -> Ref:
        wrong = f"{check.different} different, {check.missing} missing, {check.extra} unexpected"
        return self._action(
            f"#check-{at}",
            "CheckAction",
            check,
            good=check.reason is None,
            name=f"Check {at}: {check.kind}",
            description=f"On {check.host}, {check.way}: {count(check.files, 'file')},"
            f" {size(check.bytes)}: {wrong}",
            object={"@id": "./"},
            **({} if check.reason is None else {"error": escaped(check.reason)}),
        )

    def _action(
        self, identity: str, kind: str, item: Attempt | Check, *, good: bool, **values: Any
    ) -> Ref:
        return self._thing(
            identity,
            kind,
            startTime=item.started.isoformat(timespec="seconds"),
            endTime=item.ended.isoformat(timespec="seconds"),
            actionStatus=_DONE if good else _FAILED,
            **values,
        )

    def _own_action(self) -> Ref:
        made = self._facts.made.isoformat(timespec="seconds")
        programs = [
            self._thing(
                f"#{name}", "SoftwareApplication", name=name, version=version,
                softwareVersion=version,
            )
            for name, version in self._facts.versions.items()
        ]  # fmt: skip
        return self._thing(
            "#receipt",
            "CreateAction",
            name="This receipt",
            description=f"Made on {self._facts.host}; the versions are those of that time.",
            endTime=made,
            instrument=programs,
            result={"@id": _METADATA},
        )

    def _thing(self, identity: str, kind: str, **values: Any) -> Ref:
        self._entities.setdefault(identity, {"@id": identity, "@type": kind, **values})
        return {"@id": identity}


def _moment(seconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None
