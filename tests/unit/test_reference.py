"""Pages that follow from the code are as the code is now, and what pages name is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from asynchy.cli.lazy import loaded
from asynchy.cli.main import asynchy
from asynchy.errors import ExitCode

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts and "decisions" not in page.parts]
PROGRAMS = {
    "mxsync": "mxsync.mxsync",
    "epnalert": "alert.epnalert",
    "as-walker": "walk.as_walker",
}


def test_the_reference_is_as_make_reference_writes_it(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "reference.py"
    subprocess.run([sys.executable, script, tmp_path], check=True)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(ROOT) for path in (ROOT / "share").rglob("*.1")}
    assert written == kept | {
        Path("docs/reference/commands.md"),
        Path("docs/reference/exit-codes.md"),
    }
    old = [
        str(path) for path in written if (tmp_path / path).read_text() != (ROOT / path).read_text()
    ]
    assert not old, "run `make reference`"


def test_the_readme_has_every_exit_code_and_no_other() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(int(code) for row in rows for code in row.split(",")) == sorted(ExitCode)


def command_lines() -> list[tuple[str, str]]:
    """What pages tell the reader to type: indented lines, and text in backticks."""
    found = []
    for page in PAGES:
        text = page.read_text()
        typed = re.findall(r"^    (?:\S+=\S+ )*(\S.*)$", text, re.MULTILINE)
        typed += re.findall(r"`([^`\n]+)`", text)
        for line in typed:
            if re.match(r"(\S*/)?(asynchy|mxsync|epnalert|as-walker) (?!could )", line):
                found.append((page.name, line))
    return found


def known(line: str) -> bool:
    """Whether the command and its options are there."""
    words = [word for word in shlex.split(re.sub(r"…|\.\.\.", "X", line), comments=True) if word]
    ends = [at for at, word in enumerate(words) if word in ("|", "||", "&&", ">")]
    words = words[: min(ends, default=None)]
    name = words.pop(0).rpartition("/")[2]
    command: click.Command = loaded(PROGRAMS[name]) if name in PROGRAMS else asynchy
    context = click.Context(command, info_name=name, **command.context_settings)
    options = {option for one in command.get_params(context) for option in one.opts}
    while words:
        word = words.pop(0)
        if isinstance(command, click.Group) and not word.startswith("-"):
            below = command.get_command(context, word)
            if below is None:
                return word.isupper() or not word[0].isalnum()
            command, context = below, click.Context(below, parent=context, info_name=word)
            options |= {option for one in command.get_params(context) for option in one.opts}
        elif word.startswith("--"):
            if word.partition("=")[0].replace("-", "_") not in {
                one.replace("-", "_") for one in options
            }:
                return False
            if word == "--config" and words:
                words.pop(0)
    return True


def test_pages_name_many_commands() -> None:
    assert len(command_lines()) > 100


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
def test_a_command_that_a_page_names_is_there(page: str, line: str) -> None:
    assert known(line)


def links() -> list[tuple[Path, str]]:
    """The links of pages to files, without those to the web."""
    pages = [*PAGES, *sorted((ROOT / "docs" / "decisions").glob("*.md")), ROOT / "CONTRIBUTING.md"]
    found = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    ]
    return [(page, link) for page, link in found if not re.match(r"https?:|mailto:|#", link)]


def test_every_link_of_a_page_leads_to_a_file() -> None:
    assert len(links()) > 60
    broken = [
        f"{page.name}: {link}"
        for page, link in links()
        if not (page.parent / link.partition("#")[0]).exists()
    ]
    assert not broken
