"""Many small images into shards and out of them again: rates, memory, a kill in the middle.

python -m benchmarks.shards 200000
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks.claim import Claim, paired
from benchmarks.loader_memory import memory
from benchmarks.training_images import plain_transform
from eyeground.data.augment import Augmentation
from eyeground.data.loader import training_batches
from eyeground.data.manifest import read_manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.prepared import open_prepared
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.shards.opened import open_shards
from eyeground.data.shards.order import order_for
from eyeground.data.shards.rows import ShardRows

SIDE = 64
CLASSES = 4
BATCH = 50
WORKERS = 2
ROUNDS = 3


def make(folder: Path, count: int) -> None:
    """Write small photographs, no two alike, some 2 kB each."""
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = ((x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2 < (0.46 * SIDE) ** 2)[..., None]
    draws = np.random.default_rng(0)
    grounds = [
        (disc * (np.array([180, 90, 40]) + draws.normal(0, 12, (SIDE, SIDE, 3)))).clip(0, 255).astype(np.uint8)
        for _ in range(40)
    ]
    for number in range(CLASSES):
        (folder / f"class{number}").mkdir(parents=True)
    for number in range(count):
        pixels = grounds[number % 40].copy()
        pixels[28:36, 20:44] = [number * 7 % 256, number // 256 % 256, number % 256]
        pixels[36:40, 20:44] = [number // 65536, 0, number * 31 % 256]
        Image.fromarray(pixels).save(folder / f"class{number % CLASSES}" / f"{number:06d}.jpg", quality=88)


@dataclass
class Course:
    """How a run of the command went.

    Args:
        seconds: How long it took. Unit: s.
        megabytes: Memory of the process by the bytes that it had stored. Unit: MB.
    """

    seconds: float = 0.0
    megabytes: dict[int, float] = field(default_factory=dict)

    def at(self, share: float) -> float:
        """Greatest memory until a share of all was stored. Unit: MB."""
        last = max(self.megabytes)
        return max(found for stored, found in self.megabytes.items() if stored <= share * last)


def prepare(data: Path, out: Path, *words: str, kill_at_shard: int = 0) -> Course:
    """Run the command, perhaps only until some shards are whole."""
    code = "from eyeground.cli.main import main; main()"
    line = ["data", "prepare", str(data), "--out", str(out), "--store-px", str(SIDE), "--no-crop-field", *words]
    began, course = time.monotonic(), Course()
    with subprocess.Popen([sys.executable, "-c", code, *line], stdout=-3, stderr=-3) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status")
            rows = status.read_text().splitlines() if status.exists() else []
            now = next((int(row.split()[1]) / 1024 for row in rows if row.startswith("VmRSS")), 0.0)
            journal = out / "journal.jsonl"
            stored = _stored(out / "shards")
            course.megabytes[stored] = max(now, course.megabytes.get(stored, 0.0))
            if kill_at_shard and journal.is_file() and journal.read_bytes().count(b'"shard"') >= kill_at_shard:
                process.kill()
            time.sleep(0.2)
    if process.returncode != (-9 if kill_at_shard else 0):
        raise RuntimeError(f"prepare ended with {process.returncode}")
    course.seconds = time.monotonic() - began
    return course


def _stored(folder: Path) -> int:
    """Bytes of shards written so far, also of the one that is not whole."""
    total = 0
    for path in folder.glob("*shard-*") if folder.is_dir() else ():
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # renamed at this moment
            continue
    return total


def digest(folder: Path) -> str:
    """Hash of everything that a later run reads."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"):
        whole.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def plain_epochs(folder: Path, epochs: int) -> Iterator[torch.Tensor]:
    """Batches of the reference."""
    images = ImageFolder(str(folder), plain_transform(SIDE))
    loader = DataLoader(images, BATCH, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True)
    for _ in range(epochs):
        for tensors, _ in loader:
            yield tensors


def our_epochs(
    samples: Sequence[Sample], prepared: Sequence[Path], epochs: int, augmentation: Augmentation | None = None
) -> Iterator[torch.Tensor]:
    """Batches of ours, read from the disk each time."""
    for batch in training_batches(
        samples,
        pixels=PixelStore(crop_field=False, store_px=SIDE, limit_bytes=0, prepared=prepared),
        preprocessing=Preprocessing(image_px=SIDE, store_px=SIDE, crop_field=False),
        augmentation=augmentation or Augmentation(),
        batch_size=BATCH,
        epochs=epochs,
        seed=0,
        workers=WORKERS,
        order=order_for(samples, seed=0),
    ):
        yield torch.from_numpy(batch.images)


def rate(batches: Iterator[torch.Tensor], seen: list[float] | None = None, every: int = 0) -> float:
    """Images per second, start of the workers included; now and then the memory of all processes is noted."""
    began, images, apart = time.perf_counter(), 0, 0.0
    for batch in batches:
        images += len(batch)
        if seen is not None and images % every == 0:
            before = time.perf_counter()
            seen.append(memory())
            apart += time.perf_counter() - before
    return images / (time.perf_counter() - began - apart)


