"""Keeping freed memory: a MobileNetV2 training step at 288 px with and without it, in processes of their own."""

import subprocess
import sys

from benchmarks.claim import Claim

STEP = """
import statistics, sys, time
import numpy as np
from eyeground.model.torch import engine as module
if sys.argv[1] == "plain":
    module.keep_freed_memory = lambda: False
spec = module.ModelSpec("mobilenetv2_100", classes=3, image_px=288, options={"pad_type": "same"})
engine = module.TorchEngine(spec, optimization=module.Optimization(layer_decay=1), frozen_batch_norm=True, device="cpu")
images = np.random.default_rng(0).standard_normal((32, 3, 288, 288)).astype(np.float32)
targets = np.eye(3, dtype=np.float32)[np.arange(32) % 3]
times = []
for step in range(8):
    before = time.perf_counter()
    engine.train_step([(images, targets)], lr=1e-4, seed=step)
    times.append(time.perf_counter() - before)
print(32 / statistics.median(times[2:]))
"""


def run() -> list[Claim]:
    """Measure both, images per second."""

    def rate(kind: str) -> float:
        command = [sys.executable, "-c", STEP, kind]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return [Claim("MobileNetV2 training, 288 px", rate("kept"), rate("plain"), "the same without mallopt", "images/s")]
