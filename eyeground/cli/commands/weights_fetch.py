"""eyeground weights fetch: a release into the cache, under its licence, with every byte and every key checked."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str, typer.Argument(help="Name of a release; 'eyeground weights list' shows all.")],
    file: Annotated[
        Path | None, typer.Option(help="A file fetched by hand; none = download it (HF_TOKEN, HF_ENDPOINT).")
    ] = None,
    accept_licence: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the licence you have read and accept; needed once.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Fetch released weights once; then a configuration may say weights: NAME."""
    from eyeground.cli.zoo import fetch_release

    fetch_release(name, file=file, accept_licence=accept_licence, as_json=as_json)
