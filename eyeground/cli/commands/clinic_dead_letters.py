"""eyeground clinic dead-letters: messages that were not taken, and cases that could not be worked on."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    every: Annotated[bool, typer.Option("--all", help="Those that were replayed, too.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """List dead letters with everything that is wrong, never what was sent."""
    from eyeground.cli.clinic_letters import letter_json, list_letters
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.console import answer

    with opened(settings_of(config)) as service:
        letters = list_letters(service, replayed=every)
    told = {"letters": [letter_json(each) for each in letters]}
    answer(told, as_json=as_json, last_line=f"dead letters: {len(letters)}")
