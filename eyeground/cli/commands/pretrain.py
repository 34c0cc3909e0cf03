"""eyeground pretrain: images without labels in, weights to start from out, with a watch on their health."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path | None, typer.Argument(help="YAML file of the run; see configs/pretrain/.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Change single keys.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run's folder where it stopped.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Learn from images without labels (MAE or SimCLR); a run that has collapsed is stopped, with the reason."""
    from eyeground.cli.config_file import load_or_resume
    from eyeground.cli.launching import launched
    from eyeground.cli.pretrain_config import PretrainConfig

    name, settings = load_or_resume(config, overrides or [], resume, kind=PretrainConfig, verb="pretrain")
    if launched(settings, verb="pretrain", resume=resume):
        return
    from eyeground.cli.pretraining import run_pretraining

    run_pretraining(settings, name=name, resume=resume, as_json=as_json)
