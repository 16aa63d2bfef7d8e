"""Renders `docs/commands.md` from the commands themselves, so that the page cannot say what the program does not."""

from __future__ import annotations

import os

import click

from nodes.cli import comity

_PREAMBLE = """# Commands

Generated from the program by `make generate`. Exit status of every command: 0 holds or done, 1 does not hold or was
refused, 2 misuse, 3 something that is needed is not available. `validator run` also has 4, 5 and 6, see
[operating.md](operating.md); `demo` ends with 130 when it is interrupted.
"""


def _pages(command: click.Command, name: str, parent: click.Context | None) -> list[tuple[str, str]]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    pages = [(context.command_path, command.get_help(context))]
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                pages += _pages(found, child, context)
    return pages


def render() -> str:
    """The whole page, the same on every machine."""
    os.environ.pop("COLUMNS", None)
    parts = [_PREAMBLE]
    parts += [f"\n## `{path}`\n\n```text\n{text.rstrip()}\n```\n" for path, text in _pages(comity, "comity", None)]
    return "".join(parts)
