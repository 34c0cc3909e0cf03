"""eyeground predict: images in, a table of answers out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from eyeground.model.optimization import Device, Framework


def command(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a bundle.")],
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[
        Path, typer.Option(help="CSV table to write; an interrupted call goes on when it is said again.")
    ] = Path("predictions.csv"),
    slices: Annotated[
        str | None, typer.Option(help="B-scans of a volume: center, all, or every:N; none = as trained.")
    ] = None,
    volumes: Annotated[bool, typer.Option("--volumes", help="Each folder given is one volume of slices.")] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Use a run's calibration; a bundle's is always used.")
    ] = False,
    patients: Annotated[
        str, typer.Option(help="Join both eyes of a patient: 'names' (P7_OD.png), or a CSV with file and patient.")
    ] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 32,
    runtime: Annotated[str, typer.Option(help="Of a bundle: torch, onnx or openvino; none = the fastest here.")] = "",
    engine: Annotated[
        Framework | None, typer.Option(help="Of a run: its framework; none = the one it was trained in.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where torch computes.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "int8"],
        typer.Option(help="Number format; auto: a run as it was trained, a bundle as it was proven."),
    ] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 = all.")] = 0,
    on: Annotated[
        str | None, typer.Option(help="Who does the work: ray (this machine's cores) or ray://host:port (a cluster).")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="With --on: workers at once; 0 = as many as cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Say what a trained model sees in images; what it cannot grade stays unanswered."""
    from eyeground.cli.answers import answer_images

    answer_images(
        model, paths, out=out, slices=slices, volumes=volumes, calibrated=calibrated, patients=patients,
        batch_size=batch_size, runtime=runtime, framework=engine, device=device, precision=precision,
        threads=threads, as_json=as_json, on=on, workers=workers,
    )  # fmt: skip
