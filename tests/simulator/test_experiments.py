"""The made experiments: the same for the same seed, and with everything that is hard in them."""

from __future__ import annotations

import ast
import hashlib
import os
import stat
from pathlib import Path

from simulator.experiments import awkward_names, big_sparse_file, many_small_files, mx_experiment

Entry = tuple[int, int, str]


def entries(folder: Path) -> dict[bytes, Entry]:
    """Name -> mode, time and contents, of all below a folder."""
    found: dict[bytes, Entry] = {}
    root = os.fsencode(folder)
    for place, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = place + b"/" + name
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = str(Path(os.fsdecode(path)).readlink())
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
            link = stat.S_ISLNK(status.st_mode) or stat.S_ISFIFO(status.st_mode)
            time = 0 if link else status.st_mtime_ns
            found[path.removeprefix(root + b"/")] = (status.st_mode, time, content)
    return found


def test_an_mx_experiment_is_the_same_for_the_same_seed(place: Path) -> None:
    for name in ("one", "two"):
        mx_experiment(place / name, "12282a", frames=4, frame_bytes=1000)
    mx_experiment(place / "three", "12282a", frames=4, frame_bytes=1000, seed=2)
    assert entries(place / "one") == entries(place / "two")
    assert entries(place / "one") != entries(place / "three")


def test_an_mx_experiment_has_what_is_hard_in_it(place: Path) -> None:
    mx_experiment(place / "12282a", "12282a", frames=4, frame_bytes=1000)
    found = entries(place / "12282a")
    names = b"\n".join(found)
    for ending in (b"_master.h5", b"_data_000001.h5", b"_0001.cbf", b".bash_history"):
        assert ending in names
    for information_file in (".info", "frames/.info"):
        text = (place / "12282a" / information_file).read_text("utf-8")
        information = ast.literal_eval(text)
        assert information["EPN"] == "12282a"
        assert set(information) == {"EPN", "PI", "startBooking", "finishBooking", "users"}
        assert set(information["PI"]) == {"Email", "Name", "ScientistID"}
    modes = {stat.S_IMODE(mode) for mode, _, _ in found.values()}
    assert modes >= {0o400, 0o444, 0o640, 0o755, 0o4755, 0o2755, 0o1777, 0o555}
    assert {stat.S_IFMT(mode) for mode, _, _ in found.values()} == {
        stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO,
    }  # fmt: skip
    times = [time for _, time, _ in found.values() if time]
    assert {time % 10**9 == 0 for time in times} == {True, False}
    assert max(times) < 1_500_000_000 * 10**9


def test_awkward_names_are_all_there(place: Path) -> None:
    for name in ("one", "two"):
        awkward_names(place / name)
    found = entries(place / "one")
    assert found == entries(place / "two")
    parts = {part for name in found for part in name.split(b"/")}
    for part in (
        b" leading and trailing ", b"$(touch pwned)", b"-rf", b"--delete", b"#comment", b";comment",
        b"here -> there", b"tilde~", b"data.h5.partial", b"dir\nwith newline", b"l" * 255,
        b"looks escaped \\#123",
    ):  # fmt: skip
        assert part in parts
    everything = b"".join(parts)
    for piece in (b"'", b'"', b"`", b"|", b"*", b"?", b"[", b"\n", b"\t", b"\r", b"\x1b[31m"):
        assert piece in everything
    for piece in (b"\\", b"\xff\xfe", b"caf\xe9", "é".encode("latin-1"), "\N{MICROSCOPE}".encode()):
        assert piece in everything
    assert max(map(len, found)) > 1000


def test_many_small_files_are_many_and_small(place: Path) -> None:
    for name in ("one", "two"):
        many_small_files(place / name, 1000, seed=5)
    found = entries(place / "one")
    assert found == entries(place / "two")
    files = [path for path in (place / "one").rglob("*") if path.is_file()]
    assert len(files) == 1000
    assert len({path.parent for path in files}) == 10
    assert max(path.stat().st_size for path in files) <= 2048


def test_a_big_file_takes_next_to_no_space(place: Path) -> None:
    big_sparse_file(place / "image.sqfs")
    status = (place / "image.sqfs").stat()
    assert status.st_size == 4 * 2**30 + 4097
    assert status.st_blocks * 512 < 2**20
    with (place / "image.sqfs").open("rb") as file:
        for at in (0, status.st_size // 2, status.st_size - 5000):
            file.seek(at)
            assert any(file.read(5000))
