"""eyeground calibrate: what a trained model's scores mean: temperature, thresholds, when it may answer alone."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Folder that 'eyeground finetune' made.")],
    coverage: Annotated[float, typer.Option(help="How often the sets of classes are to hold the truth.")] = 0.9,
    sensitivity: Annotated[
        list[float] | None,
        typer.Option(help="Choose thresholds for this sensitivity; 0.9 where none is wanted. Repeatable."),
    ] = None,
    specificity: Annotated[
        list[float] | None, typer.Option(help="Choose thresholds for this specificity. Repeatable.")
    ] = None,
    of: Annotated[
        list[str] | None,
        typer.Option(
            help="What thresholds call positive: a class, '>=2' for grade 2 and above, HEAD:CLASS with several heads; "
            "by default all of them. Repeatable."
        ),
    ] = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Cover each class so often, not only all images together.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 2000,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Learn from a run's validation images what its scores mean, and measure it on its test images."""
    from eyeground.cli.calibrating import calibrate_run

    calibrate_run(
        run,
        coverage=coverage,
        sensitivity=sensitivity or (),
        specificity=specificity or (),
        of=of or (),
        per_class=per_class,
        resamples=resamples,
        as_json=as_json,
    )
