"""Writes a page per command from the command's own help: ``python -m docs.commands``."""

import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperArgument

from eyeground.cli.main import app, words_of
from eyeground.pick import names, pick

FOLDER = Path(__file__).with_name("commands")
_KINDS = {"Path": "path", "int": "whole number", "float": "number", "str": "text"}


def pages() -> dict[str, str]:
    """Write the pages of all commands.

    Returns:
        Name of the command's file on the shelf -> its page, as Markdown. No page hangs on the width or the colors of
        a terminal.

    Example:
        >>> pages()["data_split"].splitlines()[0]
        '# eyeground data split'

    References:
        Our own.
    """
    return {name: _page(name) for name in names("cli.commands")}


def _page(name: str) -> str:
    """Write one command's page."""
    words = " ".join(filter(None, words_of(name)))
    found: Any = typer.main.get_command(app)
    for word in words.split():
        found = found.commands[word]
    types = get_type_hints(pick("cli.commands", name).command)
    arguments = [each for each in found.params if isinstance(each, TyperArgument)]
    options = [each for each in found.params if each not in arguments]
    usage = " ".join(["eyeground", words, *map(_place, arguments), "[OPTIONS]"])
    lines = [f"# eyeground {words}", "", found.help or "", "", "```", usage, "```", ""]
    if arguments:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| `{_place(each)}` | {_cell(each.help or '')} |" for each in arguments]
        lines.append("")
    lines += ["| option | value | default | meaning |", "|---|---|---|---|"]
    for each in options:
        asked = "" if each.is_flag or each.default in (None, "") else f"`{each.default}`"
        told = [f"`{', '.join(each.opts)}`", _kind(each, types[each.name]), asked, _cell(each.help or "")]
        lines.append(f"| {' | '.join(told)} |")
    lines += ["", f"Made by `make docs` from `eyeground {words} --help`; change the help, not this page."]
    return "\n".join(lines) + "\n"


def _place(argument: Any) -> str:
    """Name an argument as a usage line does."""
    word = argument.metavar or argument.name.upper()
    word = str(word) + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _kind(option: Any, annotation: Any) -> str:
    """Say what an option takes."""
    if option.is_flag:
        return ""
    several = get_origin(annotation) is not Literal
    plain = next((kind for kind in get_args(annotation) if several and kind is not type(None)), annotation)
    if get_origin(plain) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(plain))
    plain = get_args(plain)[0] if get_origin(plain) is list else plain  # an option that may be repeated
    low, high = option.min, option.max
    limits = f"{low} to {high}" if None not in (low, high) else f"at least {low}" if low is not None else ""
    return ", ".join(part for part in (_KINDS[plain.__name__], limits) if part)


def _cell(words: str) -> str:
    """Keep a sentence inside its cell."""
    return words.replace("|", "\\|")


def main() -> None:
    """Write every page, and remove those of commands that are gone."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    for name, page in made.items():
        (FOLDER / f"{name}.md").write_text(page, encoding="utf-8")
    for path in FOLDER.glob("*.md"):
        if path.stem not in made:
            path.unlink()
    sys.stdout.write(f"{len(made)} pages in {FOLDER.name}/\n")


if __name__ == "__main__":
    main()
