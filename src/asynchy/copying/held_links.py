"""Compares the links and special files of a copy at home with the recorded ones."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator

from asynchy.catalogue.held_others import HeldOther, HeldOthers
from asynchy.localfs.copy_tree import error_reason
from asynchy.localfs.safe_tree import SafeTree, is_about_one_file
from asynchy.model import heartbeat
from asynchy.model.experiment import Copy
from asynchy.model.transfer_options import TransferOptions

log = logging.getLogger(__name__)

IN_ITS_PLACE = "something else in the place of a link or special file; move it away, then `verify`"


def record_links(
    held_others: HeldOthers,
    copy: Copy,
    listing: int | None,
    options: TransferOptions,
    *,
    fetched: bool,
) -> int:
    """Store which of the listed links and special files are at home; returns how many are lost.

    One that the options no longer include counts as left out, not as lost. `fetched`: a transfer
    has just brought them, so that those of our user are the facility's.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    if listing is None:
        return 0
    try:
        with SafeTree.of(copy) as tree:
            held_others.keep(_listed(held_others, tree, listing, fetched=fetched))
    except OSError as error:
        log.warning("%s: its links are not recorded: %s", copy.epn, error_reason(error)[0])
        return 0
    held_others.forget_unlisted(listing)
    held_others.forget_lost(symlinks=not options.symlinks, special_files=not options.special_files)
    return held_others.sum_up()


def link_problem(link: HeldOther, tree: SafeTree) -> str | None:
    """The problem of a link or special file of a copy; None: it has none.

    Raises:
        OSError: it cannot be read.
    """
    file_stat = tree.find(link.path)
    if file_stat is None:
        return "a link or special file that is missing"
    if not _is_kind(file_stat, is_link=link.target is not None):
        return IN_ITS_PLACE
    if link.target is not None and tree.target(link.path) != link.target:
        return "a link that leads elsewhere now"
    return None


def _listed(
    held_others: HeldOthers, tree: SafeTree, listing: int, *, fetched: bool
) -> Iterator[HeldOther]:
    """The records to store; entries that were never at home are left out."""
    for path, is_link, recorded in held_others.listed(listing):
        heartbeat.beat()
        try:
            file_stat = tree.find(path)
            if file_stat is not None and not _is_kind(file_stat, is_link=is_link):
                file_stat = None
            target = tree.target(path) if file_stat is not None and is_link else None
        except OSError as error:
            if not is_about_one_file(error):
                raise
            file_stat = target = None
        now = _held_now(path, target, file_stat, recorded, fetched=fetched)
        if now is not None and now != recorded:
            yield now


def _held_now(
    path: bytes,
    target: bytes | None,
    file_stat: os.stat_result | None,
    recorded: HeldOther | None,
    *,
    fetched: bool,
) -> HeldOther | None:
    if file_stat is None:
        return None if recorded is None else HeldOther(path, recorded.target, lost=True)
    is_own = fetched and file_stat.st_uid == os.geteuid()
    if recorded is None or recorded.target == target or is_own:
        return HeldOther(path, target)
    return HeldOther(path, recorded.target, lost=True)


def _is_kind(file_stat: os.stat_result, *, is_link: bool) -> bool:
    """Whether an entry is a link, or a special file if not `is_link`."""
    mode = file_stat.st_mode
    if is_link:
        return stat.S_ISLNK(mode)
    return not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode))
