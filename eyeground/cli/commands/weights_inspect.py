"""eyeground weights inspect: what network a weights file holds, who wrote it, and every key with its shape."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[Path, typer.Argument(help="Weights of torch, Paddle, MindSpore, ONNX or safetensors.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON line for programs; it has every key.")
    ] = False,
) -> None:
    """Look into a weights file that anybody may have written; nothing in it is run."""
    from eyeground.cli.foreign import inspect_weights

    inspect_weights(file, as_json=as_json)
