"""From photographs to training tensors: a first epoch from full-size files, and epochs from a prepared set.

python -m benchmarks.training_images 400
"""

import itertools
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks.claim import Claim, NotHere, paired, turns
from eyeground.data.augment import Augmentation, draws, training_transform
from eyeground.data.loader import training_batches
from eyeground.data.manifest import Source, read_manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.prepare import prepare
from eyeground.data.prepared import open_prepared
from eyeground.data.preprocessing import Pixels, Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.verify import verify
from eyeground.images.read import fetch

BATCH = 10
ROUNDS = 3
KEEP = 2**34
AGAINST = "torchvision ImageFolder, timm transform"


def photographs() -> list[Path]:
    """Full-size photographs of this machine."""
    place = os.environ.get("EYEGROUND_REALDATA", "")
    found = sorted(Path(place, "fundus-hires").rglob("*.jpeg")) if place else []
    if not found:
        raise NotHere("full-size photographs are needed: set EYEGROUND_REALDATA to a folder that has fundus-hires/")
    return found


def lay_out(files: list[Path], folder: Path, count: int) -> None:
    """Make a folder of so many images in two classes; each file stands there again and again."""
    for number in range(count):
        each = files[number % len(files)]
        place = folder / f"class{number % len(files) % 2}"
        place.mkdir(parents=True, exist_ok=True)
        first = place / f"{number % len(files):06d}{each.suffix}"
        if number < len(files):
            shutil.copyfile(each, first)
        else:
            os.link(first, place / f"{number:06d}{each.suffix}")


def plain_transform(px: int) -> Callable[[Image.Image], torch.Tensor]:
    """RETFound's fine-tuning transform as its users make it, but for timm's posterization, which Pillow 13 refuses."""
    transform = create_transform(
        input_size=px, is_training=True, color_jitter=None, auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic", re_prob=0.25, re_mode="pixel", re_count=1,
    )  # fmt: skip
    for op in transform.transforms[2].ops:
        if op.name.startswith("Posterize"):
            op.level_fn = lambda level, hparams, plain=op.level_fn: (max(1, plain(level, hparams)[0]),)
    made: Callable[[Image.Image], torch.Tensor] = transform
    return made


def plain_epoch(folder: Path, workers: int, px: int) -> Iterator[torch.Tensor]:
    """Batches of an epoch of the reference."""
    images = ImageFolder(str(folder), plain_transform(px))
    for tensors, _ in DataLoader(images, BATCH, shuffle=True, drop_last=True, num_workers=workers):
        yield tensors


def our_batches(
    samples: tuple[Sample, ...], store: PixelStore, workers: int, preprocessing: Preprocessing, epochs: int = 1
) -> Iterator[torch.Tensor]:
    """Batches of some epochs of ours."""
    for batch in training_batches(
        samples, pixels=store, preprocessing=preprocessing, augmentation=Augmentation(), batch_size=BATCH,
        epochs=epochs, seed=0, workers=workers,
    ):  # fmt: skip
        yield torch.from_numpy(batch.images)


def rate(batches: Iterator[torch.Tensor]) -> float:
    """Images per second, start of the workers included."""
    began = time.perf_counter()
    images = sum(len(batch) for batch in batches)
    return images / (time.perf_counter() - began)


def ready(folder: Path, preprocessing: Preprocessing) -> tuple[tuple[Sample, ...], list[Path]]:
    """Prepare a folder; give its samples and what to tell a store."""
    source = read_manifest([Source(folder)])
    prepare(source, folder.parent / "ready", crop_field=preprocessing.crop_field, store_px=preprocessing.store_px)
    opened = open_prepared(folder.parent / "ready")
    assert opened is not None
    return tuple(read_manifest([opened.source()], classes=source.classes).samples), [opened.images]


def change(files: list[Path], preprocessing: Preprocessing) -> str:
    """How far pixels of photographs that were decoded smaller are from those decoded whole, in words."""
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px, limit_bytes=0)
    means, parts = [], []
    for file in files:
        parcel = fetch(file)
        near, whole = store.open(parcel)[1].astype(np.int16), store.ready(parcel.decode())
        if near.shape == whole.shape:
            means.append(float(np.abs(near - whole).mean()))
            parts.append(float(np.percentile(np.abs(near - whole), 99)))
    return f"pixels {max(means):.2f} of 255 levels from those decoded whole on average, 99% within {max(parts):.0f}"


