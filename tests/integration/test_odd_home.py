"""What the file system at home refuses of one file costs that file alone, by each engine alike."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Home, give

THEN = 1_700_000_000
"""Seconds since 1970: when all files at the facility were changed."""
NAMES = ("aaa", "bbb", "sub/ccc")
Refuse = Callable[[str, int, str], None]

pytestmark = pytest.mark.parametrize("engine", ["sftp", "rsync"])


@pytest.fixture
def refuse(home: Home, refusing_library: str) -> Refuse:
    """Has the file system of the project refuse an operation from now on."""

    def rule(operation: str, number: int, path: str) -> None:
        home.program.environment |= {
            "LD_PRELOAD": refusing_library,
            "REFUSES": f"{operation} {number} {home.storage}/{path}",
        }

    return rule


def refuse_nothing(home: Home) -> None:
    home.program.environment.pop("REFUSES")


@pytest.fixture
def source(home: Home, engine: str) -> Path:
    found = home.facility.experiment("mx", "12282a")
    for name in NAMES:
        written(found, name, f"this is {name}")
    home.visit("12282a")
    home.configure(engine=engine)
    return found


def written(source: Path, name: str, text: str) -> None:
    path = source / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (THEN, THEN))
    give(source)


def at_home(home: Home) -> set[str]:
    copy = home.copy("12282a")
    return {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}


def reason(home: Home) -> str:
    (row,) = home.status("12282a")
    return str(row["last"]["reason"])


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize(
    ("operation", "number"),
    [("rename", number) for number in (errno.EBUSY, errno.ETXTBSY, errno.EIO, errno.ENOSYS)]
    + [("look", errno.EIO), ("look", errno.EREMOTEIO), ("rename", errno.EOVERFLOW)],
)
def test_any_error_of_one_file_keeps_back_that_file_alone(
    home: Home, refuse: Refuse, operation: str, number: int
) -> None:
    refuse(operation, number, "ny79/12282a/data/bbb")
    for moved in (2, 0):
        assert home.once().returncode == 1
        assert {"aaa", "sub/ccc"} <= at_home(home)
        why = {errno.EIO: "the file system at home has an input/output error (EIO)"}.get(
            number, f"{os.strerror(number)} (at home)"
        )
        assert reason(home) == f"1 file could not be fetched, the first of them bbb: {why}"
        assert f"bbb: {why} (look at `dmesg`" in home.log
        (row,) = home.status("12282a")
        assert row["last"]["files"] == moved
    refuse_nothing(home)
    assert home.once().returncode == 0
    assert at_home(home) == set(NAMES)


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("number", [errno.EROFS, errno.ESTALE, errno.ENOSPC, errno.EDQUOT])
def test_a_place_that_is_full_or_closed_keeps_back_itself_alone_where_the_copy_takes_files(
    home: Home, refuse: Refuse, number: int
) -> None:
    refuse("rename", number, "ny79/12282a/data/bbb")
    assert home.once().returncode == 1
    assert at_home(home) == {"aaa", "sub/ccc"}
    assert reason(home).startswith("1 file could not be fetched, the first of them bbb: the ")
    assert f"({errno.errorcode[number]})" in reason(home)


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("number", [errno.EPERM, errno.EBUSY])
def test_a_name_that_home_takes_nowhere_is_told_by_its_path_and_keeps_back_itself_alone(
    home: Home, refuse: Refuse, number: int
) -> None:
    refuse("rename", number, "*/sub/ccc")
    for moved in (2, 0):
        assert home.once().returncode == 1
        assert at_home(home) == {"aaa", "bbb"}
        assert reason(home).startswith(
            f"1 file could not be fetched, the first of them sub/ccc: {os.strerror(number)} (at home)"
        )
        (row,) = home.status("12282a")
        assert row["last"]["files"] == moved
    assert ".asynchy-temporary" not in home.log
    assert "rsync error" not in home.log


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_home_that_takes_no_modes_is_named_and_done_without(
    home: Home, engine: str, refuse: Refuse, number: int
) -> None:
    refuse("mode", number, "*")
    assert home.once().returncode == 1
    assert "aaa: the file system at home refuses its mode (`modes: umask`" in reason(home)
    home.configure(engine=engine, modes="umask")
    assert home.once().returncode == 0
    assert at_home(home) == set(NAMES)


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_home_that_takes_no_times_has_the_files_and_does_not_fetch_them_again(
    home: Home, engine: str, refuse: Refuse, number: int
) -> None:
    refuse("time", number, "*")
    for moved in (3, 0):
        assert home.once().returncode == 1
        assert at_home(home) == set(NAMES)
        assert reason(home) == (
            "3 files are at home without the right time, the first of them aaa: "
            "the file system at home refuses its time (`compare: size` does without it)"
        )
        (row,) = home.status("12282a")
        assert row["last"]["files"] == moved
    home.configure(engine=engine, compare="size")
    assert home.once().returncode == 0


def test_a_time_that_is_refused_for_what_is_there_keeps_nothing_else_back(
    home: Home, source: Path, refuse: Refuse
) -> None:
    assert home.once().returncode == 0
    (home.place / "ignore.yml").write_text("previouslySynched: []\n")
    os.utime(home.copy("12282a") / "aaa", (THEN - 5, THEN - 5))
    written(source, "new", "new")
    refuse("time", errno.EPERM, "*")
    home.once()
    assert (home.copy("12282a") / "new").read_text() == "new"


def test_a_file_that_is_too_large_for_home_keeps_back_itself_alone(
    home: Home, source: Path
) -> None:
    large = 30_000_000
    for name in ("a-large", "large", "sub/large"):
        written(source, name, "")
        os.truncate(source / name, large + len(name))
        os.utime(source / name, (THEN, THEN))
    written(source, "zzz", "last")
    most = ["prlimit", "--fsize=20000000"]
    for _ in range(2):
        run = home.once(around=most)
        assert run.returncode == 1
        assert at_home(home) == {*NAMES, "zzz"}
        assert reason(home).startswith("3 files could not be fetched, the first of them ")
        assert reason(home).endswith("large: it is larger than a file at home may be (EFBIG)")
    assert home.once().returncode == 0
    assert at_home(home) >= {"large", "a-large", "sub/large"}


@pytest.mark.usefixtures("source")
def test_by_size_alone_no_file_counts_as_changed_on_a_home_that_takes_no_times(
    home: Home, engine: str, refuse: Refuse
) -> None:
    refuse("time", errno.EPERM, "*")
    home.configure(engine=engine, compare="size", manifest=False)
    for _ in range(3):
        home.once()
        (home.place / "ignore.yml").write_text("previouslySynched: []\n")
        (row,) = home.status("12282a")
        assert (row["last"]["verdict"], row["edited"], row["damaged"]) == ("complete", 0, 0)
    audit = home.program.run("asynchy", "--config", home.config, "audit")
    assert "nothing wrong" in audit.stdout, audit.stdout
    changed = home.copy("12282a") / "aaa"
    changed.write_text("ours to be aaa"[: changed.stat().st_size].ljust(changed.stat().st_size))
    os.utime(changed, (THEN + 9, THEN + 9))
    home.once()
    (row,) = home.status("12282a")
    assert (row["last"]["verdict"], row["edited"]) == ("complete", 1)
