"""Write what follows from the code: the pages of commands and exit codes, and the man pages.

python scripts/reference.py          write them (`make reference`)
python scripts/reference.py FOLDER   below another folder, which a test compares
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from asynchy import errors
from asynchy.cli.lazy import loaded
from asynchy.cli.main import asynchy

ROOT = Path(__file__).parents[1]
NOTE = "<!-- Written by `make reference` from the code; do not edit by hand. -->"


def programs() -> dict[str, click.Command]:
    """The four programs, in the order in which the README names them."""
    return {
        "mxsync": loaded("mxsync.mxsync"),
        "epnalert": loaded("alert.epnalert"),
        "as-walker": loaded("walk.as_walker"),
        "asynchy": asynchy,
    }


def contexts(
    name: str, command: click.Command, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """A command and, depth first, all below it."""
    context = click.Context(command, parent=parent, info_name=name, terminal_width=80)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from contexts(below, found, context)


def options(context: click.Context) -> list[tuple[str, str]]:
    """Each option and what it does."""
    found = [one.get_help_record(context) for one in context.command.get_params(context)]
    return [one for one in found if one is not None and one[1]]


def usage(context: click.Context) -> str:
    """The line that shows how a command is written."""
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def help_of(context: click.Context) -> str:
    """The help text of a command, its paragraphs one line each."""
    text = inspect.cleandoc(context.command.help or "").partition("\f")[0]
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def commands_page() -> str:
    """`docs/reference/commands.md`."""
    lines = [NOTE, "", "# Commands", ""]
    for name, program in programs().items():
        for context in contexts(name, program):
            level = "##" if context.parent is None else "###"
            lines += [f"{level} {context.command_path}", "", f"    {usage(context)}", ""]
            lines += [help_of(context), ""]
            given = options(context)
            if given:
                lines += ["| option | meaning |", "| --- | --- |"]
                lines += [f"| `{cell(left)}` | {cell(right)} |" for left, right in given]
                lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def cell(text: str) -> str:
    """A text as it stands in a table of Markdown."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def exit_codes() -> list[tuple[int, str]]:
    """Each exit code and its meaning: the docstring below it in `errors.ExitCode`."""
    (found,) = (
        node
        for node in ast.parse(inspect.getsource(errors)).body
        if isinstance(node, ast.ClassDef) and node.name == errors.ExitCode.__name__
    )
    meanings = []
    for member, text in zip(found.body, found.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            assert isinstance(member.targets[0], ast.Name) and isinstance(text.value, ast.Constant)
            code = errors.ExitCode[member.targets[0].id]
            meanings.append((int(code), " ".join(str(text.value.value).split())))
    assert len(meanings) == len(errors.ExitCode)
    return meanings


def exit_codes_page() -> str:
    """`docs/reference/exit-codes.md`."""
    rows = [f"| {code} | {meaning} |" for code, meaning in exit_codes()]
    return "\n".join(
        [NOTE, "", "# Exit codes", "", "| code | meaning |", "| --- | --- |", *rows, ""]
    )


def man_page(context: click.Context) -> str:
    """A man page in the macros of man(7)."""
    name = context.command_path.replace(" ", "-")
    first, *rest = help_of(context).split("\n\n")
    lines = [
        f'.TH "{roff(name.upper())}" 1 "" asynchy "Commands of asynchy"',
        ".SH NAME",
        f"{roff(name)} \\- {roff(first)}",
        ".SH SYNOPSIS",
        f".B {roff(usage(context))}",
    ]
    if rest:
        lines += [".SH DESCRIPTION", *(f".PP\n{roff(part)}" for part in rest)]
    if given := options(context):
        lines.append(".SH OPTIONS")
        for left, right in given:
            lines += [".TP", f".B {roff(left)}", roff(" ".join(right.split()))]
    if isinstance(context.command, click.Group):
        lines.append(".SH COMMANDS")
        for below in context.command.list_commands(context):
            found = context.command.get_command(context, below)
            assert found is not None
            lines += [
                ".TP",
                f".BR {roff(name)}\\-{roff(below)} (1)",
                roff(found.get_short_help_str(300)),
            ]
    lines.append(".SH EXIT STATUS")
    for code, meaning in exit_codes():
        lines += [".TP", f".B {code}", roff(meaning)]
    return "\n".join(lines) + "\n"


def roff(text: str) -> str:
    """A text in which roff finds no commands."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


def files() -> Iterator[tuple[str, str]]:
    """Each file that follows from the code: its path from the root, and its text."""
    yield "docs/reference/commands.md", commands_page()
    yield "docs/reference/exit-codes.md", exit_codes_page()
    for name, program in programs().items():
        for context in contexts(name, program):
            page = context.command_path.replace(" ", "-")
            yield f"share/man/man1/{page}.1", man_page(context)


def main() -> None:
    """Write all of them, and remove man pages of commands that are gone."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    made = dict(files())
    for old in (root / "share").rglob("*"):
        if old.is_file() and str(old.relative_to(root)) not in made:
            old.unlink()
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


if __name__ == "__main__":
    main()
