"""eyeground clinic verify-audit: are the audit trail, and what was signed, what was written?"""

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
    """Check every line of the audit trail and every signature; exit code 1 where one does not hold."""
    from eyeground.cli.clinic_keeping import verify_trail
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.console import answer

    with opened(settings_of(config)) as service:
        lines = verify_trail(service)
    answer(
        {"lines": lines, "whole": True}, as_json=as_json, last_line=f"whole: {lines} lines, and every signature holds"
    )
