"""Two processes that train one network on this machine: their pace against one's, and what parted weights save.

Pace is of steps alone: ViT-tiny at 128 px in fp32, 32 made-up images a step. Memory is a process's, ViT-base at 32 px.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.claim import Claim, paired

ROUNDS, STEPS = 3, 10
BATCH = 32
PACE = ("vit_tiny_patch16", 128)
MEMORY = ("vit_base_patch16", 32)


def memory_mb(name: str) -> float:
    """A figure of this process's memory, by Linux's name for it. Unit: MB."""
    return int(Path("/proc/self/status").read_text("utf-8").partition(f"{name}:")[2].split()[0]) / 1024


def work(kind: str, strategy: Any, *, threads: int, batch: int) -> dict[str, float]:
    """Be one of the processes, or the only one."""
    import numpy as np
    import torch
    import torch.distributed as dist

    from eyeground.model.optimization import Optimization
    from eyeground.model.spec import ModelSpec
    from eyeground.model.torch.engine import TorchEngine
    from eyeground.model.torch.processes import meet

    processes = meet(device="cpu", strategy=strategy)
    name, px = PACE if kind == "pace" else MEMORY
    torch.ones(64, 64) @ torch.ones(64, 64)  # the libraries' own memory is not the network's
    before = memory_mb("VmRSS")
    engine = TorchEngine(
        ModelSpec(name, classes=3, image_px=px),
        optimization=Optimization(layer_decay=1.0),
        device="cpu",
        precision="fp32",
        threads=threads,
        processes=processes,
    )
    places = processes.share(batch)
    images = np.random.default_rng(0).standard_normal((batch, 3, px, px)).astype(np.float32)[places]
    targets = np.eye(3, dtype=np.float32)[np.arange(batch) % 3][places]
    times = []
    busy = 0.0
    for step in range(STEPS if kind == "pace" else 4):
        begun = time.perf_counter()
        busy = time.process_time() if step == 2 else busy
        if step == 2:
            Path("/proc/self/clear_refs").write_text("5")  # from here on, a new peak
        engine.train_step([(images, targets)], lr=1e-4, seed=step)
        times.append(time.perf_counter() - begun)
    busy = (time.process_time() - busy) / len(times[2:])
    found = {"step_s": statistics.median(times[2:]), "busy_s": busy, "peak_mb": memory_mb("VmHWM") - before}
    engine.state()
    found["saving_mb"] = memory_mb("VmHWM") - before
    if processes.world > 1:
        gradient = torch.zeros(sum(parameter.numel() for parameter in engine.network.parameters()))
        took = []
        for _ in range(8):
            begun = time.perf_counter()
            dist.all_reduce(gradient)
            took.append(time.perf_counter() - begun)
        found |= {"exchange_s": statistics.median(took), "exchange_mb": gradient.nbytes / 2**20}
    return found


def measured(
    kind: str, *, count: int, strategy: str = "ddp", threads: int = 1, batch: int = BATCH, more: Mapping[str, str] = {}
) -> list[dict[str, float]]:
    """Let fresh processes work; what each found, by rank."""
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": "lo", **more}
    with TemporaryDirectory() as folder:
        words = ["-m", "benchmarks.processes", kind, strategy, str(threads), str(batch), folder]
        launch = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(count),
            "--local-addr",
            "localhost",
        ]
        subprocess.run([sys.executable, *(launch if count > 1 else []), *words], env=variables, check=True)
        return [json.loads(path.read_text("utf-8")) for path in sorted(Path(folder).glob("*.json"))]


def pace() -> list[Claim]:
    """Images per second of two processes, of one with both cores, and of one on a core with half the batch."""
    pair: list[float] = []
    one: list[float] = []
    free: list[float] = []
    cost: dict[str, list[float]] = {"pair": [], "one": []}
    found: dict[str, float] = {}
    for _ in range(ROUNDS):
        both = measured("pace", count=2)
        found = both[0]
        pair.append(BATCH / found["step_s"])
        cost["pair"].append(1000 * sum(each["busy_s"] for each in both) / BATCH)
        [alone] = measured("pace", count=1, threads=2)
        one.append(BATCH / alone["step_s"])
        cost["one"].append(1000 * alone["busy_s"] / BATCH)
        free.append(BATCH / measured("pace", count=1, batch=BATCH // 2)[0]["step_s"])
    exchange = (
        f"a step {1000 * found['step_s']:.0f} ms; exchanging its {found['exchange_mb']:.0f} MB of gradients alone "
        f"{1000 * found['exchange_s']:.0f} ms"
    )
    half = "twice a process of one thread, alone on the machine with half the batch"
    return [
        paired("two processes of a thread each, ViT-tiny", pair, one, "one process of two threads", "images/s"),
        paired("the same", pair, free, half, "images/s", note=exchange),
        paired(
            "processor time of an image, both together", cost["pair"], cost["one"], "one process of two threads", "ms"
        ),
    ]


def memory() -> list[Claim]:
    """Memory of a process above what it had before the network, ``fsdp`` against ``ddp``."""
    plain = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system
    parted, whole = ([*measured("memory", count=2, strategy=each, batch=4, more=plain)] for each in ("fsdp", "ddp"))
    return [
        Claim(
            what,
            max(rank[key] for rank in parted[:last]),
            max(rank[key] for rank in whole[:last]),
            "strategy=ddp",
            "MB",
            note,
        )
        for what, key, last, note in (
            ("peak of a step, strategy=fsdp, ViT-base, two processes", "peak_mb", 2, "weights in fp32: 327 MB"),
            ("peak of saving, the first process", "saving_mb", 1, "all weights and averages are put together there"),
        )
    ]


def run() -> list[Claim]:
    """Measure both."""
    return pace() + memory()


if __name__ == "__main__":
    _, said_kind, said_strategy, said_threads, said_batch, said_folder = sys.argv
    made = work(said_kind, said_strategy, threads=int(said_threads), batch=int(said_batch))
    (Path(said_folder) / f"{os.environ.get('RANK', '0')}.json").write_text(json.dumps(made), "utf-8")
