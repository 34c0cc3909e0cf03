"""eyeground plan: what a configuration will cost in memory, hours and money, before anything runs."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path, typer.Argument(help="YAML file of a fine-tuning, a pre-training or a comparison.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Change single keys.")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Images of the data set, which then need not be there; none = count them.")
    ] = None,
    gpus: Annotated[
        str | None, typer.Option(help="GPUs to plan for, such as 8xH200 or 1xL4; none = this machine's processor.")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Price of a device for an hour.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Say what a configuration will cost: parameters, memory, images/s, hours, money, and the largest batch that fits.

    Nothing is trained and no weights are read. Exit code 2: a batch does not fit, or the configuration is wrong.
    """
    from eyeground.cli.planning import plan

    plan(config, overrides or [], images=images, gpus=gpus, price=price, as_json=as_json)
