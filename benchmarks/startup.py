"""How soon the command line answers: the first line of ``--help`` of the program and of every command.

Against the same commands all imported and hung up at once, as a typer program is usually written; and against the same
interpreter doing nothing, which is the floor.
"""

import statistics
import subprocess
import sys
import time

from benchmarks.claim import Claim, paired, turns
from eyeground.cli.main import words_of
from eyeground.pick import names

OURS = "import sys; sys.argv = ['eyeground', *sys.argv[1:]]; from eyeground.cli.main import main; main()"
AT_ONCE = """
import sys
sys.argv = ["eyeground", *sys.argv[1:]]
import typer
from eyeground.cli.main import GROUPS, words_of
from eyeground.pick import names, pick
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
groups = {}
for name in names("cli.commands"):
    module = pick("cli.commands", name)
    group, verb = words_of(name)
    if group and group not in groups:
        groups[group] = typer.Typer(no_args_is_help=True, help=GROUPS[group], rich_markup_mode=None)
        app.add_typer(groups[group], name=group)
    summary = (module.__doc__ or "").partition(": ")[2].strip()
    (groups[group] if group else app).command(verb, short_help=summary)(module.command)
app()
"""
FLOORS = {"an interpreter that does nothing": "print()", "one that imports typer": "import typer; print()"}


def first_line(code: str, *words: str) -> float:
    """Time from the start of a process to the first line it writes. Unit: s."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError(f"{' '.join(words) or 'the program'}: no line came")
        took = time.perf_counter() - began
        process.stdout.read()
    return took


def commands() -> list[tuple[str, ...]]:
    """How each command is typed."""
    return [tuple(filter(None, words_of(name))) for name in names("cli.commands")]


def every_command(rounds: int = 2) -> Claim:
    """Ask each command for its help, in both ways."""
    ours: dict[tuple[str, ...], list[float]] = {words: [] for words in commands()}
    reference: dict[tuple[str, ...], list[float]] = {words: [] for words in ours}
    for _ in range(rounds):
        for words in ours:
            ours[words].append(first_line(OURS, *words, "--help"))
            reference[words].append(first_line(AT_ONCE, *words, "--help"))
    times = {words: 1000 * statistics.median(took) for words, took in ours.items()}
    slowest = max(times, key=lambda words: times[words])
    note = f"median of {len(times)} commands; slowest: {' '.join(slowest)}, {times[slowest]:.0f} ms"
    middle = [1000 * statistics.median(took) for took in reference.values()]
    return paired(
        "first line of `eyeground COMMAND --help`", list(times.values()), middle, "all commands imported at once", "ms",
        note=note,
    )  # fmt: skip


def run(rounds: int = 7) -> list[Claim]:
    """Measure the program's help, then every command's."""
    works = {"ours": OURS, "at once": AT_ONCE, **FLOORS}
    took = turns({name: lambda code=code: first_line(code, "--help") for name, code in works.items()},
                 rounds=rounds, least_s=0)  # fmt: skip
    ms = {name: [1000 * each for each in times] for name, times in took.items()}
    floors = ", ".join(f"{name}: {statistics.median(ms[name]):.0f} ms" for name in FLOORS)
    what = "first line of `eyeground --help`"
    return [
        paired(what, ms["ours"], ms["at once"], "all commands imported at once", "ms", note=floors),
        paired(what, ms["ours"], ms["an interpreter that does nothing"], "an interpreter that does nothing", "ms"),
        every_command(),
    ]
