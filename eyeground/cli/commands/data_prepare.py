"""eyeground data prepare: decode, crop and shrink a data set once, so that every later epoch reads it fast."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    data: Annotated[Path, typer.Argument(help="Folder of images; file names are relative to it.")],
    out: Annotated[Path, typer.Option(help="Folder to make; give it to a config as data=FOLDER. Run again to go on.")],
    table: Annotated[Path | None, typer.Option(help="CSV or Parquet table; none = a folder per class.")] = None,
    file_column: Annotated[str | None, typer.Option(help="Column of file names.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of labels.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Column of patients.")] = None,
    eye_column: Annotated[str | None, typer.Option(help="Column of the eye.")] = None,
    site_column: Annotated[str | None, typer.Option(help="Column of the site.")] = None,
    camera_column: Annotated[str | None, typer.Option(help="Column of the camera.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column that says train, val or test.")] = None,
    store_px: Annotated[int, typer.Option(min=0, help="Shrink the short side to at most this; 0 = keep.")] = 512,
    crop_field: Annotated[
        bool,
        typer.Option("--crop-field/--no-crop-field", help="Crop photographs to their field; --no-crop-field: not."),
    ] = True,
    slices: Annotated[str, typer.Option(help="B-scans of a volume: center, all, or every:N.")] = "center",
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Without a table: folders inside a class folder are volumes.")
    ] = False,
    keep: Annotated[list[str] | None, typer.Option(help="Column to take over; may be repeated.")] = None,
    shards: Annotated[
        bool, typer.Option("--shards", help="Many images to a Parquet file, for large sets and object stores.")
    ] = False,
    shard_mb: Annotated[int, typer.Option(min=1, help="With --shards: size of a file in MB.")] = 256,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Take images without labels too.")] = False,
    on: Annotated[
        str | None, typer.Option(help="Who does the work: ray (this machine's cores) or ray://host:port (a cluster).")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads, with --on workers; 0 = one per core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Store every image as training and prediction see it, with a table; what cannot be read is left out and listed."""
    from eyeground.cli.config import DataSource
    from eyeground.cli.preparation import prepare_data

    source = DataSource(
        path=data,
        table=table,
        file=file_column,
        label=label_column,
        group=group_column,
        eye=eye_column,
        site=site_column,
        camera=camera_column,
        split=split_column,
        volumes=volumes,
    )
    prepare_data(
        source,
        out,
        crop_field=crop_field,
        store_px=store_px,
        slices=slices,
        workers=workers,
        # The truth of several heads stands in columns of its own, beside no label or one that is not asked for.
        labels_required=not unlabelled and not keep,
        as_json=as_json,
        keep=keep or (),
        shard_mb=shard_mb if shards else 0,
        on=on,
    )
