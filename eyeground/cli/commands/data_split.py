"""eyeground data split: divide a data set by patient, once, into a file that every run reuses."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    data: Annotated[Path, typer.Argument(help="Folder of images; file names are relative to it.")],
    out: Annotated[Path, typer.Option(help="CSV file to write; give it to a config as split: FILE.")] = Path(
        "split.csv"
    ),
    ratios: Annotated[str, typer.Option(help="train:val:test, such as 60:20:20, 6:2:2 or 55:15:30.")] = "60:20:20",
    seed: Annotated[int, typer.Option(min=0, help="Draws the split.")] = 0,
    table: Annotated[Path | None, typer.Option(help="CSV or Parquet table; none = a folder per class.")] = None,
    file_column: Annotated[str | None, typer.Option(help="Column of file names.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of labels.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Column of patients.")] = None,
    name: Annotated[
        str, typer.Option(help="Name of the source, as the config gives it; the folder's by default.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Divide a data set into train, val and test so that no patient stands in two of them."""
    from eyeground.cli.config import ConfigError, DataSource
    from eyeground.cli.console import answer, tell
    from eyeground.cli.dataset import open_dataset
    from eyeground.data.classes import looks_like_quantity
    from eyeground.data.preprocessing import Preprocessing

    if out.exists():
        raise ConfigError(f"{out}: already there, and other runs may rely on it; choose another --out or remove it")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist")
    source = DataSource(path=data, name=name, table=table, file=file_column, label=label_column, group=group_column)
    dataset = open_dataset(
        (source,),
        preprocessing=Preprocessing(),
        classes=None,
        ordered=None,
        split=ratios,
        split_seed=seed,
        val_fraction=0.2,
        keep_pixels=False,
    )
    if looks_like_quantity(dataset.classes, len(dataset.samples)):
        raise ConfigError(
            f"the {len(dataset.classes)} labels are numbers, most of a few images: a quantity is no set of classes to "
            "divide by; give its config split: 60:20:20 with task: regression"
        )
    dataset.write_split(out)
    tell(*dataset.summary())
    answer({"out": str(out), "counts": dataset.counts()}, as_json=as_json, last_line=f"split: {out}")
