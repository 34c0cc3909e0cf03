"""eyeground serve: a bundle over HTTP, with a page to drop an image on."""

from pathlib import Path
from typing import Annotated

import typer

from eyeground.model.optimization import Device


def command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, as 'eyeground export' made it.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 = any free one.")] = 8000,
    runtime: Annotated[str, typer.Option(help="torch, onnx or openvino.")] = "torch",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or int8, as the bundle holds.")] = "fp32",
    method: Annotated[str, typer.Option(help="Method of the heat map; none = the first that serves the network.")] = "",
    max_mib: Annotated[int, typer.Option(min=1, help="Longest upload. Unit: MiB.")] = 32,
    most_waiting: Annotated[int, typer.Option(min=1, help="Uploads at once; more are told to come back later.")] = 128,
    timeout: Annotated[float, typer.Option(min=1, help="Longest time to an answer. Unit: s.")] = 60,
    device: Annotated[Device, typer.Option(help="Where torch computes.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 = all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it listens as one JSON line.")] = False,
) -> None:
    """Answer images over HTTP: POST /predict, a page at /, the OpenAPI document at /docs, metrics at /metrics."""
    from eyeground.cli.serving import serve_bundle

    serve_bundle(
        bundle, host=host, port=port, runtime=runtime, precision=precision, method=method, max_mib=max_mib,
        most_waiting=most_waiting, timeout_s=timeout, device=device, threads=threads, as_json=as_json,
    )  # fmt: skip
