"""eyeground export: a trained run in, one folder out that anyone can run."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Folder that 'eyeground finetune' made.")],
    out: Annotated[Path, typer.Option(help="Folder to make: the bundle.")],
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="bundle (torch's weights alone), or besides them onnx, openvino, paddle, mindspore; may be repeated. "
            "None = what is fastest here for this network, if it is installed."
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "int8"],
        typer.Option(help="A reduced precision to offer besides fp32; it has to pass on validation."),
    ] = "fp32",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Greatest loss of AUROC a reduced precision may have, at its interval's end.")
    ] = 0.01,
    images: Annotated[int, typer.Option(min=1, help="Validation images on which runtimes are compared.")] = 64,
    titles: Annotated[Path | None, typer.Option(help="TOML with titles of classes in en and zh.")] = None,
    modality: Annotated[
        Literal["", "fundus", "oct", "anterior"], typer.Option(help="What it was trained on, if the run cannot tell.")
    ] = "",
    cases: Annotated[
        bool, typer.Option("--cases", help="Keep features and labels of the training images, to find similar ones.")
    ] = False,
    uncalibrated: Annotated[bool, typer.Option("--uncalibrated", help="Leave the run's calibration out.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 = all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Pack a model with its preprocessing, classes, calibration, metrics and hashes; each runtime is proved first."""
    from eyeground.cli.packing import export_run

    export_run(
        run, targets=to or (), out=out, precision=precision, tolerance=tolerance, images=images, titles=titles,
        modality=modality, cases=cases, uncalibrated=uncalibrated, threads=threads, as_json=as_json,
    )  # fmt: skip
