"""Receipts: what a copy at home is, in a form that other programs and other people can check."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from asynchy.catalogue import process
from asynchy.catalogue.held import Holdings
from asynchy.domain.attempt import Attempt, Verdict
from asynchy.domain.experiment import Copy, Entry, Kind
from asynchy.domain.info import FILES, LARGEST, Info, parse_info
from asynchy.domain.level import Check, Damage, Held, Level
from asynchy.domain.text import count, shown, size
from asynchy.errors import AsynchyError, ReceiptRefused, Stopped
from asynchy.receipt.bag import ODD_NAMES, Bag, place_beside
from asynchy.receipt.crate import MOST_FILES, Facts, described, level_word
from asynchy.service.manifest import make_manifest
from asynchy.service.site import Site
from asynchy.ssh import probe
from asynchy.tree import Tree

log = logging.getLogger(__name__)

_T = TypeVar("_T", Attempt, Check)

KNOWN = "made at home when the files had come, or when they were first audited"


@dataclass(frozen=True)
class Receipt:
    """A receipt that was made."""

    folder: Path
    files: int
    bytes: int
    level: Level | None
    unnamed: int
    """Files that a BagIt manifest cannot name."""
    whole: bool
    """Whether the folder is a bag with its payload."""


def write_down(site: Site, copy: Copy, holdings: Holdings) -> None:
    """Make the digests of a copy that is complete, and its receipt, where the config asks for them.

    What goes wrong is told, and is no failure of the copy.
    """
    if site.means.manifest or site.means.receipt:
        make_manifest(site, copy, holdings)
    if not site.means.receipt:
        return
    folder = place_beside(copy.destination)
    try:
        tell(copy, make_receipt(site, copy, holdings, folder, KNOWN))
    except Stopped:
        log.warning("%s: stopped before it had a receipt: `asynchy receipt` makes one", copy.epn)
    except AsynchyError as error:
        hint = f" ({error.hint})" if error.hint else ""
        log.error("%s: complete, but there is no receipt: %s%s", copy.epn, error, hint)
    except OSError as error:
        where = shown(str(error.filename or folder))
        log.error("%s: complete, but there is no receipt: %s: %s", copy.epn, where, error.strerror)
    except Exception:
        log.exception("%s: complete, but its receipt ended in a defect of asynchy", copy.epn)


def tell(copy: Copy, made: Receipt) -> None:
    """Log a receipt that was made."""
    log.info(
        "%s: receipt of %s, %s (%s) in %s",
        copy.epn, count(made.files, "file"), size(made.bytes), level_word(made.level), made.folder,
    )  # fmt: skip
    if made.unnamed:
        log.warning(
            "%s: the names of %s are no UTF-8, which BagIt cannot say: they stand in %s",
            copy.epn, count(made.unnamed, "file"), ODD_NAMES,
        )  # fmt: skip


def make_receipt(  # noqa: PLR0913 - all that it is made of
    site: Site, copy: Copy, holdings: Holdings, folder: Path, digests: str, *, look: bool = False
) -> Receipt:
    """Write the receipt of a copy that is complete, and that nobody else works on.

    `digests` says in words where they come from. With `look`, the size and time of every file are
    compared with what is known of it.

    Raises:
        ReceiptRefused: it would say what is not so, or the folder is no place for it.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was asked for meanwhile.
        OSError: the folder cannot be written.
    """
    attempts = _mine(copy, site.catalogue.history_of(copy.epn.text))
    with Bag(folder, copy, process.host()) as bag:
        counted = _Counted()
        for file in _sound(site, copy, holdings, look=look):
            counted.add(file, named=bag.add(file))
        completing = [item for item in attempts if item.verdict is Verdict.COMPLETE]
        listed = completing[-1].listed_files if completing else None
        if counted.files < (listed or 0):
            raise ReceiptRefused(
                f"it is not known what all of {copy.epn} is: {counted.files:,} files are, of"
                f" {listed:,}",
                hint=f"asynchy verify --level size {copy.epn}",
            )
        visits = site.catalogue.visits_of(copy.experiment, site.clock.now())
        facts = Facts(
            copy=copy,
            host=process.host(),
            made=site.clock.now(),
            completed=completing[-1].ended if completing else None,
            files=counted.files,
            bytes=counted.bytes,
            unnamed=counted.unnamed,
            level=counted.level,
            digests=digests,
            visits=visits,
            info=None if visits else _info(copy),
            attempts=attempts,
            checks=_mine(copy, site.catalogue.checks_of(copy.epn.text)),
            versions=_versions(),
        )
        crate = described(facts, counted.listed)
        bag.finish(crate, _bag_info(facts), version("asynchy"))
        return Receipt(
            folder, counted.files, counted.bytes, counted.level, counted.unnamed, bag.whole
        )


class _Counted:
    """What was listed so far."""

    def __init__(self) -> None:
        self.files = self.bytes = self.unnamed = 0
        self.level: Level | None = Level.SOURCE
        self.listed: list[Held] | None = []
        """All of them, as long as they are not too many."""

    def add(self, file: Held, *, named: bool) -> None:
        self.files += 1
        self.bytes += file.size
        self.unnamed += not named
        if self.level is not None:
            self.level = None if file.level is None else min(self.level, file.level)
        if self.listed is not None:
            self.listed.append(file)
            if self.files > MOST_FILES:
                self.listed = None


def _sound(site: Site, copy: Copy, holdings: Holdings, *, look: bool) -> Iterator[Held]:
    """The files of a copy, as long as nothing is wrong with any of them."""
    verify = f"asynchy verify {copy.epn}"
    empty = True
    with Tree.of(copy) as tree:
        for file in holdings.everything():
            empty = False
            if site.stop.asked:
                raise Stopped("stopped before the receipt was made")
            name = shown(file.path)
            if file.damage is Damage.EDITED:
                raise ReceiptRefused(
                    f"{copy.epn}: {name} was changed at home",
                    hint=f"`{verify} --restore` brings the facility's back and keeps this one",
                )
            if file.damage is not None:
                raise ReceiptRefused(f"{copy.epn}: {name} is {file.damage.value}", hint=verify)
            if file.sha256 is None:
                raise ReceiptRefused(
                    f"{copy.epn}: no SHA-256 of {name} is known", hint=f"asynchy audit {copy.epn}"
                )
            if look and not _is_as_known(file, tree.find(file.path)):
                raise ReceiptRefused(
                    f"{copy.epn}: {name} is missing, or has another size or time",
                    hint=f"{verify} (with --restore, if a person changed it)",
                )
            yield file
    if empty:
        raise ReceiptRefused(
            f"it is not known what {copy.epn} holds", hint=f"{verify} --level size"
        )


def _is_as_known(file: Held, found: os.stat_result | None) -> bool:
    known = Entry(Kind.FILE, file.path, file.size, file.modified, 0)
    return known.is_same(found)


def _mine(copy: Copy, told: list[tuple[str, _T]]) -> list[_T]:
    return [item for destination, item in told if destination == str(copy.destination)]


def _info(copy: Copy) -> Info | None:
    """What the file beside the data says of it, at home."""
    with Tree.of(copy) as tree:
        for path in FILES:
            try:
                with os.fdopen(tree.open(path), "rb") as stream:
                    info = parse_info(stream.read(LARGEST + 1))
            except OSError:
                continue
            if info is not None:
                return info
    return None


def _versions() -> dict[str, str]:
    rsync, ssh = probe.own_versions()
    found = {"asynchy": version("asynchy"), "rsync": rsync, "ssh": ssh}
    return {name: told for name, told in found.items() if told}


def _bag_info(facts: Facts) -> list[tuple[str, str]]:
    copy = facts.copy
    info = [
        ("External-Identifier", copy.epn.text),
        ("External-Description", facts.name),
        ("Bagging-Date", facts.made.astimezone().date().isoformat()),
        ("Payload-Oxum", f"{facts.bytes}.{facts.files}"),
        ("Level-of-Proof", level_word(facts.level)),
        ("Copy", f"{facts.host}:{shown(str(copy.destination))}"),
        ("Source", shown(copy.source)),
    ]
    if facts.unnamed:
        info.append(("Not-In-Manifest", f"{facts.unnamed} files, see {ODD_NAMES}"))
    return info
