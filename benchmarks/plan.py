"""`eyeground plan` against what it plans: images per second and peak memory of six trainings on this machine.

python -m benchmarks plan
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claim import Claim, NotHere
from benchmarks.training import memory_mb

IMAGES, STEPS = 2000, 5
# Every key is a config's; what is not said has the verb's default.
CASES: dict[str, dict[str, Any]] = {
    "fine-tuning ViT-S/16, batch 16": {"model": "vit_small_patch16", "batch_size": 16},
    "fine-tuning ViT-L/16, batch 8": {"model": "vit_large_patch16", "batch_size": 8},
    "fine-tuning MobileNetV2, batch 16": {"model": "mobilenetv2_100", "batch_size": 16, "drop_path": 0},
    "LoRA on ViT-B/16, batch 16": {"model": "vit_base_patch16", "batch_size": 16, "drop_path": 0, "adapt": "lora"},
    "MAE of ViT-B/16, batch 32": {"method": "mae", "model": "vit_base_patch16", "batch_size": 32},
    "SimCLR of EfficientNet-B0, batch 16": {"method": "simclr", "model": "efficientnet_b0", "batch_size": 16},
}


def config_of(case: dict[str, Any], folder: Path) -> Path:
    """Write a case as a configuration."""
    path = folder / "case.yaml"
    path.write_text(json.dumps({"data": "images", **case}), encoding="utf-8")
    return path


def planned(config: Path) -> dict[str, Any]:
    """What the command says."""
    words = [sys.executable, "-m", "eyeground", "plan", str(config), "--images", str(IMAGES), "--json"]
    said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(said)["plans"][0]
    return found


def measured(config: Path) -> dict[str, float]:
    """What the training does, in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.plan", str(config)]
    found: dict[str, float] = json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def step(config: Path) -> dict[str, float]:
    """Take steps as the configuration has them; the first is to get warm."""
    from eyeground.cli.config_file import load_config, read_values
    from eyeground.cli.planned_work import kind_of_config, work_of

    settings: Any = load_config(config, kind=kind_of_config(read_values(config)))
    shape = (settings.batch_size, 3, settings.image_px, settings.image_px)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    batch = {"mae": (images,), "simclr": (images, images[::-1].copy())}.get(getattr(settings, "method", ""))
    targets = np.eye(5, dtype=np.float32)[np.arange(len(images)) % 5]
    before = memory_mb("VmRSS")
    engine = work_of(settings, precision=settings.precision).build()
    took = []
    for number in range(1 + STEPS):
        begun = time.perf_counter()
        engine.train_step([batch or (images, targets)], lr=1e-4, seed=number)
        took.append(time.perf_counter() - begun)
    return {"images_per_s": len(images) / statistics.median(took[1:]), "peak_mb": memory_mb("VmHWM") - before}


def run() -> list[Claim]:
    """Plan each, then do it."""
    if not Path("/proc/self/status").exists():
        raise NotHere("peak memory is read from /proc, which only Linux has: run it there")
    claims = []
    for what, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            config = config_of(case, Path(folder))
            begun = time.perf_counter()
            said = planned(config)
            note = f"planned in {time.perf_counter() - begun:.0f} s; planned over measured"
            done = measured(config)
        pace, memory_mib = said["step_images_per_s"], said["tensor_bytes"] / 2**20
        ratios = pace / done["images_per_s"], memory_mib / done["peak_mb"]
        words = "measured"
        claims.append(Claim(what, pace, done["images_per_s"], words, "images/s", f"{note}: {ratios[0]:.2f}"))
        kept = f"{what}: peak memory"
        claims.append(Claim(kept, memory_mib, done["peak_mb"], words, "MB", f"planned over measured: {ratios[1]:.2f}"))
    return claims


if __name__ == "__main__":
    print(json.dumps(step(Path(sys.argv[1]))))
