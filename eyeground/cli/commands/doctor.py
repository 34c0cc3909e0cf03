"""eyeground doctor: everything wrong or odd in a data set, before anything is trained."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    data: Annotated[
        list[Path], typer.Argument(help="Folder of images, several of them (each a source), or a config of finetune.")
    ],
    table: Annotated[Path | None, typer.Option(help="CSV or Parquet table; none = a folder per class.")] = None,
    file_column: Annotated[str | None, typer.Option(help="Column of file names.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of labels.")] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column of patients; without a table, a pattern with one bracket.")
    ] = None,
    eye_column: Annotated[str | None, typer.Option(help="Column of the eye.")] = None,
    site_column: Annotated[str | None, typer.Option(help="Column of the site.")] = None,
    camera_column: Annotated[str | None, typer.Option(help="Column of the camera.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column that says train, val or test.")] = None,
    split: Annotated[Path | None, typer.Option(help="Split file that 'eyeground data split' made.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the findings as a page with pictures.")] = None,
    fix: Annotated[
        Path | None, typer.Option(help="Write a cleaned table (CSV) and, beside it, what it leaves out.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Measure every image anew and keep nothing.")] = False,
    on: Annotated[
        str | None, typer.Option(help="Who does the work: ray (this machine's cores) or ray://host:port (a cluster).")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="With --on: workers at once; 0 = as many as cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Name everything wrong or odd in a data set. Exit code 0: nothing found, 1: findings, 2: cannot be examined."""
    from eyeground.cli.checkup import examine_data
    from eyeground.cli.config import DataSource

    # A table says where the files of one folder are; for several folders with tables there is the config.
    columns = DataSource(
        path=data[0],
        table=table,
        file=file_column,
        label=label_column,
        group=group_column,
        eye=eye_column,
        site=site_column,
        camera=camera_column,
        split=split_column,
    )
    sick = examine_data(
        data, columns, split=split, html=html, fix=fix, keep=not no_cache, as_json=as_json, on=on, workers=workers
    )
    raise typer.Exit(1 if sick else 0)
