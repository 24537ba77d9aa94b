"""Writes receipts: facts about a copy in a form that other programs and people can check."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from asynchy.catalogue.copy_files import CopyFiles
from asynchy.errors import AsynchyError, ReceiptRefused, Stopped
from asynchy.localfs import process_identity
from asynchy.localfs.safe_tree import SafeTree
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.experiment import Copy
from asynchy.model.formatting import count, escaped, size
from asynchy.model.info_file import FILES, MAX_INFO_BYTES, Info, parse_info
from asynchy.model.verification import Check, CopyFile, Damage, Level
from asynchy.receipts.bag import ODD_NAMES, Bag, place_beside
from asynchy.receipts.checksums import store_checksums
from asynchy.receipts.crate import MAX_FILES, ReceiptData, described, level_word
from asynchy.runtime.context import RunContext
from asynchy.ssh import capabilities

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


def finalize_copy(context: RunContext, copy: Copy, copy_files: CopyFiles) -> None:
    """Compute the digests of a complete copy, and make its receipt, if the config asks for them.

    Problems are logged, and are not a failure of the copy.
    """
    if context.transfer_options.manifest or context.transfer_options.receipt:
        store_checksums(context, copy, copy_files)
    if not context.transfer_options.receipt:
        return
    folder = place_beside(copy.destination)
    try:
        log_receipt(copy, make_receipt(context, copy, copy_files, folder, KNOWN))
    except Stopped:
        log.warning("%s: stopped before it had a receipt: `asynchy receipt` makes one", copy.epn)
    except AsynchyError as error:
        hint = f" ({error.hint})" if error.hint else ""
        log.error("%s: complete, but there is no receipt: %s%s", copy.epn, error, hint)
    except OSError as error:
        path = escaped(error.filename or os.fspath(folder))
        log.error("%s: complete, but there is no receipt: %s: %s", copy.epn, path, error.strerror)
    except Exception:
        log.exception("%s: complete, but its receipt ended in a defect of asynchy", copy.epn)


def log_receipt(copy: Copy, receipt: Receipt) -> None:
    """Log a receipt that was made."""
    log.info(
        "%s: receipt of %s, %s (%s) in %s",
        copy.epn, count(receipt.files, "file"), size(receipt.bytes), level_word(receipt.level),
        receipt.folder,
    )  # fmt: skip
    if receipt.unnamed:
        log.warning(
            "%s: the names of %s are not UTF-8, which BagIt requires: they are listed in %s",
            copy.epn, count(receipt.unnamed, "file"), ODD_NAMES,
        )  # fmt: skip


def make_receipt(  # noqa: PLR0913 - the parts of a receipt
    context: RunContext,
    copy: Copy,
    copy_files: CopyFiles,
    folder: Path,
    digests: str,
    *,
    compare: bool = False,
) -> Receipt:
    """Write the receipt of a complete copy that no other process works on.

    `digests`: their origin, as text for people. With `compare`, the size and time of every file are
    compared with the recorded ones.

    Raises:
        ReceiptRefused: it would not be true, or cannot be put into the folder.
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile.
        OSError: the folder cannot be written.
    """
    attempts = _info_of(copy, context.catalogue.history.attempts_of(copy.epn.text))
    record = context.catalogue.copy_record(copy)
    with Bag(folder, copy, process_identity.host()) as bag:
        counted = _Counted()
        for file in _verified_files(context, copy, copy_files, compare=compare):
            counted.add(file, named=bag.add(file))
        completing = [item for item in attempts if item.verdict is Verdict.COMPLETE]
        listed = completing[-1].listed_files if completing else None
        if counted.files < (listed or 0):
            raise ReceiptRefused(
                f"it is not known what all of {copy.epn} is: {counted.files:,} files are, of"
                f" {listed:,}",
                hint=f"asynchy verify --level size {copy.epn}",
            )
        visits = context.catalogue.visits_of(copy.experiment, context.clock.now())
        facts = ReceiptData(
            copy=copy,
            host=process_identity.host(),
            made=context.clock.now(),
            completed=completing[-1].ended if completing else None,
            files=counted.files,
            bytes=counted.bytes,
            unnamed=counted.unnamed,
            level=counted.level,
            digests=digests,
            left_out=None if record is None else record.left_out,
            visits=visits,
            info=None if visits else _info(copy),
            attempts=attempts,
            checks=_info_of(copy, context.catalogue.history.checks_of(copy.epn.text)),
            versions=_versions(),
        )
        crate = described(facts, counted.listed)
        bag.finish(crate, _bag_info(facts), version("asynchy"))
        return Receipt(
            folder, counted.files, counted.bytes, counted.level, counted.unnamed, bag.complete
        )


class _Counted:
    """Counts of the files so far."""

    def __init__(self) -> None:
        self.files = self.bytes = self.unnamed = 0
        self.level: Level | None = Level.SOURCE
        self.listed: list[CopyFile] | None = []
        """All of them, up to `MAX_FILES`."""

    def add(self, file: CopyFile, *, named: bool) -> None:
        self.files += 1
        self.bytes += file.size
        self.unnamed += not named
        if self.level is not None:
            self.level = None if file.level is None else min(self.level, file.level)
        if self.listed is not None:
            self.listed.append(file)
            if self.files > MAX_FILES:
                self.listed = None


def _verified_files(
    context: RunContext, copy: Copy, copy_files: CopyFiles, *, compare: bool
) -> Iterator[CopyFile]:
    """The files of a copy, as long as nothing is wrong with any of them."""
    verify = f"asynchy verify {copy.epn}"
    empty = True
    with SafeTree.of(copy) as tree:
        for file in copy_files.everything():
            empty = False
            if context.stop.requested:
                raise Stopped("stopped before the receipt was made")
            name = escaped(file.path)
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
            if compare and not file.is_as_arrived(tree.find(file.path)):
                raise ReceiptRefused(
                    f"{copy.epn}: {name} is missing, or has another size or time",
                    hint=f"{verify} (with --restore, if a person changed it)",
                )
            yield file
    if empty:
        raise ReceiptRefused(
            f"it is not known what {copy.epn} holds", hint=f"{verify} --level size"
        )


def _info_of(copy: Copy, told: list[tuple[str, _T]]) -> list[_T]:
    return [item for destination, item in told if destination == str(copy.destination)]


def _info(copy: Copy) -> Info | None:
    """The content of the file beside the data, at home."""
    with SafeTree.of(copy) as tree:
        for path in FILES:
            try:
                with os.fdopen(tree.open(path), "rb") as stream:
                    info = parse_info(stream.read(MAX_INFO_BYTES + 1))
            except OSError:
                continue
            if info is not None:
                return info
    return None


def _versions() -> dict[str, str]:
    rsync, ssh = capabilities.own_versions()
    found = {"asynchy": version("asynchy"), "rsync": rsync, "ssh": ssh}
    return {name: told for name, told in found.items() if told}


def _bag_info(facts: ReceiptData) -> list[tuple[str, str]]:
    copy = facts.copy
    info = [
        ("External-Identifier", copy.epn.text),
        ("External-Description", facts.name),
        ("Bagging-Date", facts.made.astimezone().date().isoformat()),
        ("Payload-Oxum", f"{facts.bytes}.{facts.files}"),
        ("Level-of-Proof", level_word(facts.level)),
        ("Left-Out", facts.left_out_words),
        ("Copy", f"{facts.host}:{escaped(str(copy.destination))}"),
        ("Source", escaped(copy.source)),
    ]
    if facts.unnamed:
        info.append(("Not-In-Manifest", f"{facts.unnamed} files, see {ODD_NAMES}"))
    return info
