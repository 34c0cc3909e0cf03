"""Peak memory and pace of training each way of adapting a ViT-tiny at 128 px, batch 32, in processes of their own.

python -m benchmarks.adaptation_memory             # all ways
python -m benchmarks.adaptation_memory full lora
"""

import subprocess
import sys
from typing import get_args

from benchmarks.claim import Claim
from eyeground.model.adaptation import Way

STEP = """
import sys, time
import numpy as np
from eyeground.model.adaptation import Adaptation
from eyeground.model.optimization import Optimization
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import TorchEngine

def peak_mb(): return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024
spec, way = ModelSpec("vit_tiny_patch16", 3, image_px=128), Adaptation(sys.argv[1], adapter_width=32)
engine = TorchEngine(spec, optimization=Optimization(layer_decay=1.0), adaptation=way, device="cpu", threads=1)
before = peak_mb()
images = np.random.default_rng(0).standard_normal((32, 3, 128, 128)).astype(np.float32)
batch = [(images, np.eye(3, dtype=np.float32)[np.arange(32) % 3])]
times = []
for step in range(8):
    begun = time.perf_counter()
    engine.train_step(batch, lr=1e-4, seed=step)
    times.append(time.perf_counter() - begun)
print(peak_mb() - before, 32 / sorted(times)[len(times) // 2])
"""


def measured(way: Way) -> tuple[float, float]:
    """What training adds to the memory of a process, in MB, and images per second."""
    said = subprocess.run([sys.executable, "-c", STEP, way], stdout=subprocess.PIPE, text=True, check=True).stdout
    added, pace = map(float, said.split())
    return added, pace


def run() -> list[Claim]:
    """LoRA against training everything."""
    (lora, pace), (full, plain) = measured("lora"), measured("full")
    note = f"ViT-tiny, 128 px, batch 32, above the built network; {pace:.0f} and {plain:.0f} images/s on one core"
    return [Claim("memory of training with LoRA", lora, full, "of training all weights", "MB", note)]


if __name__ == "__main__":
    print("| way | memory above the built network | pace of one core |", "|---|---|---|", sep="\n")
    for name in sys.argv[1:] or get_args(Way):
        found = measured(name)
        print(f"| {name} | {found[0]:.0f} MB | {found[1]:.0f} images/s |")
