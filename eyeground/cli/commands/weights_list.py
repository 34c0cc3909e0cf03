"""eyeground weights list: released weights that can be fetched by name, with network, modality and licence."""

from typing import Annotated

import typer


def command(
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """List the releases: name, network, what they have learned from, licence, and whether they are in the cache."""
    from eyeground.cli.zoo import list_releases

    list_releases(as_json=as_json)
