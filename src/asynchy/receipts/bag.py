"""A bag (BagIt 1.0, RFC 8493) around a copy, whose files stay unchanged in their place.

A copy whose folder is called `data` is the payload of a bag as it is, once the bag's other files
are beside it. Anywhere else they make a bag without its payload: `fetch.txt` has its location
(docs/decisions/0022).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import quote

from asynchy.errors import ReceiptRefused
from asynchy.localfs.safe_tree import FOLDER, is_there, opened, own_folder_name
from asynchy.model.experiment import Copy
from asynchy.model.formatting import escaped
from asynchy.model.verification import CopyFile

PAYLOAD = "data"
CRATE = "ro-crate-metadata.json"
MANIFEST = "manifest-sha256.txt"
ODD_NAMES = "names-not-utf-8.sha256"
"""In sha256sum's format: the files that a manifest cannot name."""
_INFO = "bag-info.txt"
_FETCH = "fetch.txt"
_TAGS = "tagmanifest-sha256.txt"
_DECLARATION = "bagit.txt"
_ALL = (CRATE, MANIFEST, ODD_NAMES, _FETCH, _INFO, _TAGS, _DECLARATION)
_SCRATCH = ".asynchy-receipt"
_AGENT = "Bag-Software-Agent: asynchy"
_FILE, _FOLDER = 0o660, 0o2770
"""A receipt names people: the project's group reads it, others do not."""
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def place_beside(destination: Path) -> Path:
    """The default folder of a copy's receipt: near the data, never among them."""
    if destination.name == PAYLOAD:
        return destination.parent
    return destination.with_name(f"{destination.name}.asynchy-receipt")


def name_in_manifest(path: str) -> str:
    """How a manifest names a file of the payload (RFC 8493, section 2.1.3)."""
    encoded = path.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"{PAYLOAD}/{encoded}"


def sha256sum_line(digest: bytes, path: bytes) -> bytes:
    """A line of sha256sum(1), which can name every file."""
    name = PAYLOAD.encode() + b"/" + path
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"" if escaped == name else b"\\"
    return mark + digest.hex().encode() + b"  " + escaped + b"\n"


class Bag:
    """The files of a bag, written again: they take the places of older ones when all are there.

    A context manager for one thread; its methods raise OSError. Left before `finish`, it has
    changed nothing.
    """

    def __init__(self, folder: Path, copy: Copy, host: str) -> None:
        """Open a folder for the receipt of a copy on a host; it is made where it is missing.

        Raises:
            ReceiptRefused: the folder is no place for it.
        """
        real, data = folder.resolve(), copy.destination.resolve()
        if real.is_relative_to(data):
            raise ReceiptRefused(
                f"{folder} is in the copy itself",
                hint="files in it would be unexpected files of the copy; name another folder",
            )
        self.complete = real / PAYLOAD == data
        """Whether the payload is there, too."""
        self._copy = copy
        self._path = folder
        self._host = host
        self._files: dict[str, _BagFile] = {}
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            self._folder = _make(folder, copy.project_folder)
            opening.callback(os.close, self._folder)
            self._refuse_others(folder)
            # Members of the project may put something else under that name.
            self._scratch_name = own_folder_name(self._folder, _SCRATCH)
            self._scratch = self._empty_scratch()
            self._stack = opening.pop_all()
        self._stack.callback(os.close, self._scratch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            for file in self._files.values():
                file.close()
            _clear(self._scratch)
            os.rmdir(self._scratch_name, dir_fd=self._folder)

    def add(self, file: CopyFile) -> bool:
        """List a file with a known digest; False if the manifest, in UTF-8, cannot name it."""
        assert file.sha256 is not None
        try:
            name = name_in_manifest(file.path.decode()).encode()
        except UnicodeDecodeError:
            self._write(ODD_NAMES, sha256sum_line(file.sha256, file.path))
            return False
        self._write(MANIFEST, file.sha256.hex().encode() + b"  " + name + b"\n")
        if not self.complete:
            offset = quote(os.fsencode(self._copy.destination) + b"/" + file.path)
            self._write(_FETCH, f"file://{self._host}{offset} {file.size} ".encode() + name + b"\n")
        return True

    def finish(self, crate: bytes, info: list[tuple[str, str]], version: str) -> None:
        """Put all files in place; `info`: fields of `bag-info.txt`; `version`: asynchy's."""
        lines = [f"{label}: {' '.join(value.split())}\n" for label, value in info]
        self._write(MANIFEST, b"")  # of an experiment without files, too
        self._write(CRATE, crate)
        self._write(_INFO, f"{_AGENT} {version}\n{''.join(lines)}".encode())
        self._write(_DECLARATION, b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        tags = sorted((name, file.sha256) for name, file in self._files.items())
        self._write(_TAGS, "".join(f"{sha256}  {name}\n" for name, sha256 in tags).encode())
        for file in self._files.values():
            file.close()
        self._refuse_folders()
        # Without its declaration it is not a bag: at no time can old and new files be taken for
        # one.
        self._remove(_DECLARATION)
        for name in _ALL:
            if name in self._files:
                os.rename(name, name, src_dir_fd=self._scratch, dst_dir_fd=self._folder)
            else:
                self._remove(name)
        os.fsync(self._folder)

    def _write(self, name: str, data: bytes) -> None:
        if name not in self._files:
            self._files[name] = _BagFile(name, self._scratch)
        self._files[name].write(data)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder)

    def _refuse_others(self, folder: Path) -> None:
        """Refuse to overwrite files of others, or a receipt of another experiment."""
        self._refuse_folders()
        existing = {name for name in _ALL if is_there(self._folder, name)}
        if not existing or (_INFO in existing and _is_of(self._copy, self._folder)):
            return
        raise ReceiptRefused(
            f"{folder} holds {escaped(min(existing))}, which is of no receipt of {self._copy.epn}",
            hint="name another folder with --out, or move away what is there",
        )

    def _refuse_folders(self) -> None:
        """Refuse before anything is removed: no file can take the place of a folder."""
        for name in _ALL:
            try:
                mode = os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(mode):
                raise ReceiptRefused(
                    f"{self._path / name} is a folder, in the place of a file of the receipt",
                    hint="move it away; nothing was changed",
                )

    def _empty_scratch(self) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._scratch_name, 0o700, dir_fd=self._folder)
        scratch = os.open(self._scratch_name, FOLDER, dir_fd=self._folder)
        _clear(scratch)
        return scratch


