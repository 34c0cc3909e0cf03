"""The command line: one verb a file in ``commands/``; a file is imported when its command is asked for."""

import json
import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperGroup

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
    "argon2": "clinic",
    "authlib": "clinic",
    "psycopg": "clinic",
    "pydantic_settings": "clinic",
    "sqlalchemy": "clinic",
    "boto3": "s3",
    "ray": "ray",
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

FOLDER: Final = Path(__file__).with_name("commands")
# Plain help answers three times as fast as the framed kind.
_PLAIN: Final[dict[str, Any]] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


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


class _Commands(MutableMapping[str, Any]):
    """Commands of one group by how they are typed, each made when it is first taken; groups within it come last."""

    def __init__(self, group: str, groups: MutableMapping[str, Any]) -> None:
        told = ((*words_of(name), name) for name in names("cli.commands"))
        self._files = {verb: FOLDER / f"{name}.py" for of, verb, name in told if of == group}
        self._made = {**groups}

    def __getitem__(self, verb: str) -> Any:
        if verb not in self._made:
            lone = typer.Typer(**_PLAIN)
            lone.command(verb)(pick("cli.commands", self._files[verb].stem).command)
            self._made[verb] = typer.main.get_command(lone)
        return self._made[verb]

    def __setitem__(self, verb: str, command: Any) -> None:
        self._made[verb] = command

    def __delitem__(self, verb: str) -> None:
        del self._made[verb]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._files, **self._made})

    def __len__(self) -> int:
        return len({**self._files, **self._made})

    def summary(self, verb: str) -> str:
        """What a line of help says of a command; its file is read, not imported."""
        if verb not in self._files:
            return str(self._made[verb].help)
        with self._files[verb].open(encoding="utf-8") as file:
            # The first line of the file, such as "eyeground predict: images in, a table of answers out."
            return file.readline().partition(": ")[2].strip().rstrip('"')


class _Group(TyperGroup):
    """A group that lists its commands without importing them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._verbs = _Commands(self.name or "", self.commands)
        self.commands = self._verbs

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            # Typer 0.29 leaves None, and loads pydantic to learn that this is not True.
            option.default = False
        return option

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._verbs)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, self._verbs.summary(verb)) for verb in self._verbs])


app = typer.Typer(
    cls=_Group,
    help="Retinal images: train, judge and use a model, from a folder of images to a report a person can read.",
    no_args_is_help=True,
    **_PLAIN,
)
for _name, _help in GROUPS.items():
    app.add_typer(typer.Typer(cls=_Group, no_args_is_help=True, help=_help, **_PLAIN), name=_name)


def _missing(error: Exception) -> str:
    """What to install, where that is what is wrong."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return f"{name} is not installed: pip install 'eyeground[{EXTRAS[name]}]'" if name in EXTRAS else ""


def _beside_others() -> str:
    """Which process of a training this is, where it is not the first, which speaks for itself."""
    from eyeground.model.processes import started

    own = started()
    return own.words if own and own.rank else ""


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
        beside = _beside_others()
        told = f"{beside}: {told}" if beside else told
        # File names are not ours: what could move the cursor or change colors is taken out.
        shown = "".join(c if c.isprintable() or c in "\n\u3000" else "\ufffd" for c in told)
        print(f"error: {shown}", file=sys.stderr)  # noqa: T201 - the terminal is this function's business
        if "--json" in sys.argv and not beside:
            print(json.dumps({"error": told, "kind": type(error).__name__}))  # noqa: T201
        sys.exit(EXIT_CODES[kind])


if __name__ == "__main__":
    main()
