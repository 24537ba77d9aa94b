"""The links and special files of a copy at home, compared with what came home."""

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
    held: HeldOthers, copy: Copy, listing: int | None, options: TransferOptions, *, fetched: bool
) -> int:
    """Store which of the listed links and special files are at home; how many are lost.

    What the options no longer bring is not lost if it is missing: it counts as left out.
    `fetched`: a transfer has just brought them, so that what is of our user is the facility's.

    Raises:
        CatalogueError: the catalogue cannot be used.
    """
    if listing is None:
        return 0
    try:
        with SafeTree.of(copy) as tree:
            held.keep(_listed(held, tree, listing, fetched=fetched))
    except OSError as error:
        log.warning("%s: its links are not recorded: %s", copy.epn, error_reason(error)[0])
        return 0
    held.forget_unlisted(listing)
    held.forget_lost(symlinks=not options.symlinks, special_files=not options.special_files)
    return held.sum_up()


def link_problem(one: HeldOther, tree: SafeTree) -> str | None:
    """What is wrong with a link or special file that a copy holds; None: nothing.

    Raises:
        OSError: what is at home cannot be read.
    """
    found = tree.find(one.path)
    if found is None:
        return "a link or special file that is missing"
    if not _is_kind(found, is_link=one.target is not None):
        return IN_ITS_PLACE
    if one.target is not None and tree.target(one.path) != one.target:
        return "a link that leads elsewhere now"
    return None


def _listed(
    held: HeldOthers, tree: SafeTree, listing: int, *, fetched: bool
) -> Iterator[HeldOther]:
    """What is to be stored; what was never at home is left out."""
    for path, is_link, before in held.listed(listing):
        heartbeat.beat()
        try:
            found = tree.find(path)
            if found is not None and not _is_kind(found, is_link=is_link):
                found = None
            target = tree.target(path) if found is not None and is_link else None
        except OSError as error:
            if not is_about_one_file(error):
                raise
            found = target = None
        now = _held_now(path, target, found, before, fetched=fetched)
        if now is not None and now != before:
            yield now


def _held_now(
    path: bytes,
    target: bytes | None,
    found: os.stat_result | None,
    before: HeldOther | None,
    *,
    fetched: bool,
) -> HeldOther | None:
    if found is None:
        return None if before is None else HeldOther(path, before.target, lost=True)
    ours = fetched and found.st_uid == os.geteuid()
    if before is None or before.target == target or ours:
        return HeldOther(path, target)
    return HeldOther(path, before.target, lost=True)


def _is_kind(found: os.stat_result, *, is_link: bool) -> bool:
    """Whether what was found is a link, or else a special file."""
    mode = found.st_mode
    if is_link:
        return stat.S_ISLNK(mode)
    return not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode))
