"""eyeground clinic up: the whole service on this machine, with one command."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    demo: Annotated[
        bool, typer.Option("--demo", help="With a model learned on phantoms (minutes, once) and phantom patients.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web service.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="How many work side by side.")] = 1,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Set up what is missing, then run web service and workers until Ctrl-C; who dies is started again."""
    from eyeground.cli.clinic_up import bring_up

    code = bring_up(config, demo=demo, host=host, port=port, workers=workers, as_json=as_json)
    if code:
        raise typer.Exit(code)
