"""eyeground clinic worker: takes requests in, has the models look, sends the answers."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    processes: Annotated[int, typer.Option(min=1, help="How many work side by side.")] = 1,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Work until asked to stop; SIGTERM lets what has begun finish, within 30 s. Exit code 75: to be started again."""
    import json

    from eyeground.cli.clinic_working import work

    code = work(config, processes=processes)
    if as_json:
        typer.echo(json.dumps({"code": code}))
    if code:
        raise typer.Exit(code)
