"""eyeground reconstruct: a masked autoencoder's run and images in, a picture of what it makes of them out."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Folder that 'eyeground pretrain' made with method=mae.")],
    images: Annotated[list[Path], typer.Argument(help="Images.")],
    out: Annotated[Path, typer.Option(help="Picture to write (PNG).")] = Path("reconstruction.png"),
    mask_ratio: Annotated[
        float | None, typer.Option(help="Share of the patches to hide; none = as in the run.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws which patches are hidden.")] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Draw each image as it is, masked, reconstructed, and with the hidden patches pasted in."""
    from eyeground.cli.reconstruction import reconstruct_images

    reconstruct_images(run, images, out=out, mask_ratio=mask_ratio, seed=seed, device=device, as_json=as_json)
