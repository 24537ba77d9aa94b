"""Made experiments: data like those of the MX beamlines, and difficult names and modes."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

_NS_PER_SECOND = 10**9
_YEAR_2016_NS = 1_461_880_800 * _NS_PER_SECOND
_YEAR_1999_NS = 915_148_800 * _NS_PER_SECOND
"""Times are in nanoseconds, as files have them."""

_INFO = """\
{{'EPN': '{epn}',
 'PI': {{'Email': 'ada@uni.example', 'Name': 'Ada Lovelace', 'ScientistID': 17}},
 'startBooking': '2016-04-29 08:00:00',
 'finishBooking': '2016-04-29 16:00:00',
 'users': [{{'Email': 'zoe@uni.example', 'Name': 'Zoë Nguyễn', 'ScientistID': 18}}]}}
"""

AWKWARD = (
    b"with blanks in it.cbf",
    b" leading and trailing ",
    b"quote's.txt",
    b'double "quotes".txt',
    b"$(touch pwned)",
    b"`touch pwned`",
    b"a;b|c&d>e<f",
    b"stars * and ? and [x]",
    b"new\nline.h5",
    b"tab\there",
    b"carriage\rreturn",
    b"colour \x1b[31mred\x1b[0m",
    b"back\\slash",
    b"looks escaped \\#123",
    b"\\#012",
    b"-rf",
    b"--delete",
    b"#comment",
    b";comment",
    b"here -> there",
    b"\xff\xfe not utf-8",
    b"caf\xe9 latin-1",
    "Zoë Åsa 光 \N{MICROSCOPE}.txt".encode(),
    b"tilde~",
    b"data.h5.partial",
    b"100%",
    b"{epn}",
    b"l" * 255,
)


def mx_experiment(
    folder: Path,
    epn: str,
    *,
    frames: int = 20,
    frame_bytes: int = 200_000,
    runs: int = 3,
    seed: int = 1,
) -> None:
    """Write an experiment such as the MX beamlines make them; the same for the same seed."""
    chance = random.Random(f"{epn} {seed}")
    sample = folder / "frames" / "ada" / "lysozyme 1"
    _write(sample / "lyso_1_master.h5", chance.randbytes(20_000), _YEAR_2016_NS)
    for at in range(frames):
        number = at // 2 + 1
        detector = f"lyso_1_{number:04}.cbf" if at % 2 else f"lyso_1_data_{number:06}.h5"
        modified = _YEAR_2016_NS + at * _NS_PER_SECOND + at * 123_456
        _write(sample / detector, chance.randbytes(frame_bytes), modified)
    for run in range(runs):
        place = folder / "home" / "ada" / "auto" / "dataset" / f"run_{run}"
        for name in ("XDS.INP", "CORRECT.LP", "aimless.log", "REMARKS.TXT"):
            _write(
                place / name,
                chance.randbytes(chance.randrange(3000)),
                _YEAR_1999_NS + run * _NS_PER_SECOND,
            )
    for info in (folder / ".info", folder / "frames" / ".info"):
        _write(info, _INFO.format(epn=epn).encode(), _YEAR_2016_NS)
    _worthless(folder)
    _odd_kinds(folder)
    _odd_modes(folder)
    _date_folders(folder)


def awkward_names(folder: Path) -> None:
    """Write files and folders with difficult names."""
    place = os.fsencode(folder / "awkward")
    for at, name in enumerate(AWKWARD):
        write_bytes(place + b"/" + name, b"%d\n" % at)
    write_bytes(place + b"/dir\nwith newline/\xe9/x\n", b"deep\n")
    write_bytes(place + b"/" + b"/".join([b"d" * 100] * 12) + b"/end", b"far down\n")
    _date_folders(folder)


def many_small_files(folder: Path, count: int = 20_000, *, seed: int = 1) -> None:
    """Write `count` files of up to 2 KiB, a hundred to a folder."""
    chance = random.Random(seed)
    stock = chance.randbytes(8192)
    for at in range(count):
        if at % 100 == 0:
            place = folder / "home" / "ada" / "auto" / f"dataset_{at // 100:04}"
            place.mkdir(parents=True, exist_ok=True)
        start = chance.randrange(6000)
        file = place / f"frame_{at:06}.log"
        file.write_bytes(stock[start : start + chance.randrange(2049)])
        os.utime(file, ns=(_YEAR_1999_NS, _YEAR_1999_NS + at * _NS_PER_SECOND))
    _date_folders(folder)


def big_sparse_file(path: Path, size: int = 4 * 2**30 + 4097) -> None:
    """Write a file of that size that is mostly holes; blocks at start, middle and end are not."""
    chance = random.Random(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for place in (0, size // 2, size - 5000):
            file.seek(place)
            file.write(chance.randbytes(5000))
    os.utime(path, ns=(_YEAR_2016_NS, _YEAR_2016_NS))


def _worthless(folder: Path) -> None:
    _write(folder / "home" / "ada" / ".bash_history", b"ls\n", _YEAR_2016_NS)
    _write(folder / "home" / "ada" / ".cache" / "thumbnails" / "x.png", b"PNG", _YEAR_2016_NS)


def _odd_kinds(folder: Path) -> None:
    _write(folder / "home" / "ada" / "empty.txt", b"", _YEAR_2016_NS)
    (folder / "home" / "ada" / "empty folder").mkdir()
    links = {"inside": "empty.txt", "outside": "/etc/hostname", "dangling": "nowhere"}
    for name, target in links.items():
        (folder / "home" / "ada" / name).symlink_to(target)
    os.mkfifo(folder / "home" / "ada" / "pipe")


def _odd_modes(folder: Path) -> None:
    place = folder / "home" / "ada" / "modes"
    for mode in (0o400, 0o444, 0o640, 0o660, 0o755, 0o777, 0o2755, 0o4755):
        file = place / f"{mode:04o}"
        _write(file, b"%o\n" % mode, _YEAR_1999_NS)
        file.chmod(mode)
    os.utime(place / "0755", ns=(_YEAR_1999_NS, _YEAR_1999_NS + 987_654_321))
    _write(place / "read-only" / "file", b"x", _YEAR_2016_NS)
    _write(place / "sticky" / "file", b"x", _YEAR_2016_NS)
    (place / "sticky").chmod(0o1777)
    (place / "read-only").chmod(0o555)


def _date_folders(folder: Path) -> None:
    """Give all folders a time of their own, since each file that is made in one changes it."""
    for place, _, _ in os.walk(os.fsencode(folder), topdown=False):
        os.utime(place, ns=(_YEAR_2016_NS, _YEAR_2016_NS))


def _write(path: Path, data: bytes, modified: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(modified, modified))


def write_bytes(path: bytes, data: bytes) -> None:
    """Write a file, even if its path is longer than the system allows in one call."""
    *folders, name = path.lstrip(b"/").split(b"/")
    at = os.open(b"/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, dir_fd=at)
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=at)
        os.write(file, data)
        os.utime(file, ns=(_YEAR_2016_NS, _YEAR_2016_NS))
        os.close(file)
    finally:
        os.close(at)
