"""eyeground data fetch: a public data set brought here and checked, or the exact steps to get it."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str | None, typer.Argument(help="Name of the set; none = list them all.")] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to bring it to; what is there already is checked. None = describe the set."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Bring a public data set here where its site allows it, check it, and name its classes in English and Chinese."""
    from eyeground.cli.config import ConfigError
    from eyeground.cli.public_sets import fetch_set, list_sets

    if name is not None:
        fetch_set(name, to, as_json=as_json)
    elif to is None:
        list_sets(as_json=as_json)
    else:
        raise ConfigError("--to FOLDER needs the NAME of a set; 'eyeground data fetch' lists them")
