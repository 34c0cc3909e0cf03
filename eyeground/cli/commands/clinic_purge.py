"""eyeground clinic purge: released cases that are older than they have to be kept."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    really: Annotated[bool, typer.Option("--really", help="Take them out; without it they are only counted.")] = False,
    letters_days: Annotated[
        int, typer.Option(min=1, help="Dead letters go so long after their replay. Unit: days.")
    ] = 90,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Count, or take out, released cases unchanged for retention_years, and leftovers of queues; never an open case."""
    from eyeground.cli.clinic_keeping import purge_old
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.console import answer

    with opened(settings_of(config)) as service:
        told = purge_old(service, letters_days=letters_days, really=really)
    verb = "taken out" if really else "old enough (say --really to take them out)"
    line = f"cases: {told['cases']}, images: {told['images']}, dead letters: {told['letters']}; {verb}"
    answer(told, as_json=as_json, last_line=line)
