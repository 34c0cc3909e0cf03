"""Peak memory of a SimCLR batch of 512 in chunks of 64 against a batch of 64, in processes of their own.

python -m benchmarks.contrast_memory 128   # also what that batch needs in one pass: some 5 GB; 256 would need 9
"""

import subprocess
import sys

from benchmarks.claim import Claim

STEP = """
import sys
import numpy as np
import torch
from eyeground.model.spec import SimclrSpec
from eyeground.model.torch.simclr import ContrastiveNetwork, contrastive_step
name, image_px, batch, chunk = sys.argv[1], *map(int, sys.argv[2:])
draws = np.random.default_rng(0)
torch.manual_seed(0)
torch.set_num_threads(2)
network = ContrastiveNetwork(SimclrSpec(name, image_px=image_px)).to(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
shape = (2, chunk, 3, image_px, image_px)
views = [draws.standard_normal(shape, dtype=np.float32) for _ in range(batch // chunk)]
chunks = [tuple(torch.from_numpy(view).to(memory_format=torch.channels_last) for view in pair) for pair in views]
del views
for step in range(2):
    contrastive_step(network, chunks, temperature=0.1, seed=step)
    optimizer.step()
    optimizer.zero_grad()
# Not ru_maxrss, which begins with what the parent held when it started this process.
print(int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024)
"""


def peak_mb(*, batch: int, chunk: int, name: str = "mobilenetv2_100", image_px: int = 96) -> float:
    """Greatest memory of a process that takes two steps, Python, torch and the images included. Unit: MB."""
    command = [sys.executable, "-c", STEP, name, str(image_px), str(batch), str(chunk)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def run(whole: int = 0) -> list[Claim]:
    """Measure both, and perhaps one pass over a larger batch."""
    name, image_px = "mobilenetv2_100", 96
    peaks = [peak_mb(batch=batch, chunk=64, name=name, image_px=image_px) for batch in (512, 64)]
    note = f"{name} at {image_px} px, two views of each image, start and images included; the aim is at most 1.3"
    if whole:
        note += f"; {whole} in one pass need {peak_mb(batch=whole, chunk=whole, name=name, image_px=image_px):.0f} MB"
    return [Claim("SimCLR, 512 images in chunks of 64", peaks[0], peaks[1], "a batch of 64", "MB", note)]


if __name__ == "__main__":
    [claim] = run(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(claim, f"gain {claim.gain:.3f}")
