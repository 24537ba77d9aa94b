"""Changing a YAML file that people edit by hand, too: locked, in one step, comments kept."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from asynchy.config.text_file import read_text, with_plain_line_ends
from asynchy.config.yaml_source import BoundedComposer, parse

_LOCK_WAIT = 30.0
"""Seconds to wait for another process that changes the same file; it needs milliseconds."""
_TRIES = 20


def edit(path: Path, change: Callable[[CommentedMap], bool]) -> bool:
    """Change the mapping in a YAML file; whether the file was written.

    `change` gets the mapping as it stands in the file right now (an empty one where there is no
    file) and says whether it changed it. The rest is as in `edit_text`.

    Raises:
        ValueError: the file is not YAML, not a mapping, or too large.
        OSError: it cannot be read or written; TimeoutError: another process keeps it locked.
    """
    return edit_text(path, lambda text: changed(text, change))


def edit_text(path: Path, change: Callable[[str], str | None]) -> bool:
    """Change the text of a file that people edit, too; whether it was written.

    `change` gets the text as it is in the file right now (an empty one if there is no file), with
    a line feed at the end of each line, and returns the new one, or None if there is nothing to
    change. It is called again if somebody edits the file meanwhile, so that a hand edit is never
    lost. Line ends of Windows stay. At any instant there is the old file or the new one, flushed.

    Raises:
        OSError: it cannot be read or written; TimeoutError: another process keeps it locked.
        ValueError: the file is not UTF-8, too large, or no file.
    """
    path = path.resolve()
    with _locked(path):
        for _ in range(_TRIES):
            before = _identity(path)
            try:
                written = "" if before is None else read_text(path, any_line_ends=True)
            except FileNotFoundError:  # removed this moment
                continue
            text = with_plain_line_ends(written)
            wanted = change(text)
            if wanted is None:
                return False
            if "\r\n" in written and written.count("\n") == written.count("\r\n"):
                wanted = wanted.replace("\n", "\r\n")
            if _replace(path, wanted, before):
                return True
    raise TimeoutError(f"{path} kept changing while it was to be written")


def changed(text: str, change: Callable[[CommentedMap], bool]) -> str | None:
    """The YAML text after a change of its mapping; comments and style are kept.

    None if `change` says that it changed nothing.

    Raises:
        ValueError: it is not YAML, not a mapping, too large, or a comment would be lost.
    """
    yaml = _yaml(text)
    data = _mapping(yaml, text)
    return _dumped(yaml, data, text) if change(data) else None


def _yaml(text: str) -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.Composer = BoundedComposer
    yaml.preserve_quotes = True
    yaml.width = 10_000
    dash = re.search(r"^( *)- ", text, re.MULTILINE)
    indent = len(dash[1]) if dash else 0
    yaml.indent(mapping=2, sequence=indent + 2, offset=indent)
    return yaml


def _mapping(yaml: YAML, text: str) -> CommentedMap:
    parse(text)  # aliases and merge keys that make too much of it
    try:
        data: Any = yaml.load(text)
    except YAMLError as error:
        raise ValueError(f"not YAML: {str(error).partition(chr(10))[0]}") from None
    if data is None:  # nothing, or comments only
        data = CommentedMap()
    if not isinstance(data, CommentedMap):
        raise ValueError("not a mapping of keys and values")
    return data


def _dumped(yaml: YAML, data: CommentedMap, before: str) -> str:
    comments = re.findall(r"(?m)(?:^|\s)(#.*)$", before)
    for _ in range(2):
        stream = io.StringIO()
        yaml.dump(data, stream)
        text = stream.getvalue()
        if comments and not re.search(r"(?m)^\s*[^#\s]", before):
            return f"{before.rstrip()}\n{text}"  # comments only: they stay above
        if all(comment.strip() in text for comment in comments):
            return text
        for value in data.values():  # comments within [ ] are lost, unless one entry has a line
            if isinstance(value, CommentedSeq):
                value.fa.set_block_style()
    raise ValueError("a comment would be lost; write the list one entry a line, each after a -")


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _replace(path: Path, text: str, before: tuple[int, int, int] | None) -> bool:
    """Put the text in the file's place, unless the file is no longer what it was before."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o664)
            with contextlib.suppress(FileNotFoundError):  # new, or removed this moment
                _keep_rights(path, file.fileno())
            os.fsync(file.fileno())
        if _identity(path) != before:
            return False  # somebody was faster
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    _flush_folder(path.parent)
    return True


def _keep_rights(path: Path, descriptor: int) -> None:
    found = path.stat()
    with contextlib.suppress(PermissionError):  # only root may give a file away
        os.fchown(descriptor, found.st_uid, found.st_gid)
    os.fchmod(descriptor, found.st_mode & 0o777)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the file; the file itself is replaced, so it cannot carry it."""
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o664)
    try:
        deadline = time.monotonic() + _LOCK_WAIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another process keeps {path} locked") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
