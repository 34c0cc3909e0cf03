"""eyeground finetune: a configuration in, a trained and judged model out."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path | None, typer.Argument(help="YAML file of the experiment; see configs/finetune/.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Change single keys.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run's folder where it stopped.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Fine-tune a model on labelled images, judge it on other patients, and write a report."""
    from eyeground.cli.config_file import load_or_resume
    from eyeground.cli.finetune_config import FinetuneConfig
    from eyeground.cli.launching import launched

    name, settings = load_or_resume(config, overrides or [], resume, kind=FinetuneConfig, verb="finetune")
    if launched(settings, verb="finetune", resume=resume):
        return
    from eyeground.cli.experiment import run_experiment

    run_experiment(settings, name=name, resume=resume, as_json=as_json)
