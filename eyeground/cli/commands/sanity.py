"""eyeground sanity: are this model's heat maps worth anything?"""

from pathlib import Path
from typing import Annotated

import typer

from eyeground.model.optimization import Device


def command(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a bundle.")],
    out: Annotated[Path, typer.Option(help="Folder for sanity.html and sanity.json.")],
    phantoms: Annotated[
        Path | None, typer.Option(help="Folder that 'eyeground data phantom' made; none = they are drawn.")
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, help="Most images with lesions; occlusion takes seconds for each.")
    ] = 100,
    method: Annotated[list[str] | None, typer.Option(help="Method; may be repeated; none = all that serve.")] = None,
    tested: Annotated[int, typer.Option(min=1, help="On how many of them weights and curves are tested.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Draws phantoms, resamples and random weights.")] = 0,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 2000,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 = all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Test heat maps on phantoms: do they hit lesions, hang on the weights, and name what the answer depends on?"""
    from eyeground.cli.map_sanity import examine_model

    examine_model(
        model, out=out, phantoms=phantoms, images=images, methods=method or (), tested=tested, seed=seed,
        resamples=resamples, device=device, threads=threads, as_json=as_json,
    )  # fmt: skip
