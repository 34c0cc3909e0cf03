"""eyeground features: a configuration in, the frozen features of every image out."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path, typer.Argument(help="YAML file as for finetune: its data, network, weights, image_px.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Change single keys.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; by default runs/<name of the config>-features.")
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="Who does the work: ray (this machine's cores) or ray://host:port (a cluster).")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="With --on: workers at once; 0 = as many as cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Write what a frozen network makes of every image: a row of numbers each, for probes and tools of your own."""
    from eyeground.cli.config_file import load_config
    from eyeground.cli.features import write_features

    settings = load_config(config, overrides or [])
    place = out or Path("runs") / f"{config.stem}-features"
    write_features(settings, out=place, as_json=as_json, on=on, workers=workers)
