"""eyeground clinic amend: a new version of a report that is out."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    case: Annotated[str, typer.Argument(help="Beginning of the case's id.")],
    account: Annotated[str, typer.Option("--as", help="Name of the doctor's account.")],
    reason: Annotated[str, typer.Option(help="Why, in the doctor's words.")],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Open a released case again; what went out stays as it is, and the next signature sends the new version."""
    from eyeground.cli.clinic_opening import acting, opened, settings_of
    from eyeground.cli.clinic_signing import amend_case
    from eyeground.cli.console import answer

    with opened(settings_of(config)) as service:
        case_id, version = amend_case(service, case, reason=reason, doctor=acting(service, account))
    answer({"case": case_id, "version": version}, as_json=as_json, last_line=f"open again: {case_id}")
