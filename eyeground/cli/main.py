"""The command line: one verb a file in ``commands/``; nothing heavy is imported before a verb needs it."""

import json
import os
import sys

import typer

from eyeground.cli.exit_codes import EXIT_CODES, kind_of
from eyeground.pick import names, pick

ADVICE = {
    "OutOfMemoryError": "The device's memory is full: lower batch_size, raise accumulation, or set grad_checkpointing",
    "OSError": "Nothing already written was lost; put it right (free space, allow writing) and run the command again",
}
# What to install where something is missing that only some commands need.
EXTRAS = {
    "alembic": "clinic",
    "aio_pika": "clinic",
    "psycopg": "clinic",
    "pydantic_settings": "clinic",
    "sqlalchemy": "clinic",
    "boto3": "s3",
    "fastapi": "serve",
    "prometheus_client": "serve",
    "uvicorn": "serve",
}
# What the commands of a group have in common.
GROUPS = {
    "clinic": "The screening service: requests in, graded, signed by a doctor, answered.",
    "data": "Work on data sets.",
    "weights": "Fetch, look into and convert weights.",
}

app = typer.Typer(
    help="Retinal images: train, judge and use a model, from a folder of images to a report a person can read.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help answers three times as fast as the framed kind.
    rich_markup_mode=None,
)


def words_of(name: str) -> tuple[str, str]:
    """Say how the command of a file is typed.

    Args:
        name: Name of a file of the shelf.

    Returns:
        Its group, empty where it has none, and its verb.

    Example:
        >>> words_of("clinic_dead_letters"), words_of("demo")
        (('clinic', 'dead-letters'), ('', 'demo'))

    References:
        Our own.
    """
    group, _, verb = name.partition("_")
    return (group, verb.replace("_", "-")) if group in GROUPS else ("", name.replace("_", "-"))


def _hang_up_commands() -> None:
    """Hang every file of the shelf under its name; ``data_split`` becomes ``data split``."""
    groups: dict[str, typer.Typer] = {}
    for name in names("cli.commands"):
        module = pick("cli.commands", name)
        group, verb = words_of(name)
        if group and group not in groups:
            groups[group] = typer.Typer(no_args_is_help=True, help=GROUPS[group], rich_markup_mode=None)
            app.add_typer(groups[group], name=group)
        # The first line of the file, such as "eyeground predict: images in, a table of answers out."
        summary = (module.__doc__ or "").partition(": ")[2].strip()
        (groups[group] if group else app).command(verb, short_help=summary)(module.command)


_hang_up_commands()


def _missing(error: Exception) -> str:
    """What to install, where that is what is wrong."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return f"{name} is not installed: pip install 'eyeground[{EXTRAS[name]}]'" if name in EXTRAS else ""


def main() -> None:
    """Run the command line; every expected failure ends in one message and an exit code, not in a traceback.

    References:
        docs/run.md for the exit codes.
    """
    try:
        app()
    except Exception as error:
        missing = _missing(error)
        kind = "RuntimeMissing" if missing else kind_of(error)
        if kind is None or os.environ.get("EYEGROUND_DEBUG"):
            raise
        told = missing or "\n".join(filter(None, (str(error), ADVICE.get(kind))))
        # File names are not ours: what could move the cursor or change colors is taken out.
        shown = "".join(c if c.isprintable() or c in "\n\u3000" else "\ufffd" for c in told)
        print(f"error: {shown}", file=sys.stderr)  # noqa: T201 - the terminal is this function's business
        if "--json" in sys.argv:
            print(json.dumps({"error": told, "kind": type(error).__name__}))  # noqa: T201
        sys.exit(EXIT_CODES[kind])
