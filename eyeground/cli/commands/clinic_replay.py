"""eyeground clinic replay: dead letters sent round again, after what hindered them was mended."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers, as 'dead-letters' shows them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that nobody has replayed yet.")] = False,
    account: Annotated[str, typer.Option("--as", help="Account that asks; none = this machine's user.")] = "",
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Try dead letters again; one that is refused again stays where it is, and none costs the others anything."""
    from eyeground.cli.clinic_letters import replay_letters
    from eyeground.cli.clinic_opening import acting, opened, settings_of
    from eyeground.cli.console import answer

    with opened(settings_of(config)) as service:
        dealt = replay_letters(service, numbers or (), every=every, actor=acting(service, account))
    taken = sum(bool(each.replayed_at) for each in dealt.letters)
    last_line = f"taken: {taken} of {len(dealt.letters) + len(dealt.faults)}"
    answer({"replayed": taken, **dealt.to_json()}, as_json=as_json, last_line=last_line)
    if dealt.code:
        raise typer.Exit(dealt.code)
