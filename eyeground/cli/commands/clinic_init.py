"""eyeground clinic init: folder, secret, tables and the first account; said again, it brings the tables up to date."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Set the service up, or bring its database to this version; what is there is left as it is."""
    from eyeground.cli.clinic_setup import set_up, show_setup
    from eyeground.cli.console import answer

    found = set_up(config)
    show_setup(found)
    answer(found.to_json(), as_json=as_json, last_line="ready: eyeground clinic up")
