"""eyeground clinic dead-letters: messages that were not taken, and cases that could not be worked on."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    every: Annotated[bool, typer.Option("--all", help="Those that were dealt with, too.")] = False,
    dismiss: Annotated[
        list[int] | None, typer.Option(min=1, help="Close this one, which can never be replayed; may be repeated.")
    ] = None,
    account: Annotated[
        str, typer.Option("--as", help="Account that dismisses: operator or admin; none = this machine's user.")
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """List dead letters with everything that is wrong, never what was sent; or close some that are past help."""
    from eyeground.cli.clinic_letters import dismiss_letters, letter_json, list_letters
    from eyeground.cli.clinic_opening import acting, opened, settings_of
    from eyeground.cli.config import ConfigError
    from eyeground.cli.console import answer

    if every and dismiss:
        raise ConfigError("--all lists, --dismiss closes: say one of them")
    with opened(settings_of(config)) as service:
        if dismiss:
            dealt = dismiss_letters(service, dismiss, actor=acting(service, account))
            answer(dealt.to_json(), as_json=as_json, last_line=f"dismissed: {len(dealt.letters)} of {len(dismiss)}")
            if dealt.code:
                raise typer.Exit(dealt.code)
            return
        letters = list_letters(service, replayed=every)
    told = {"letters": [letter_json(each) for each in letters]}
    answer(told, as_json=as_json, last_line=f"dead letters: {len(letters)}")
