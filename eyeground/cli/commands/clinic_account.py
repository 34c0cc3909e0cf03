"""eyeground clinic account: who may do what."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, . _ -; stands in the audit trail.")],
    role: Annotated[Literal["", "doctor", "operator", "admin", "site"], typer.Option(help="What it may do.")] = "",
    title: Annotated[str, typer.Option(help="Name that stands on reports, such as 'Dr Li'.")] = "",
    site: Annotated[str, typer.Option(help="The one site it is for; none = all.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take its rights away, for good.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Make an account, whose token is shown once, or revoke one."""
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.clinic_setup import NewAccount, change_account
    from eyeground.cli.config import ConfigError
    from eyeground.cli.console import answer, tell

    if not role and not revoke:
        raise ConfigError("say --role doctor, operator, admin or site; or --revoke")
    if revoke and (role or title or site):
        raise ConfigError("--revoke takes the account's name alone")
    with opened(settings_of(config)) as service:
        wanted = NewAccount(name, role, title, site) if role else name
        token = change_account(service, wanted)
    if token:
        tell(f"{name}: its token is shown this once")
    told = {"account": name, "token": token or None, "revoked": revoke}
    answer(told, as_json=as_json, last_line=token or f"revoked: {name}")
