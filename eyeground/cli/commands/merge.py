"""eyeground merge: what a run learned and the weights it was learned on, as one whole run."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a run with adapt=head, last_n, bitfit, lora or adapter.")],
    out: Annotated[Path, typer.Option(help="Folder to make; evaluate, predict, convert and finetune take it.")],
    base: Annotated[str, typer.Option(help="The weights it was trained on, if they are elsewhere now.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Write a whole network from what a run learned and the weights it belongs to, and show that both say the same."""
    from eyeground.cli.merging import merge_run

    merge_run(run, out=out, base=base, as_json=as_json)
