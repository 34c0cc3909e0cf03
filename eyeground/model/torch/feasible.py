"""What a device and the options of a training allow together."""

import os
import shutil

import torch

from eyeground.model.optimization import Optimization, Precision
from eyeground.model.processes import Processes

FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def choose_precision(wanted: Precision, *, device_type: str) -> Precision:
    """Resolve ``auto`` to what the device computes fastest without a loss scale, if it can.

    Args:
        wanted: What the user asked for; anything but ``auto`` is kept.
        device_type: ``"cpu"`` or ``"cuda"``.

    Returns:
        ``fp32``, ``bf16`` or ``fp16``.

    Example:
        >>> choose_precision("fp32", device_type="cpu")
        'fp32'

    References:
        Our own measurements, benchmarks/ and docs/results.md.
    """
    if wanted != "auto":
        return wanted
    if device_type == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def check_together(
    processes: Processes, optimization: Optimization | None, precision: Precision, *, thawing: bool, compiled: bool
) -> None:
    """Refuse options that cannot be had together.

    Args:
        processes: Who trains.
        optimization: How; None = no training.
        precision: As ``choose_precision`` gave it.
        thawing: Whether parts of the network begin to learn later.
        compiled: Whether torch.compile is asked for.

    Raises:
        ValueError: If something cannot be; all of it at once.

    Example:
        >>> from eyeground.model.processes import ALONE
        >>> check_together(ALONE, Optimization(step_in_backward=True), "fp16", thawing=False, compiled=False)
        Traceback (most recent call last):
        ValueError: step_in_backward does not go with fp16, ...

    References:
        Our own.
    """
    wrong = []
    stepping = optimization is not None and optimization.step_in_backward
    if stepping and precision == "fp16":
        wrong.append(
            "step_in_backward does not go with fp16, whose loss scale needs the whole gradient at once; choose "
            "precision=bf16 or fp32, or turn it off"
        )
    if stepping and processes.world > 1:
        wrong.append(
            "step_in_backward is for one process: with several, a gradient is complete when all have added theirs. "
            "Turn it off; strategy=fsdp saves the same memory by parting gradients among processes"
        )
    if processes.sharded and precision == "fp16":
        wrong.append(
            "strategy=fsdp does not go with fp16, whose loss scale each process would set by its own part of the "
            "gradient; choose precision=bf16 or fp32"
        )
    if processes.sharded and thawing:
        wrong.append("strategy=fsdp does not go with adapt=gradual; choose strategy=ddp, or another way of adapting")
    compiler = any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)
    # torch.compile itself would refuse at the first step, in many more words.
    if compiled and not compiler:
        wrong.append(
            "compiled needs a C++ compiler (g++, clang++, or the one that CXX names), and none is in the PATH: install "
            "one, or leave compiled out; everything works without it"
        )
    if wrong:
        raise ValueError("; ".join(wrong))
