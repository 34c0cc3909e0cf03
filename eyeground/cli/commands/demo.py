"""eyeground demo: from nothing to a report, on phantoms, in a few minutes."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option(help="Folder for the phantoms and the run.")] = Path("demo"),
    patients: Annotated[int, typer.Option(min=20, help="Phantom patients, two eyes each.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Draws everything.")] = 0,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Change single keys.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Draw phantoms, fine-tune a small ViT on them, judge it on other patients, write the report."""
    from eyeground.cli.config_file import load_config
    from eyeground.cli.console import counting, tell
    from eyeground.cli.experiment import run_experiment
    from eyeground.data.phantom import write_set

    settings = Path(__file__).parents[1] / "demo.yaml"
    images = out / "phantoms"
    words = [f"data={{path: {images / 'images'}, table: {images / 'labels.csv'}, name: phantoms}}", f"seed={seed}"]
    number = 1
    while (folder := out / f"run-{number}").exists():
        number += 1
    config = load_config(settings, [*words, f"out={folder}", *(overrides or [])])
    out.mkdir(parents=True, exist_ok=True)
    with counting("drawing phantoms", patients * 2) as done:
        write_set(
            images,
            modality="fundus",
            diseases=config.classes or (),
            patients=patients,
            seed=seed,
            size_px=128,
            progress=done,
        )
    run_experiment(config, name="demo", resume=None, as_json=as_json)
    tell("next: README.md shows the same with your own images")
