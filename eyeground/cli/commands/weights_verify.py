"""eyeground weights verify: two weights files held against each other, key by key and layer by layer."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[str, typer.Argument(help="Weights file of any framework, a run's folder, or a fetched release.")],
    against: Annotated[str, typer.Option(help="What it should be the same as: a file, a run's folder, a release.")],
    images: Annotated[Path | None, typer.Option(help="Folder of images for the proof; none = phantoms.")] = None,
    fc_norm_passes: Annotated[
        int, typer.Option(min=1, max=2, help="2 for checkpoints fine-tuned by RETFound's 2025 code.")
    ] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 = the frameworks' choice.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Say whether two weights files hold the same network, each run in the framework that wrote it."""
    from eyeground.cli.converting import verify_weights

    code = verify_weights(file, against, images=images, fc_norm_passes=fc_norm_passes, threads=threads, as_json=as_json)
    if code:
        raise typer.Exit(code)
