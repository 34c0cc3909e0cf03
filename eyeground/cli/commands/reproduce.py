"""eyeground reproduce: published benchmarks run again, ours beside the published rows."""

from pathlib import Path
from typing import Annotated

import typer

from eyeground.model.optimization import Framework


def command(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SET/KEY=VALUE",
            help="Public sets, by default octid retina aptos2019 jsiec; and keys of the recipe to change.",
        ),
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Folder that holds the sets, each under its name: octid or OCTID, ...")
    ] = Path("data"),
    engine: Annotated[Framework, typer.Option(help="Framework to train in.")] = "torch",
    weights: Annotated[
        str | None, typer.Option(help="Release, file or run to start from; by default that of the published rows.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs and the table.")] = Path("runs/reproduce"),
    seed: Annotated[int, typer.Option(min=0, help="Draws everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Fine-tune on public benchmark sets as published studies did, and lay our numbers beside theirs.

    A set that is done is not run again; one that was stopped goes on. Exit code 0: all done, 1: a training failed, 2: a
    set could not be used; the others are run all the same.
    """
    from eyeground.cli.reproducing import reproduce_sets

    code = reproduce_sets(
        [word for word in words or () if "=" not in word],
        data=data,
        out=out,
        engine=engine,
        weights=weights,
        seed=seed,
        overrides=[word for word in words or () if "=" in word],
        as_json=as_json,
    )
    raise typer.Exit(code)
