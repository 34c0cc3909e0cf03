"""eyeground compare: did pre-training help? A grid of runs on the same test images, with a verdict."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path, typer.Argument(help="YAML file of the comparison; see configs/compare/.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Change single keys.")] = None,
    on: Annotated[
        str | None, typer.Option(help="Who does the work: ray (this machine's cores) or ray://host:port (a cluster).")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="With --on: workers at once; 0 = as many as cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Compare initializations by probing and fine-tuning over seeds; run it again to go on where it stopped."""
    from eyeground.cli.compare_config import CompareConfig
    from eyeground.cli.comparing import run_comparison
    from eyeground.cli.config_file import load_config

    settings = load_config(config, list(overrides or []), kind=CompareConfig)
    run_comparison(settings, name=config.stem, as_json=as_json, on=on, workers=workers)