def parts(store: PixelStore, samples: Sequence[Sample], pixels: Sequence[Pixels], px: int) -> dict[str, list[float]]:
    """Images per second of what an epoch is made of, in one thread as loader processes have: by part and round."""
    transform, plain = training_transform(Preprocessing(image_px=px), Augmentation()), plain_transform(px)
    pictures = [Image.fromarray(each) for each in pixels]
    turn = itertools.count()

    def draw() -> None:
        for each in pixels:
            with draws(0, next(turn)):
                transform(each)

    works: dict[str, Callable[[], object]] = {
        "read": lambda: [store(each) for each in samples],
        "draw": draw,
        "plain draw": lambda: [plain(each) for each in pictures],
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    took = turns(works, least_s=1.0)
    torch.set_num_threads(threads)
    sizes = {"read": len(samples), "draw": len(pixels), "plain draw": len(pixels)}
    return {name: [sizes[name] / each for each in found] for name, found in took.items()}


def run(
    count: int = 200,
    *,
    files: list[Path] | None = None,
    workers: int = 0,
    rounds: int = ROUNDS,
    preprocessing: Preprocessing | None = None,
) -> list[Claim]:
    """Compare epochs, each side with as many loader processes as there are cores."""
    files, workers = files or photographs(), workers or os.cpu_count() or 1
    preprocessing = preprocessing or Preprocessing()
    px = preprocessing.image_px
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "photographs")
        lay_out(files, folder, count)
        samples = tuple(read_manifest([Source(folder)]).samples)
        stored, prepared = ready(folder, preprocessing)

        def store(**more: object) -> PixelStore:
            return PixelStore(
                crop_field=preprocessing.crop_field, store_px=preprocessing.store_px, prepared=prepared, **more
            )  # type: ignore[arg-type]

        def first_of_a_training() -> float:
            """As a training begins: every image read, hashed and kept, then drawn."""
            began, kept = time.perf_counter(), store(limit_bytes=KEEP)
            verify(samples, keep=kept.keep)
            images = sum(len(batch) for batch in our_batches(samples, kept, workers, preprocessing))
            return images / (time.perf_counter() - began)

        kept = store(limit_bytes=KEEP)
        verify(stored, keep=kept.keep)
        sides: dict[str, Callable[[], float]] = {
            "reference": lambda: rate(plain_epoch(folder, workers, px)),
            "first": lambda: rate(our_batches(samples, store(limit_bytes=0), workers, preprocessing)),
            "training": first_of_a_training,
            "prepared": lambda: rate(our_batches(stored, store(limit_bytes=0), workers, preprocessing, 4)),
            "kept": lambda: rate(our_batches(stored, kept, workers, preprocessing, 4)),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            for name, side in sides.items():
                found = side()
                if number:  # the first round warms up
                    rates[name].append(found)
        near = change(files, preprocessing)
        alone = parts(store(limit_bytes=0), samples[: len(files)], [kept(each) for each in stored[: len(files)]], px)
    middle = {name: statistics.median(found) for name, found in (rates | alone).items()}
    needed = ", ".join(
        f"from {name} {100 * workers / middle[key]:.1f}"
        for name, key in (("full-size files", "first"), ("a prepared set", "prepared"), ("memory", "kept"))
    )
    both = f"{workers} loader processes on each side; RandAugment m9, erasing 0.25, no color jitter, {px} px"
    reading, drawing = workers * middle["read"], workers * middle["draw"]
    claims = [
        ("first", "first epoch from full-size photographs", 2.5, reading,
         f"{both}; {near}; the ceiling is decoding, cropping and shrinking alone"),
        ("training", "the same as a training begins", math.nan, math.nan,
         "every image read, hashed, checked and kept, then an epoch from memory"),
        ("prepared", "an epoch from a prepared set", 10.0, drawing,
         f"TIFFs of {preprocessing.store_px} px, read each time; the ceiling is drawing alone"),
        ("kept", "an epoch from memory", math.nan, drawing,
         f"where the set fits; processes like these that 100 images/s of a GPU need: {needed}"),
    ]  # fmt: skip
    return [
        *(
            paired(
                what, rates[key], rates["reference"], AGAINST, "images/s", note=note, ceiling=ceiling, goal=goal
            )
            for key, what, goal, ceiling, note in claims
        ),
        paired(
            f"drawing from {preprocessing.store_px} px", alone["draw"], alone["plain draw"], "timm transform",
            "images/s", note="one thread; the reference from a Pillow picture",
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    for claim in run(int(sys.argv[1]) if len(sys.argv) > 1 else 200):
        print(claim, round(claim.gain, 2))
