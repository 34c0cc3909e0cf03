"""eyeground data inspect: what is in a data set, how unequal its classes are, and pictures of both."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    data: Annotated[Path, typer.Argument(help="Folder of images; file names are relative to it.")],
    table: Annotated[Path | None, typer.Option(help="CSV or Parquet table; none = a folder per class.")] = None,
    file_column: Annotated[str | None, typer.Option(help="Column of file names.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of labels.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Column of patients.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a contact sheet (PNG): a row per class.")] = None,
    balance_picture: Annotated[
        Path | None, typer.Option(help="Draw the classes by size, and their weights in a loss (SVG or PNG).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Count classes, patients, eyes and sizes of a data set, say how unequal the classes are, and show some images."""
    from eyeground.cli.config import DataSource
    from eyeground.cli.inspection import inspect

    source = DataSource(path=data, table=table, file=file_column, label=label_column, group=group_column)
    inspect(source, picture=picture, balance_picture=balance_picture, as_json=as_json)