def run(count: int = 6_000, *, shard_mb: int = 0) -> list[Claim]:
    """Pack, kill, stream two epochs; compare with files, ours and the reference's."""
    # Some twenty shards, as a large set has many.
    shard_mb = shard_mb or max(1, round(count * 8e3 / 20 / 1e6))
    some = min(count, 4_000)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder / "data", count)
        for number in range(some):
            name = Path(f"class{number % CLASSES}", f"{number:06d}.jpg")
            (folder / "part" / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(folder / "data" / name, folder / "part" / name)
        packing = ("--shards", "--shard-mb", "1")
        files = prepare(folder / "part", folder / "files")
        once = prepare(folder / "part", folder / "once", *packing)
        prepare(folder / "part", folder / "cut", *packing, kill_at_shard=3)
        prepare(folder / "part", folder / "cut", *packing)
        same = "the same" if digest(folder / "once") == digest(folder / "cut") else "OTHER"
        whole = prepare(folder / "data", folder / "packed", "--shards", "--shard-mb", str(shard_mb))
        shards, few, ready = (
            open_shards(folder / "packed"),
            open_shards(folder / "once"),
            open_prepared(folder / "files"),
        )
        assert shards is not None
        assert few is not None
        assert ready is not None
        stored = sum(shard.bytes for shard in shards.index.shards)
        rows = ShardRows(shards, "small", split="train", labels=False)
        samples = read_manifest([ready.source()], classes=ready.classes).samples
        few_rows = ShardRows(few, "few", split="train", labels=False)
        names = [sample.file for sample in few_rows]

        def read_shards() -> int:
            return sum(len(few.read(name)) for name in names)

        def read_files() -> int:
            return sum(len((ready.images / name).read_bytes()) for name in names)

        def megabytes_a_second(work: Callable[[], int]) -> float:
            began = time.perf_counter()
            return work() / 1e6 / (time.perf_counter() - began)

        reading: dict[str, list[float]] = {"shards": [], "files": []}
        streaming: dict[str, list[float]] = {"shards": [], "files": [], "reference": []}
        for _ in range(ROUNDS):
            reading["shards"].append(megabytes_a_second(read_shards))
            reading["files"].append(megabytes_a_second(read_files))
            streaming["shards"].append(rate(our_epochs(few_rows, (), 2)))
            streaming["files"].append(rate(our_epochs(samples, [ready.images], 2)))
            streaming["reference"].append(rate(plain_epochs(folder / "part", 2)))
        seen: list[float] = []
        every = max(BATCH, 2 * count // 16 // BATCH * BATCH)
        long = rate(our_epochs(rows, (), 2, Augmentation(rand_augment="", random_erasing=0)), seen, every)
    bytes_each = stored / count
    workers = f"{WORKERS} loader processes on each side, RandAugment and erasing, {SIDE} px, two epochs"
    return [
        Claim(
            f"{some:,} small images into shards", some / once.seconds, some / files.seconds, "data prepare into files",
            "images/s", f"start included; killed after 3 shards and run again: {same} bytes",
        ),
        Claim(
            f"{count:,} small images into shards", count / whole.seconds, some / once.seconds, f"the {some:,}",
            "images/s",
            f"{stored / 1e6:.0f} MB in {len(shards.index.shards)} shards of {shard_mb} MB, "
            f"{stored / 1e6 / whole.seconds:.1f} MB/s",
        ),
        Claim(
            "memory while packing, all images", whole.at(1.0), whole.at(0.25), "a quarter of them", "MB",
            f"one process, which holds the list of {count:,} images from the start; its decoding children not counted",
            goal=1.0,
        ),
        paired(
            "bytes out of shards, any order, each compared with its hash", reading["shards"], reading["files"],
            "the same images from files, not compared", "MB/s",
            note=f"{len(names):,} images of {bytes_each:,.0f} bytes",
        ),
        paired(
            "two epochs from shards", streaming["shards"], streaming["files"], "our loader, prepared files", "images/s",
            note=workers,
        ),
        paired(
            "the same", streaming["shards"], streaming["reference"],
            "torchvision ImageFolder of the JPEGs, timm transform", "images/s",
            note="the reference decodes in the loader process; ours in a child that may do nothing else",
        ),
        Claim(
            f"memory after two epochs of {count:,}", seen[-1], seen[1], "after an eighth of them", "MB",
            f"{long:.0f} images/s, {long * bytes_each / 1e6:.1f} MB/s, crop and flip only; loader processes and "
            f"decoding children counted, shared memory once; greatest {max(seen):.0f} MB",
            goal=1.0,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    for claim in run(int(sys.argv[1]) if len(sys.argv) > 1 else 6_000):
        print(claim, round(claim.gain, 2))
