"""eyeground weights convert: weights in another framework's form, with a proof that the network is the same."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    source: Annotated[str, typer.Argument(help="Weights file of any framework, a run's folder, or a fetched release.")],
    to: Annotated[
        Literal["paddle", "mindspore", "onnx", "safetensors"], typer.Option("--to", help="Whose form to write.")
    ],
    out: Annotated[Path, typer.Option(help="File to make; its certificate (JSON) is written beside it.")],
    images: Annotated[Path | None, typer.Option(help="Folder of images for the proof; none = phantoms.")] = None,
    fc_norm_passes: Annotated[
        int, typer.Option(min=1, max=2, help="2 for checkpoints fine-tuned by RETFound's 2025 code.")
    ] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 = the frameworks' choice.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Convert weights between torch, Paddle, MindSpore and ONNX; what cannot be proved the same is not written."""
    from eyeground.cli.converting import convert_weights

    convert_weights(
        source,
        target=to,
        out=out,
        images=images,
        fc_norm_passes=fc_norm_passes,
        threads=threads,
        force=force,
        as_json=as_json,
    )
