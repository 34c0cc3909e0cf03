"""eyeground evaluate: judge a trained model on data it has never seen."""

from pathlib import Path
from typing import Annotated

import typer

from eyeground.model.optimization import Device, Framework, Precision


def command(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a bundle.")],
    data: Annotated[Path, typer.Argument(help="Folder of images; file names are relative to it.")],
    table: Annotated[Path | None, typer.Option(help="CSV or Parquet table; none = a folder per class.")] = None,
    file_column: Annotated[str | None, typer.Option(help="Column of file names.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of labels.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Column of patients.")] = None,
    eye_column: Annotated[str | None, typer.Option(help="Column of the eye.")] = None,
    site_column: Annotated[str | None, typer.Option(help="Column of the site.")] = None,
    camera_column: Annotated[str | None, typer.Option(help="Column of the camera.")] = None,
    name: Annotated[str, typer.Option(help="Name of the evaluation; by default the data folder's, numbered.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the evaluation; none = RUN/evaluations. A bundle needs one.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 2000,
    engine: Annotated[Framework | None, typer.Option(help="Framework; by default the one it was trained in.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Number format.")] = "auto",
    allow_seen: Annotated[bool, typer.Option("--allow-seen", help="Go on although images were trained on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Judge a trained model on labelled images of other patients, with intervals and a report."""
    from eyeground.cli.config import DataSource
    from eyeground.cli.judgment import judge_on

    source = DataSource(
        path=data,
        table=table,
        file=file_column,
        label=label_column,
        group=group_column,
        eye=eye_column,
        site=site_column,
        camera=camera_column,
    )
    judge_on(
        run,
        source,
        name=name,
        out=out,
        resamples=resamples,
        framework=engine,
        device=device,
        precision=precision,
        allow_seen=allow_seen,
        as_json=as_json,
    )
