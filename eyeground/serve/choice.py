"""What answers where nobody chose: the fastest runtime that a bundle holds, by processor and network."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast

from eyeground.model.spec import ModelSpec
from eyeground.pick import pick
from eyeground.serve.runtime import RuntimePrecision

Processor = Literal["amx", "bf16", "plain"]
Network = Literal["transformer", "convnet"]
Way = tuple[str, RuntimePrecision]

REFERENCE: Way = ("torch", "fp32")
# How many times torch's pace in fp32, by images at once: one, and eight. Without bf16: an AMD EPYC with AVX2 alone, in
# one thread by processor time, as python -m benchmarks.inference --processor-time takes it; ViT-L/16 at eight from
# benchmarks/RESULTS.md (OpenVINO at four); the worse of EfficientNet-B0 and MobileNetV2. With it: an AMD EPYC with
# AVX-512 bf16 (docs/results.md; ViT-L/16, MobileNetV2). With AMX: an Intel Xeon, on both cores, benchmarks/RESULTS.md.
MEASURED: Mapping[tuple[Processor, Network], Mapping[Way, tuple[float, float]]] = {
    ("plain", "transformer"): {
        ("onnx", "int8"): (2.1, 1.6),
        ("onnx", "fp32"): (1.2, 0.9),
        ("openvino", "fp32"): (1.1, 0.8),
    },
    ("plain", "convnet"): {
        ("onnx", "fp32"): (3.4, 2.7),
        ("openvino", "fp32"): (2.6, 2.4),
        ("onnx", "int8"): (2.4, 2.0),
    },
    ("bf16", "transformer"): {
        ("onnx", "int8"): (4.5, 3.0),
        ("openvino", "bf16"): (3.6, 2.6),
        ("openvino", "fp32"): (2.1, 1.3),
        ("onnx", "fp32"): (1.8, 1.2),
        ("torch", "bf16"): (1.3, 1.7),
    },
    ("amx", "transformer"): {
        ("torch", "bf16"): (4.3, 4.6),
        ("openvino", "bf16"): (4.7, 4.1),
        ("onnx", "int8"): (4.1, 2.9),
        ("openvino", "fp32"): (1.2, 1.0),
        ("onnx", "fp32"): (1.2, 0.8),
    },
    ("amx", "convnet"): {
        ("openvino", "bf16"): (4.0, 3.1),
        ("onnx", "fp32"): (3.1, 1.9),
        ("openvino", "fp32"): (2.8, 1.9),
        ("onnx", "int8"): (1.5, 1.1),
        ("torch", "bf16"): (1.0, 1.6),
    },
    ("bf16", "convnet"): {
        ("openvino", "bf16"): (3.3, 5.3),
        ("onnx", "int8"): (3.0, 3.8),
        ("onnx", "fp32"): (2.1, 2.9),
        ("openvino", "fp32"): (1.9, 2.6),
        ("torch", "bf16"): (1.2, 2.3),
    },
}
_CPU = Path("/proc/cpuinfo")
_PROCESSORS = {
    "amx": "a processor with AMX",
    "bf16": "a processor with bf16",
    "plain": "a processor without bf16",
}
_NETWORKS = {"transformer": "transformers", "convnet": "convolutional networks"}


@dataclass(frozen=True)
class Choice:
    """What computes, and why.

    Args:
        runtime: A runtime of the shelf ``serve/runtimes``.
        precision: How it computes.
        reason: Why, in words.

    Example:
        >>> Choice("torch", "fp32", "the bundle holds no other that is installed").runtime
        'torch'

    References:
        Our own.
    """

    runtime: str
    precision: RuntimePrecision
    reason: str


@cache
def processor() -> Processor:
    """Say what this processor multiplies by itself.

    Returns:
        ``"amx"`` where it has AMX for bf16, ``"bf16"`` where AVX-512 bf16 alone, ``"plain"`` where neither, or nobody
        knows.

    Example:
        >>> processor() in ("amx", "bf16", "plain")
        True

    References:
        The flags of Linux's ``/proc/cpuinfo``.
    """
    if platform.machine() not in ("x86_64", "AMD64") or not _CPU.is_file():
        return "plain"
    flags = next((line for line in _CPU.read_text("utf-8").splitlines() if line.startswith("flags")), "").split()
    return "amx" if "amx_bf16" in flags else "bf16" if "avx512_bf16" in flags else "plain"


def ranked(spec: ModelSpec, *, on: Processor, alone: bool) -> dict[Way, float]:
    """List what is faster than torch in fp32 for a network.

    Args:
        spec: The network.
        on: The processor.
        alone: Whether images come one at a time; else several at once.

    Returns:
        Runtimes with precisions, fastest first, each with how many times torch's pace; not all of them need be
        installed.

    Example:
        >>> ranked(ModelSpec("mobilenetv2_100", classes=2), on="plain", alone=True)
        {('onnx', 'fp32'): 3.4, ('openvino', 'fp32'): 2.6, ('onnx', 'int8'): 2.4}

    References:
        docs/results.md.
    """
    gains = {way: each[0 if alone else 1] for way, each in MEASURED[on, _kind(spec)].items()}
    return dict(sorted(((way, gain) for way, gain in gains.items() if gain > 1), key=lambda row: -row[1]))


def choose(
    spec: ModelSpec,
    held: Mapping[str, Sequence[str]],
    *,
    thresholds: bool,
    on: Processor,
    alone: bool,
    wanted: RuntimePrecision | None = None,
) -> Choice:
    """Choose what computes on the processor.

    Args:
        spec: The network.
        held: Runtimes that a bundle holds, with the precisions in which each passed its gate.
        thresholds: Whether the bundle is calibrated: what it says at its thresholds was proven in fp32 alone, so that
            nothing else is chosen unless it is wanted.
        on: The processor.
        alone: Whether images come one at a time; else several at once.
        wanted: A precision that somebody asked for; None = any.

    Returns:
        What computes, and why; torch in fp32 where nothing that is held and installed is faster.

    Example:
        >>> spec = ModelSpec("mobilenetv2_100", classes=2)
        >>> choose(spec, {"torch": ("fp32",)}, thresholds=False, on="plain", alone=True).reason
        'the bundle holds no other that is installed'

    References:
        docs/results.md.
    """
    faster = ranked(spec, on=on, alone=alone)
    allowed = ("fp32",) if thresholds and wanted is None else ("fp32", "bf16", "int8")
    offered = {
        (name, cast(RuntimePrecision, precision))
        for name, each in held.items()
        for precision in each
        if precision in allowed and wanted in (None, precision) and not pick("serve.runtimes", name).missing()
    }
    count = "one image at a time" if alone else "several images at once"
    where = f"with {_NETWORKS[_kind(spec)]}, {count}, on {_PROCESSORS[on]}"
    best = next((way for way in faster if way in offered), None)
    if best is not None:
        proven = "" if best[1] == "fp32" else f"; {best[1]} lost little enough on validation"
        return Choice(*best, f"{faster[best]:g} times torch's pace in fp32, as measured {where}{proven}")
    if wanted not in (None, "fp32"):
        name = min((name for name, _ in offered), default="torch")  # which says what to do, where none is held
        return Choice(name, wanted, "the one that computes so")
    if offered <= {REFERENCE}:
        return Choice(*REFERENCE, "the bundle holds no other that is installed")
    return Choice(*REFERENCE, f"nothing else that it holds was measured to be faster {where}")


def _kind(spec: ModelSpec) -> Network:
    """What a network is made of; of timm's by its name."""
    return "transformer" if spec.vit is not None or "vit" in spec.name.split("_")[0] else "convnet"
