"""The program's own part: commands are listed without being imported, and imported when they are asked for."""

import json
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from eyeground.cli.main import GROUPS, app, words_of
from eyeground.pick import names, pick


def found(name: str) -> Any:
    command: Any = typer.main.get_command(app)
    for word in filter(None, words_of(name)):
        command = command.commands[word]
    return command


def loaded(*words: str) -> tuple[str, set[str]]:
    """What a command says, and the modules that its process holds at the end."""
    script = (
        "import json, sys\n"
        f"sys.argv = ['eyeground', *{list(words)!r}]\n"
        "from eyeground.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *shown, last = answer.stdout.splitlines()
    return "\n".join(shown), set(json.loads(last))


@pytest.mark.parametrize("name", names("cli.commands"))
def test_a_command_is_hung_up_under_its_name_and_says_what_its_file_says(name: str) -> None:
    command = found(name)
    module = pick("cli.commands", name)
    assert command.callback.__wrapped__ is module.command
    group, verb = words_of(name)
    shelf: Any = typer.main.get_command(app)
    shelf = shelf.commands[group] if group else shelf
    # The summary is read from the file, not from the module: it is the same.
    assert shelf.commands.summary(verb) == module.__doc__.partition(": ")[2].strip()


def test_the_program_s_help_names_every_command_and_imports_none() -> None:
    shown, modules = loaded("--help")
    for name in names("cli.commands"):
        group, verb = words_of(name)
        assert f"\n  {group or verb} " in shown
    assert not any(each.startswith("eyeground.cli.commands.") for each in modules)
    assert "pydantic" not in modules


@pytest.mark.parametrize("words", [("predict", "--help"), ("clinic", "web", "--help"), ("data", "--help")])
def test_help_imports_the_one_command_and_no_parser_of_values(words: tuple[str, ...]) -> None:
    shown, modules = loaded(*words)
    assert shown.startswith(f"Usage: eyeground {' '.join(words[:-1])} ")
    mine = {each.rpartition(".")[2] for each in modules if each.startswith("eyeground.cli.commands.")}
    assert mine == ({"_".join(words[:-1])} if words[0] != "data" else set())
    assert "pydantic" not in modules


def test_commands_stand_in_order_and_groups_last() -> None:
    shelf: Any = typer.main.get_command(app)
    alone = [words_of(name)[1] for name in names("cli.commands") if not words_of(name)[0]]
    assert list(shelf.commands) == [*alone, *GROUPS]
    shelf.commands["demo"]
    assert list(shelf.commands) == [*alone, *GROUPS]
    assert len(shelf.commands) == len(alone) + len(GROUPS)


@pytest.mark.parametrize(
    ("words", "said"),
    [(["predcit"], "Did you mean 'predict'"), (["clinic", "wbe"], "Did you mean 'web'"), (["weights", "x"], "'x'")],
)
def test_a_word_that_is_no_command_is_refused_with_what_was_meant(words: list[str], said: str) -> None:
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 2
    assert said in answer.output


@pytest.mark.parametrize("words", [[], ["clinic"], ["data"]])
def test_without_a_command_there_is_help(words: list[str]) -> None:
    assert "Commands:" in CliRunner().invoke(app, words).output


def test_values_are_still_checked() -> None:
    answer = CliRunner().invoke(app, ["predict", "model", "image.png", "--batch-size", "0"])
    assert answer.exit_code == 2
    assert "--batch-size" in answer.output
