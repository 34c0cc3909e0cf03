"""Paddle and MindSpore against torch: loss curves on the same real batches, applied learning rates, pace.

python -m benchmarks.engines            # ViT-tiny at 96 px, batch 16, 40 steps, drop path 0; photographs where
                                        # EYEGROUND_REALDATA has them, else phantoms
python -m benchmarks.engines finetune   # the whole command on 300 photographs, two epochs, once per framework
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
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


def photographs(root: Path) -> list[dict[str, str]]:
    """The rows of a set's table."""
    with (root / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def batches() -> tuple[list[Step], str]:
    """The same batches for all: photographs where there are some, augmented as in training."""
    folder = os.environ.get("EYEGROUND_REALDATA")
    if folder:
        root = Path(folder) / "fundus-odir3"
        rows = photographs(root)
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
    return [(batch.images, np.eye(3, dtype=np.float32)[batch.truth[:, 0].astype(int)]) for batch in taken], what


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


def run() -> list[Claim]:
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
    return [Claim("a training step, the slowest framework", slowest, pace, "torch", "s", "; ".join(notes))]


def finetune_each() -> None:
    """Run the command in each framework on the same 300 photographs, and print what it left."""
    root = Path(os.environ["EYEGROUND_REALDATA"]) / "fundus-odir3"
    rows = photographs(root)
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "labels.csv").open("w") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            for name in ("normal", "glaucoma", "cataract"):
                table.writerows([row for row in rows if row["label"] == name][:100])
        config = Path(folder) / "config.yaml"
        config.write_text(
            f"data: [{{path: {root / 'images'}, table: {folder}/labels.csv, group: group, name: odir300}}]\n"
            "classes: [normal, glaucoma, cataract]\nsplit: 60:20:20\nmodel: vit_tiny_patch16\nimage_px: 96\nepochs: 2\n"
            "batch_size: 16\nwarmup_epochs: 0.5\ndrop_path: 0\nprecision: fp32\nthreads: 2\n"
        )
        for framework in ("torch", "paddle", "mindspore"):
            out = Path(folder) / framework
            start = time.perf_counter()
            words = ["finetune", str(config), f"engine={framework}", f"out={out}", "--json"]
            done = subprocess.run(
                [sys.executable, "-c", "from eyeground.cli.main import main; main()", *words],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            test = json.loads(done.stdout)["test"]
            told = ", ".join(
                f"{key} {test[key]['value']:.3f} [{test[key]['low']:.3f}-{test[key]['high']:.3f}]"
                for key in ("auroc_macro", "f1_macro", "accuracy")
            )
            print(
                f"{framework:10} {time.perf_counter() - start:4.0f} s  {told}  {sorted(p.name for p in out.iterdir())}"
            )


if __name__ == "__main__":
    if sys.argv[1:] == ["finetune"]:
        finetune_each()
        sys.exit()
    [claim] = run()
    print(claim.what, f"gain {claim.gain:.2f}", *claim.note.split("; "), sep="\n")
