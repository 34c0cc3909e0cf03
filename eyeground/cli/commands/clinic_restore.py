"""eyeground clinic restore: a backup into an empty database and store, of either kind."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    archive: Annotated[Path, typer.Argument(help="As 'eyeground clinic backup' wrote it.")],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Check an archive and fill an empty service from it; it needs no 'init', but the secret of its writer."""
    from eyeground.cli.clinic_keeping import read_backup, saved_json
    from eyeground.cli.clinic_opening import settings_of
    from eyeground.cli.console import answer

    saved = read_backup(settings_of(config), archive)
    answer(saved_json(saved), as_json=as_json, last_line=f"restored: {saved.audit} lines of the audit trail verified")
