"""eyeground clinic init: folder, secret, tables and the first account; said again, it brings the tables up to date."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    admin: Annotated[
        bool,
        typer.Option(
            "--admin", help="Make the first account and show its password, which a terminal and --json ask for, too."
        ),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Set the service up, or bring its database to this version; what is there is left as it is."""
    import sys

    from eyeground.cli.clinic_setup import FIRST, set_up, show_setup
    from eyeground.cli.console import answer

    # Where nobody asked for it, as under systemd, a password would stay in a journal.
    wanted = admin or as_json or sys.stderr.isatty()
    found = set_up(config, accounts=FIRST if wanted else ())
    show_setup(found)
    answer(found.to_json(), as_json=as_json, last_line="ready: eyeground clinic up")
