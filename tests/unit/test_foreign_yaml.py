"""YAML that is too much, or makes too much of itself: refused soon, and in words."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asynchy.config.ignore_file import IgnoreFile
from asynchy.config.loader import load, load_shared
from asynchy.config.yaml_editor import edit
from asynchy.config.yaml_source import YamlError, parse
from asynchy.errors import AsynchyError, ConfigError, IgnoreListError
from asynchy.model.epn import Epn

SOON = 5.0
"""Seconds of processor time within which each is refused."""
LITTLE = 200_000_000
"""Bytes that it may take besides the program itself."""


def lists(levels: int, width: int = 10) -> str:
    first = f"a0: &a0 [{','.join('x' * width)}]\n"
    return first + "".join(
        f"a{at}: &a{at} [{','.join([f'*a{at - 1}'] * width)}]\n" for at in range(1, levels)
    )


def merges(levels: int, width: int = 10) -> str:
    first = "a0: &a0 {" + ", ".join(f"k{at}: v" for at in range(width)) + "}\n"
    return first + "".join(
        f"a{at}: &a{at} {{<<: [{','.join([f'*a{at - 1}'] * width)}], m{at}: v}}\n"
        for at in range(1, levels)
    )


BOMBS = {
    "aliases of lists": lists(8),
    "aliases of wide lists": lists(3, 1000),
    "aliases of mappings": lists(8).replace("[", "{a: [").replace("]", "]}"),
    "merge keys": merges(8),
    "merge keys of a wide mapping": "a0: &a0 {"
    + ", ".join(f"k{at}: v" for at in range(10_000))
    + "}\n"
    + "".join(f"a{at}: {{<<: *a0}}\n" for at in range(1, 2000)),
    "a chain of merge keys": "a0: &a0 {"
    + ", ".join(f"k{at}: v" for at in range(5_000))
    + "}\n"
    + "".join(f"a{at}: &a{at} {{<<: *a{at - 1}}}\n" for at in range(1, 5000)),
    "deep flow": "a: " + "[" * 100_000,
    "deep mappings": "{a: " * 100_000,
    "deep blocks": "".join(" " * at + "a:\n" for at in range(1000)),
    "dashes": "a:\n" + "- " * 100_000 + "x",
    "very many keys": "".join(f"k{at}: v\n" for at in range(60_000)),
    "very many entries": "a: [" + "x," * 450_000 + "]",
    "two million words": "a: " + "x y " * 500_000,
    "very many comments": "# a comment\n" * 80_000 + "a: b\n" + "#\n" * 30_000,
    "an unknown version": "%YAML 9.9\n---\na: b\n",
    "an alias of itself": "a: &a [*a]",
    "aliases without an anchor": "a: [" + "*a," * 100_000 + "]",
}


@contextmanager
def soon() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SOON


@pytest.mark.extra
@pytest.mark.parametrize("name", BOMBS)
def test_yaml_that_makes_too_much_of_itself_is_refused_soon(name: str) -> None:
    with soon(), pytest.raises(YamlError) as caught:
        parse(BOMBS[name])
    assert caught.value.told


def test_yaml_that_makes_too_much_of_itself_needs_little_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(YamlError, match=r"aliases \(\*\) or merge keys \(<<\) make more"):
            parse(lists(8))
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


def test_a_config_of_aliases_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(lists(8))
    with soon(), pytest.raises(ConfigError, match=r"config\.yml:1: aliases \(\*\)") as caught:
        load_shared(path)
    assert "not YAML" not in caught.value.message
    assert caught.value.hint


def test_an_ignore_file_of_aliases_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    text = lists(8) + "previouslySynched: [12282a]\n"
    path.write_text(text)
    with soon(), pytest.raises(IgnoreListError, match=r"ignore\.yml:1: aliases"):
        IgnoreFile(path).read()
    with soon(), pytest.raises(IgnoreListError, match=r"ignore\.yml:1: aliases"):
        IgnoreFile(path).add_all([Epn("1a")])
    assert path.read_text() == text


@pytest.mark.parametrize("name", ["merge keys", "deep flow"])
def test_a_file_to_edit_is_held_to_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.yml"
    path.write_text(BOMBS[name])
    with soon(), pytest.raises(ValueError, match=r"aliases|nested|more than"):
        edit(path, lambda _: True)
    assert path.read_text() == BOMBS[name]


READERS: dict[str, Callable[[Path], object]] = {
    "config": load_shared,
    "ignore": lambda path: IgnoreFile(path).read(),
    "adding": lambda path: IgnoreFile(path).add_all([Epn("1a")]),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_100_mb_is_not_read_to_its_end(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "large.yml"
    with path.open("wb") as file:
        file.write(b"previouslySynched:\n" + b"- 12282a\n" * 100)
        file.truncate(100_000_000)
    tracemalloc.start()
    try:
        with soon(), pytest.raises(AsynchyError, match=r"large\.yml.*more than 4,000,000 bytes"):
            READERS[reader](path)
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reader", READERS)
def test_what_is_not_a_file_is_named(tmp_path: Path, reader: str) -> None:
    (tmp_path / "folder").mkdir()
    for path, what in ((tmp_path / "folder", "folder"), (Path("/dev/zero"), "device")):
        if reader == "adding" and path != tmp_path / "folder":
            continue  # a lock would be made beside it
        with soon(), pytest.raises(AsynchyError, match=f"a {what}, not a file"):
            READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    begun = time.monotonic()
    with pytest.raises(AsynchyError, match=r"a named pipe, not a file|a pipe that did not end"):
        READERS[reader](path)
    assert time.monotonic() - begun < 2 * SOON


def test_a_config_may_come_through_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("beamline: [mx\n",))
    writer.start()
    with pytest.raises(ConfigError, match="not YAML"):
        load(path)
    writer.join()


def test_very_many_problems_are_counted_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("beamline: mx\n" + "".join(f"odd{at}: 1\n" for at in range(5_000)))
    with soon(), pytest.raises(ConfigError, match=r"and 4,9\d\d more problems") as caught:
        load(path)
    assert len(caught.value.message.splitlines()) == 101


@pytest.mark.extra
def test_long_files_that_people_have_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ignore.yml"
    path.write_text("previouslySynched:\n" + "- 12282a # asynchy\n" * 100_000)
    assert IgnoreFile(path).read().epns == {Epn("12282a")}
    tree = parse("epn_cap_map:\n" + "".join(f'  "{at}": ny79\n' for at in range(10_000)))
    assert isinstance(tree.data, dict)
