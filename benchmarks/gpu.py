"""Training steps on a GPU: fine-tuning and MAE of ViT-L, compiled and not, and their share of the bf16 matrix rate.

python -m benchmarks gpu
"""

import statistics
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.ceiling import matrix_rate
from benchmarks.claim import Claim, NotHere, paired, turns
from benchmarks.training import CASES, Case, batch_of, engine_of, forward_flops, plain, step_of
from eyeground.model.optimization import Device

# Of a training step, in the bf16 rate of square matrices measured in the same run.
_GOAL_SHARE = 0.45
_ROOMY_BYTES = 60 * 2**30


def cases(memory_bytes: float) -> dict[str, Case]:
    """What is trained, in batches for a large or a small card."""
    fit = 1 if memory_bytes >= _ROOMY_BYTES else 4
    return {
        "ViT-L/16 fine-tuning": replace(CASES["vit-large"], batch=64 // fit),
        "MAE of ViT-L/16": replace(CASES["mae-large"], batch=128 // fit),
    }


def paces(
    case: Case, *, device: Device = "cuda", compiled: bool = True, rounds: int = 5, least_s: float = 2.0
) -> dict[str, list[float]]:
    """Images per second by round, of ours, of ours compiled, and of the plain loop under bf16 autocast."""
    works: dict[str, Callable[[], object]] = {}
    ways = {
        "ours": lambda: step_of(case, engine_of(case, device=device, precision="bf16")),
        "plain": lambda: plain(case, autocast=True, device=device),
    }
    if compiled:
        ways["compiled"] = lambda: step_of(case, engine_of(case, device=device, precision="bf16", compiled=True))
    for name, make in ways.items():
        step, numbers = make(), iter(range(10**9))

        def work(step: Callable[[int], float] = step, numbers: object = numbers) -> None:
            step(next(numbers) % 4)  # type: ignore[call-overload]
            if device == "cuda":
                torch.cuda.synchronize()  # the optimizer's step runs on after the loss is known

        works[name] = work
    for number in range(4):
        batch_of(case, number)  # once, not in anybody's time
    took = turns(works, rounds=rounds, least_s=least_s)
    return {name: [case.batch / seconds for seconds in each] for name, each in took.items()}


def claims_of(what: str, case: Case, found: dict[str, list[float]], *, rate: float) -> list[Claim]:
    """Write ours and ours compiled against the plain loop, with their share of what the matrices allow."""
    ceiling = rate * case.batch / (3 * forward_flops(case))
    claims = []
    for name in ("ours", "compiled"):
        if name in found:
            share = statistics.median(found[name]) / ceiling
            note = f"batch {case.batch}; {share:.0%} of the bf16 matrix rate (goal {_GOAL_SHARE:.0%})"
            title = f"{what}{', compiled' if name == 'compiled' else ''}"
            claims.append(
                paired(
                    title,
                    found[name],
                    found["plain"],
                    "timm under bf16 autocast",
                    "images/s",
                    note=note,
                    ceiling=ceiling,
                )
            )
    return claims


def run() -> list[Claim]:
    """Measure on the first GPU."""
    if not torch.cuda.is_available():
        raise NotHere("there is no CUDA device: run it on a machine with an NVIDIA GPU of 24 GiB or more")
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise NotHere(f"{torch.cuda.get_device_name()} has no bf16: run it on an Ampere GPU or a newer one")
    memory = torch.cuda.get_device_properties(0).total_memory
    rate = matrix_rate("bfloat16", device="cuda")
    claims = []
    for what, case in cases(memory).items():
        claims += claims_of(what, case, paces(case), rate=rate)
        torch.cuda.empty_cache()
    return claims
