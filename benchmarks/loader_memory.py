"""Memory of the whole loader over a long epoch: main process, workers, and the children that decode.

python -m benchmarks.loader_memory 50000
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.claim import Claim
from eyeground.data.augment import Augmentation
from eyeground.data.loader import training_batches
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample

BATCH = 50
FILES = 500


def make(folder: Path, count: int) -> tuple[Sample, ...]:
    """Write small photographs, each under many names."""
    draws = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number < FILES:
            Image.fromarray(draws.integers(0, 256, (48, 64, 3), np.uint8)).save(path, quality=80)
        else:
            os.link(folder / f"{number % FILES:06d}.jpg", path)
    return tuple(Sample(f"{number:06d}.jpg", folder, number % 2, str(number)) for number in range(count))


def family() -> list[int]:
    """This process and all that it started."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(told[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def memory() -> float:
    """Memory of the family, what several share counted once. Unit: MB."""
    whole = 0
    for pid in family():
        try:
            rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        whole += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return whole / 1024


def course(count: int, *, workers: int = 2, every: int = 2500) -> list[tuple[int, float]]:
    """Draw one epoch; give (images drawn, MB) as it goes on."""
    with tempfile.TemporaryDirectory() as place:
        samples = make(Path(place), count)
        batches = training_batches(
            samples,
            pixels=PixelStore(crop_field=True, store_px=32, limit_bytes=0),
            preprocessing=Preprocessing(image_px=32, store_px=32),
            augmentation=Augmentation(),
            batch_size=BATCH,
            epochs=1,
            seed=0,
            workers=workers,
        )
        return [
            ((batch.index + 1) * BATCH, memory()) for batch in batches if (batch.index + 1) * BATCH % every == 0
        ]  # fmt: skip


def run(count: int = 50_000) -> list[Claim]:
    """Compare the end of the epoch with its beginning."""
    seen = course(count, every=count // 20)
    warm, end = seen[1][1], seen[-1][1]
    greatest = max(megabytes for _, megabytes in seen)
    note = (
        f"{count:,} files of 64x48 px, none kept, two loader processes and their decoding children, which are replaced "
        f"after 5,000 images each; greatest {greatest:.0f} MB; what processes share is counted once"
    )
    return [
        Claim(f"memory after {seen[-1][0]:,} images", end, warm, f"after {seen[1][0]:,}", "MB", note, goal=1.0)
    ]  # fmt: skip


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
