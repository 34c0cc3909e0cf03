"""Paddle and MindSpore against torch: loss curves on the same real batches, applied learning rates, pace.

python -m benchmarks.engines        # ViT-tiny at 96 px, batch 16, 40 steps, drop path 0; needs EYEGROUND_REALDATA for
                                    # photographs, else phantoms
"""

import csv
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claim import Claim
from eyeground.data.augment import Augmentation
from eyeground.data.loader import training_batches
from eyeground.data.phantom import draw_fundus
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.images.read import read
from eyeground.model.applied_rate import applied_rate
from eyeground.model.environment import EngineMissing
from eyeground.model.frameworks import build_engine
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.optimization import Optimization
from eyeground.model.spec import ModelSpec
from eyeground.train.schedule import warmup_cosine

SPEC = ModelSpec("vit_tiny_patch16", classes=3, image_px=96)
LEARNING = Optimization()
STEPS, BATCH, PEAK = 40, 16, 1e-3
WATCHED = ("head.bias", "head.weight", "blocks.11.mlp.fc2.weight", "blocks.0.norm1.weight", "patch_embed.proj.bias")
Step = tuple[np.ndarray, np.ndarray]


def batches() -> tuple[list[Step], str]:
    """The same batches for all: photographs where there are some, augmented as in training."""
    folder = os.environ.get("EYEGROUND_REALDATA")
    if folder:
        root = Path(folder) / "fundus-odir3"
        rows = list(csv.DictReader((root / "labels.csv").open()))
        names = ("normal", "glaucoma", "cataract")
        chosen = [row for name in names for row in [r for r in rows if r["label"] == name][:72]]
        samples = [Sample(r["file"], root / "images", names.index(r["label"]), r["group"]) for r in chosen]
        pixels = {sample.id: read(sample.folder / sample.file).pixels for sample in samples}
        what = f"{len(samples)} photographs of fundus-odir3"
    else:
        samples = [Sample(f"{n}.png", Path(), n % 3, str(n)) for n in range(48)]
        kinds = ("normal", "dr3", "cataract")
        pixels = {s.id: draw_fundus(kinds[n % 3], seed=n, size_px=128).image.pixels for n, s in enumerate(samples)}
        what = "48 phantoms"
    stream = training_batches(
        samples,
        pixels=lambda sample: pixels[sample.id],
        preprocessing=Preprocessing(image_px=SPEC.image_px),
        augmentation=Augmentation(),
        batch_size=BATCH,
        epochs=100,
        seed=0,
    )
    taken = [next(stream) for _ in range(STEPS)]
    return [(batch.images, np.eye(3, dtype=np.float32)[batch.labels]) for batch in taken], what


def train(framework: Any, steps: list[Step]) -> tuple[list[float], float, float]:
    """Losses, greatest relative error of the applied learning rates, and median seconds of a step."""
    engine = build_engine(
        framework, SPEC, optimization=LEARNING, device="cpu", precision="fp32", seed=0, threads=os.cpu_count() or 1
    )
    shapes = {name: engine.slot(name).value.shape for name in WATCHED}
    whole = {name: array.shape for name, array in engine.state()["weights"].items()}
    rules = parameter_rules(whole, layer_decay=LEARNING.layer_decay, weight_decay=LEARNING.weight_decay)
    losses, worst, seconds = [], 0.0, []
    for number, batch in enumerate(steps):
        lr = warmup_cosine(number / 4, epochs=STEPS / 4, peak=PEAK, warmup_epochs=2.5, minimum=1e-6)
        before = {name: engine.slot(name) for name in shapes}
        start = time.perf_counter()
        losses.append(engine.train_step([batch], lr=lr, seed=number))
        seconds.append(time.perf_counter() - start)
        for name in shapes:
            decay = rules[name].weight_decay
            found = applied_rate(before[name], engine.slot(name), betas=LEARNING.betas, weight_decay=decay)
            asked = lr * rules[name].lr_scale
            # What float32 cannot tell is no error of the schedule.
            error = max(0.0, abs(found.rate - asked) - found.doubt) / asked if asked else abs(found.rate)
            worst = max(worst, error)
    return losses, worst, statistics.median(seconds[3:])


def run() -> Claim:
    """Train in each framework that is installed."""
    steps, what = batches()
    losses, worst, pace = train("torch", steps)
    notes, slowest = [f"torch: learning rates applied within {worst:.1e}"], pace
    for framework in ("paddle", "mindspore"):
        try:
            others, worst, seconds = train(framework, steps)
        except EngineMissing:
            notes.append(f"{framework} is not installed")
            continue
        apart = max(abs(a - b) / b for a, b in zip(others, losses, strict=True))
        slowest = max(slowest, seconds)
        notes.append(
            f"{framework}: losses within {apart:.1e} of torch's over {STEPS} steps ({losses[0]:.3f} to "
            f"{losses[-1]:.3f}), learning rates applied within {worst:.1e}, {BATCH / seconds:.1f} images/s"
        )
    notes.append(f"torch {BATCH / pace:.1f} images/s; {what}, {SPEC.name} at {SPEC.image_px} px, fp32")
    return Claim("a training step, the slowest framework", slowest, pace, "torch", "s", "; ".join(notes))


if __name__ == "__main__":
    claim = run()
    print(claim.what, f"ratio {claim.ratio:.2f}", *claim.note.split("; "), sep="\n")
