"""A bundle put behind HTTP."""

import json
import sys
from pathlib import Path
from typing import Literal, get_args

from eyeground.cli.config import ConfigError
from eyeground.cli.console import tell
from eyeground.cli.exit_codes import kind_of
from eyeground.cli.explaining import open_explainable
from eyeground.cli.opened import open_predictor
from eyeground.model.optimization import Device
from eyeground.serve.bundle import is_bundle
from eyeground.serve.engine_runtime import EngineRuntime
from eyeground.serve.graph_process import GraphProcess
from eyeground.serve.looking import Looker
from eyeground.serve.predictor import Predictor
from eyeground.serve.runtime import RuntimeMissing, RuntimePrecision


def serve_bundle(
    folder: Path,
    *,
    host: str,
    port: int,
    runtime: str,
    precision: str,
    method: str,
    max_mib: int,
    most_waiting: int,
    timeout_s: float,
    device: Device,
    threads: int,
    as_json: bool,
) -> None:
    """Answer images over HTTP until asked to stop.

    Args:
        folder: The bundle.
        host: Address to listen on.
        port: Port; 0 = any free one.
        runtime: Which of the bundle's runtimes answers; heat maps are torch's.
        precision: How it computes.
        method: Method of the heat map; empty = the first that serves the network; ``none`` = no heat maps.
        max_mib: Longest upload. Unit: MiB.
        most_waiting: Uploads at once.
        timeout_s: Longest time to an answer. Unit: s.
        device: Where torch computes.
        threads: Processor threads, 0 = the runtime's choice.
        as_json: Say where it listens as one JSON line.

    Raises:
        ConfigError: If the words do not go together, or the port is taken.
        BundleRefused: If the bundle is not as it was packed.
        RuntimeMissing: If the runtime, or the extra ``serve``, is not installed.

    References:
        docs/serve.md.
    """
    if not is_bundle(folder):
        raise ConfigError(f"{folder}: not a bundle; make one with: eyeground export RUN --out BUNDLE")
    if precision not in get_args(RuntimePrecision):
        raise ConfigError(f"--precision {precision}: it is {', '.join(get_args(RuntimePrecision))}")
    try:
        from eyeground.serve.app import ServeSettings, make_app
        from eyeground.serve.server import run
    except ModuleNotFoundError as error:
        raise RuntimeMissing(f"{error.name} is not installed: pip install 'eyeground[serve]'") from error
    chosen: Literal["fp32", "bf16", "int8"] = precision  # type: ignore[assignment]
    try:
        settings = ServeSettings(
            max_bytes=max_mib * 2**20,
            most_waiting=most_waiting,
            most_waiting_bytes=max(512, 2 * max_mib) * 2**20,
            timeout_s=timeout_s,
            precision=chosen,
        )
        looker = predictor = None
        if method != "none":
            opened = open_explainable(folder, device=device, threads=threads)
            looker = Looker(opened.contract, opened.engine, method=method)
            if (runtime, chosen) == ("torch", "fp32"):  # one network for answers and maps
                answering = EngineRuntime(opened.engine, opened.contract.task)
                predictor = Predictor(opened.contract, answering, id=opened.id)
    except ValueError as error:
        if kind_of(error):
            raise
        raise ConfigError(str(error)) from error
    predictor = predictor or open_predictor(
        folder, runtime=runtime, precision=chosen, device=device, threads=threads, batch_size=8
    )
    if isinstance(predictor.runtime, GraphProcess):
        predictor.runtime.hurry(timeout_s)

    def listening(url: str) -> None:
        tell(
            f"bundle    {folder.name} ({predictor.id[:12]}), {predictor.runtime.description}",
            f"page      {url}/",
            f"service   POST {url}/predict; its document {url}/docs; health {url}/readyz; metrics {url}/metrics",
            "stop it with Ctrl-C",
        )
        if as_json:
            sys.stdout.write(json.dumps({"url": url, "bundle": predictor.id}) + "\n")
            sys.stdout.flush()

    try:
        run(make_app(predictor, explain=looker, settings=settings), host=host, port=port, listening=listening)
    except OSError as error:
        raise ConfigError(f"--host {host} --port {port}: {error.strerror or error}; choose another") from error
    finally:
        predictor.runtime.close()
