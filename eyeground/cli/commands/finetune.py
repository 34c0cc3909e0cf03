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
    from eyeground.cli.config import ConfigError
    from eyeground.cli.config_file import load_config
    from eyeground.cli.experiment import run_experiment

    words = list(overrides or [])
    if resume is not None:
        if config is not None or words:
            raise ConfigError("--resume takes the run's own config.yaml: leave CONFIG and KEY=VALUE away")
        saved = resume / "config.yaml"
        if not saved.is_file():
            raise ConfigError(
                f"{resume}: no config.yaml there; give the folder that an earlier 'eyeground finetune' made"
            )
        name, settings = resume.name, load_config(saved)
    else:
        if config is None:
            raise ConfigError("give a CONFIG, or --resume RUN; examples are in configs/finetune/")
        name, settings = config.stem, load_config(config, words)
    run_experiment(settings, name=name, resume=resume, as_json=as_json)
