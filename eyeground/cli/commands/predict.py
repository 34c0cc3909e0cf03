"""eyeground predict: images in, a table of answers out."""

from pathlib import Path
from typing import Annotated

import typer

from eyeground.model.optimization import Device, Framework, Precision


def command(
    run: Annotated[Path, typer.Argument(help="Folder that 'eyeground finetune' made.")],
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option(help="CSV table to write.")] = Path("predictions.csv"),
    slices: Annotated[
        str | None, typer.Option(help="B-scans of a volume: center, all, or every:N; none = as trained.")
    ] = None,
    volumes: Annotated[bool, typer.Option("--volumes", help="Each folder given is one volume of slices.")] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Use the run's calibration: tempered scores, sets, thresholds.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 32,
    engine: Annotated[Framework | None, typer.Option(help="Framework; by default the one it was trained in.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Number format.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Say what a trained model sees in images; what it cannot grade stays unanswered."""
    from eyeground.cli.answers import answer_images

    answer_images(
        run, paths, out=out, slices=slices, volumes=volumes, calibrated=calibrated, batch_size=batch_size,
        framework=engine, device=device, precision=precision, as_json=as_json,
    )  # fmt: skip
