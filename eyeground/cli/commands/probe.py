"""eyeground probe: how much frozen features know, with few labels and with all of them."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    config: Annotated[Path, typer.Argument(help="YAML file as for finetune: its data, network, weights, image_px.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Change single keys.")] = None,
    fractions: Annotated[str, typer.Option(help="Shares of the training patients whose labels are used.")] = (
        "0.01,0.1,0.5,1"
    ),
    seeds: Annotated[str, typer.Option(help="Draws of these patients.")] = "0,1,2",
    neighbors: Annotated[int, typer.Option(min=1, help="How many nearest training images vote.")] = 20,
    layout: Annotated[Literal["tsne", "pca"], typer.Option(help="How the map of the features is made.")] = "tsne",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; by default runs/<name of the config>-probe, numbered.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder where features are kept for the next time.")] = Path(
        "runs/features"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Probe frozen features with logistic regression and nearest neighbors, on fractions of the labels."""
    from eyeground.cli.config_file import load_config
    from eyeground.cli.probing import numbers, run_probe

    run_probe(
        load_config(config, overrides or []),
        out=out,
        name=config.stem,
        cache=cache,
        fractions=numbers(fractions, option="--fractions", low=1e-6, high=1),
        seeds=[int(seed) for seed in numbers(seeds, option="--seeds", low=0, high=2**31 - 1, whole=True)],
        neighbors=neighbors,
        layout=layout,
        as_json=as_json,
    )
