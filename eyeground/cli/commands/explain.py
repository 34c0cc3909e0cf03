"""eyeground explain: where a model looked, over the image, with what that is worth."""

from pathlib import Path
from typing import Annotated

import typer

from eyeground.model.optimization import Device


def command(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a bundle.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option(help="Folder for <image>.<method>.png and explain.json.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="Method, or 'all'; may be repeated; none = the first that serves the network."),
    ] = None,
    head: Annotated[
        str, typer.Option(help="Of several heads: whose answer; none = the first that finds something.")
    ] = "",
    answer: Annotated[str, typer.Option(help="Which class or grade to explain; none = the one that was given.")] = "",
    similar: Annotated[
        int, typer.Option(min=0, help="Show so many of the most similar training cases, where they are known.")
    ] = 5,
    language: Annotated[str, typer.Option("--lang", help="Words in the pictures: en or zh.")] = "en",
    device: Annotated[Device, typer.Option(help="Where to compute.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 = all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Draw where a model looked: attention or gradients over the image, by region of the eye. No lesion boundary."""
    from eyeground.cli.explaining import explain_images

    explain_images(
        model, images, out=out, methods=method or (), head=head, said=answer, similar=similar, language=language,
        device=device, threads=threads, as_json=as_json,
    )  # fmt: skip
