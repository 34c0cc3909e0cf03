"""eyeground clinic backup: everything in one file, while the service goes on."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Argument(help="File to write; it holds patients' data.")],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Write tables and images into one archive, readable by its owner only; the secret is not in it."""
    from eyeground.cli.clinic_keeping import saved_json, write_backup
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.console import answer

    with opened(settings_of(config)) as service:
        saved = write_backup(service, out)
    answer({"out": str(out), **saved_json(saved)}, as_json=as_json, last_line=f"backup: {out}")
