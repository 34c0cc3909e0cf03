"""eyeground clinic web: the JSON service over HTTP."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 = any free one.")] = 8080,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Answer over HTTP until asked to stop; TLS is the matter of the proxy before it. --json says where it listens."""
    from eyeground.cli.clinic_web import serve_clinic

    serve_clinic(config, host=host, port=port, as_json=as_json)
