"""What this machine can do at most: its matrix rate by type of number, and how fast its memory moves.

python -m benchmarks.ceiling
"""

import os
import platform
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.claim import turns


@cache
def matrix_rate(dtype: str = "float32", *, device: str = "cpu", side: int = 0) -> float:
    """Best rate of square matrix products. Unit: floating-point operations/s.

    Args:
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        device: ``"cpu"`` or ``"cuda"``.
        side: Side of the matrices; 0 = 2,048 on a processor, 8,192 on a GPU.
    """
    side = side or (2048 if device == "cpu" else 8192)
    one, other = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))

    def multiply() -> None:
        torch.mm(one, other)
        if device == "cuda":
            torch.cuda.synchronize()

    return 2 * side**3 / min(turns({"": multiply}, rounds=5, least_s=0.2)[""])


@cache
def memory_rate() -> float:
    """Best rate at which memory is read and written again, all cores at once. Unit: bytes/s."""
    from_, to = (torch.ones(2**26) for _ in range(2))
    return 2 * from_.nbytes / min(turns({"": lambda: to.copy_(from_)}, rounds=5, least_s=0.1)[""])


def bf16_here() -> bool:
    """Whether this processor multiplies bf16 by itself."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def processor() -> str:
    """Name of the processor, as the system gives it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.machine()


def machine() -> str:
    """Say what this machine is and can do."""
    rates = [f"{matrix_rate() / 1e9:.0f} GFLOP/s in fp32"]
    rates.append(f"{matrix_rate('bfloat16') / 1e9:.0f} in bf16" if bf16_here() else "no bf16 of its own")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{processor()} ({torch.backends.cpu.get_cpu_capability()}), {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"matrices: {', '.join(rates)}; memory: {memory_rate() / 1e9:.0f} GB/s; Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}"
    )


if __name__ == "__main__":
    print(machine())
