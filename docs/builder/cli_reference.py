"""The commands, from click."""

import re
from collections.abc import Iterator
from inspect import cleandoc

import click
from text import escaped, fenced, table

from avtomatika.cli.main import cli


def commands() -> str:
    """Return a section for each command, in the order of ``avtomatika --help``."""
    return "\n\n".join(_sections(cli, click.Context(cli, info_name="avtomatika", **cli.context_settings)))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    level = "#" * min(2 + context.command_path.count(" ") - 1, 3)
    if context.parent is not None:
        yield f"{level} `{context.command_path}`\n\n{_section(command, context)}"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _sections(inner, click.Context(inner, info_name=name, parent=context))


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    options = [each.get_help_record(context) for each in command.get_params(context) if isinstance(each, click.Option)]
    rows = [(f"`{names}`", escaped(text)) for names, text in filter(None, options) if "--help" not in names]
    return "\n".join(
        (
            _help(command.help or ""),
            "" if isinstance(command, click.Group) else fenced(f"{context.command_path} {usage}", "console"),
            table(("option", "meaning"), rows),
        )
    )


def _help(text: str) -> str:
    """Return a help text; its paragraphs that begin with ``\\b`` are shown as they are written."""
    parts = re.split(r"\n\s*\n", cleandoc(text))
    return (
        "\n\n".join(
            fenced(cleandoc(part.removeprefix("\b")), "console") if part.startswith("\b") else escaped(part)
            for part in parts
        )
        + "\n"
    )
