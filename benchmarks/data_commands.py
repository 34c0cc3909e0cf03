"""What `eyeground data prepare` and `eyeground doctor` do in a second, against decoding alone.

python -m benchmarks.data_commands 400
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from benchmarks.claim import Claim, NotHere, paired
from benchmarks.many_files import make
from benchmarks.training_images import lay_out, photographs
from eyeground.data.doctor import check
from eyeground.data.manifest import Source, read_manifest
from eyeground.data.prepare import prepare

ROUNDS = 3


def plainly(files: list[Path]) -> None:
    """Decode as Pillow does, one after the other."""
    for file in files:
        with Image.open(file) as picture:
            picture.convert("RGB")


def once(folder: Path, store_px: int = 512) -> None:
    """Prepare a folder into a new one."""
    with tempfile.TemporaryDirectory() as place:
        found = read_manifest([Source(folder)])
        prepare(found, Path(place, "ready"), crop_field=True, store_px=store_px)


def measure(folder: Path, kind: str, rounds: int) -> list[Claim]:
    """Give the claims for one folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    works: dict[str, Callable[[], object]] = {
        "prepare": lambda: once(folder),
        "doctor": lambda: check([Source(folder)], keep=False),
        "Pillow": lambda: plainly(files),
    }
    rates: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if number:  # the first round warms up
                rates[name].append(len(files) / (time.perf_counter() - began))
    ceiling = statistics.median(rates["Pillow"]) * (os.cpu_count() or 1)
    note = f"{len(files)} files, {os.cpu_count()} threads; the ceiling is Pillow on as many cores"
    return [
        paired(
            f"{name}, {kind}", rates[name], rates["Pillow"], "decoding with Pillow, one thread", "images/s", note=note,
            ceiling=ceiling,
        )
        for name in ("prepare", "doctor")
    ]  # fmt: skip


def run(small: int = 300, *, files: list[Path] | None = None, rounds: int = ROUNDS) -> list[Claim]:
    """Measure full-size photographs, if there are any here, and small ones."""
    claims = []
    with tempfile.TemporaryDirectory() as place:
        make(Path(place, "small"), small)
        claims += measure(Path(place, "small"), "160x128 px", rounds)
        try:
            files = files or photographs()
        except NotHere:
            return claims
        # Each once: the doctor would compare copies with each other.
        lay_out(files, Path(place, "photographs"), len(files))
        return [*measure(Path(place, "photographs"), "full-size photographs", rounds), *claims]


if __name__ == "__main__":
    for claim in run(int(sys.argv[1]) if len(sys.argv) > 1 else 300):
        print(claim, round(claim.gain, 2))
