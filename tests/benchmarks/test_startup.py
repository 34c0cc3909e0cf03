"""The benchmark of the program's start: both ways say the same, and a line is waited for."""

import subprocess
import sys

import pytest

from benchmarks.startup import AT_ONCE, OURS, commands, first_line
from eyeground.pick import names


def said(code: str, *words: str) -> str:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("words", [("predict",), ("data", "split"), ("clinic",)])
def test_both_ways_say_the_same(words: tuple[str, ...]) -> None:
    assert said(OURS, *words, "--help") == said(AT_ONCE, *words, "--help")


def test_a_first_line_is_waited_for() -> None:
    assert first_line("print('here')") > 0
    with pytest.raises(RuntimeError, match="no line"):
        first_line("pass")


def test_every_command_is_asked() -> None:
    assert len(commands()) == len(names("cli.commands"))
    assert ("clinic", "web") in commands()
