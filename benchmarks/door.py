"""The limited child process: JPEGs of 1024 px decoded through it, against the same reader called in this process."""

import io
import statistics
import time
from collections.abc import Callable

from PIL import Image

from benchmarks.claim import Claim
from eyeground.data.phantom import draw_fundus
from eyeground.images.decode import MAX_PIXELS, decode
from eyeground.images.readers import photo

ROUNDS = 5


def run() -> list[Claim]:
    """Measure both, images per second, in turns so that a noisy machine disturbs both alike."""
    files = []
    for seed in range(8):
        out = io.BytesIO()
        Image.fromarray(draw_fundus("normal", seed=seed, size_px=1024).image.pixels).save(out, "JPEG", quality=90)
        files.append(out.getvalue())

    def seconds(read: Callable[[bytes], object]) -> float:
        before = time.perf_counter()
        for data in files:
            read(data)
        return time.perf_counter() - before

    def door(data: bytes) -> object:
        return decode(data, source="x")

    def bare(data: bytes) -> object:
        return photo.frame(data, source="x", number=0, max_pixels=MAX_PIXELS)

    began = time.perf_counter()
    door(files[0])
    start = time.perf_counter() - began
    bare(files[0])
    pairs = [(seconds(door), seconds(bare)) for _ in range(ROUNDS)]
    ours, reference = (statistics.median(times) for times in zip(*pairs, strict=True))
    extra = 1000 * (ours - reference) / len(files)
    note = f"{extra:.1f} ms more an image, once {start:.2f} s to start the child"
    return [
        Claim(
            "decoding in a limited child",
            len(files) / ours,
            len(files) / reference,
            "in this process",
            "images/s",
            note,
        )
    ]