@contextlib.contextmanager
def opened_receipt(folder: Path, copy: Copy) -> Iterator[dict[str, BinaryIO]]:
    """The files of a receipt of a copy, by name, open for reading; empty if there is none.

    Other files, and a receipt of another experiment, are ignored.

    Raises:
        OSError: the folder is not there, or cannot be read.
    """
    with contextlib.ExitStack() as stack:
        descriptor = _opened(folder, copy.project_folder)
        stack.callback(os.close, descriptor)
        files: dict[str, BinaryIO] = {}
        for name in (_DECLARATION, *_ALL[:-1]):
            with contextlib.suppress(FileNotFoundError):
                stream = os.fdopen(os.open(name, _READ_FLAGS, dir_fd=descriptor), "rb")
                files[name] = stack.enter_context(stream)
        is_whole = _DECLARATION in files and _INFO in files and _is_of(copy, descriptor)
        if is_whole and _is_same(files[_DECLARATION], descriptor):
            yield files
        else:
            yield {}


def _is_same(declaration: BinaryIO, folder: int) -> bool:
    """Whether no other receipt has taken its place while its files were opened."""
    try:
        file_stat = os.stat(_DECLARATION, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(file_stat, os.fstat(declaration.fileno()))


def made_at(files: dict[str, BinaryIO]) -> float:
    """When an opened receipt was finished; seconds since 1970."""
    return os.fstat(files[_DECLARATION].fileno()).st_mtime


class _BagFile:
    """A file that is written, and its SHA-256."""

    def __init__(self, name: str, folder: int) -> None:
        self._stream = os.fdopen(os.open(name, _CREATE_FLAGS, _FILE, dir_fd=folder), "wb")
        os.fchmod(self._stream.fileno(), _FILE)
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of the bytes written so far."""
        return self._sha256.hexdigest()

    def write(self, data: bytes) -> None:
        self._sha256.update(data)
        self._stream.write(data)

    def close(self) -> None:
        """Have it on the disks."""
        if not self._stream.closed:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()


def _make(folder: Path, project: Path) -> int:
    """The descriptor of a folder; below the project folder no link to it is followed."""
    if not folder.is_relative_to(project):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=_FOLDER)
    elif folder != project:
        parent = opened(project, folder.parent)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder.name, dir_fd=parent)
                os.chmod(folder.name, _FOLDER, dir_fd=parent)
        finally:
            os.close(parent)
    return _opened(folder, project)


def _opened(folder: Path, project: Path) -> int:
    if folder.is_relative_to(project):
        return opened(project, folder)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _is_of(copy: Copy, folder: int) -> bool:
    """Whether a folder has a receipt that asynchy made of the experiment."""
    with os.fdopen(os.open(_INFO, _READ_FLAGS, dir_fd=folder), "rb") as stream:
        lines = stream.read(65_536).decode("utf-8", "replace").splitlines()
    # Older receipts have the letters as people wrote them.
    own_lines = f"external-identifier: {copy.epn.text}"
    return bool(lines) and lines[0].startswith(_AGENT) and own_lines in map(str.lower, lines)


def _clear(folder: int) -> None:
    for name in os.listdir(folder):
        os.unlink(name, dir_fd=folder)
