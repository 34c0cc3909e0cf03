"""eyeground data deidentify: copies of images without names, headers and file names that tell whose they are."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    source: Annotated[Path, typer.Argument(help="Folder of the originals; they are only read.")],
    out: Annotated[Path, typer.Option(help="Folder for the copies and the log. Run again to go on.")],
    key_file: Annotated[Path, typer.Option(help="Secret key (0600) of the pseudonyms; keep it, and keep it apart.")],
    new_key: Annotated[bool, typer.Option("--new-key", help="Make the key file first.")] = False,
    confirm: Annotated[
        list[str] | None,
        typer.Option(help="A file, original or copy, or a pattern: a person saw no name in its pixels. Repeatable."),
    ] = None,
    keep_folder: Annotated[
        list[str] | None, typer.Option(help="Name of a folder that may stay, such as a class. Repeatable.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="CSV or Parquet table of the originals; its labels go along.")
    ] = None,
    file_column: Annotated[str | None, typer.Option(help="Column of file names.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of labels.")] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column of patients; without a table, a pattern with one bracket for file names.")
    ] = None,
    eye_column: Annotated[str | None, typer.Option(help="Column of the eye.")] = None,
    site_column: Annotated[str | None, typer.Option(help="Column of the site; written as a pseudonym.")] = None,
    camera_column: Annotated[str | None, typer.Option(help="Column of the camera; written as a pseudonym.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column that says train, val or test.")] = None,
    keep_column: Annotated[
        list[str] | None, typer.Option(help="Further column of the table to copy as it is. Repeatable.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Write which original became which copy (0600); keep it apart.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads; 0 = one per core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Copy images under keyed pseudonyms, cleaned of headers; text in the pixels holds a file until it is confirmed."""
    from eyeground.cli.deidentification import deidentify_data

    deidentify_data(
        source,
        out,
        key_file=key_file,
        new_key=new_key,
        confirmed=confirm or [],
        keep_folders=keep_folder or [],
        table=table,
        columns={
            "file": file_column,
            "label": label_column,
            "group": group_column,
            "eye": eye_column,
            "site": site_column,
            "camera": camera_column,
            "split": split_column,
        },
        keep_columns=keep_column or [],
        mapping=mapping,
        workers=workers,
        as_json=as_json,
    )
