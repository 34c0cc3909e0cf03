"""Preparing many small images: rate and memory, and a kill in the middle.

python -m benchmarks.many_files 20000
"""

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.claim import Claim
from eyeground.images.decode import decode

CLASSES = 4


def make(folder: Path, count: int) -> None:
    """Write small photographs, no two alike."""
    y, x = np.mgrid[:128, :160]
    disc = ((x - 80) ** 2 + (y - 64) ** 2 < 58**2)[..., None]
    draws = np.random.default_rng(0)
    grounds = [
        (disc * (np.array([180, 90, 40]) + draws.normal(0, 12, (128, 160, 3)))).clip(0, 255).astype(np.uint8)
        for _ in range(40)
    ]
    for number in range(CLASSES):
        (folder / f"class{number}").mkdir(parents=True)
    for number in range(count):
        pixels = grounds[number % 40].copy()
        pixels[60:68, 70:90] = [number * 7 % 256, number // 256 % 256, number % 256]
        Image.fromarray(pixels).save(folder / f"class{number % CLASSES}" / f"{number:05d}.jpg", quality=88)


def prepare(data: Path, out: Path, *, kill_at: int = 0) -> tuple[float, float]:
    """Run the command, perhaps only until some images are done; give seconds and the greatest memory in MB."""
    code = "from eyeground.cli.main import main; main()"
    words = ["data", "prepare", str(data), "--out", str(out), "--json"]
    began, peak = time.monotonic(), 0.0
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=-3, stderr=-3) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status")
            rows = status.read_text().splitlines() if status.exists() else []
            peak = max([peak, *(int(row.split()[1]) / 1024 for row in rows if row.startswith("VmRSS"))])
            journal = out / "journal.jsonl"
            if kill_at and journal.is_file() and journal.read_bytes().count(b"\n") > kill_at:
                process.kill()
            time.sleep(0.2)
    if process.returncode != (-9 if kill_at else 0):
        raise RuntimeError(f"prepare ended with {process.returncode}")
    return time.monotonic() - began, peak


def digest(folder: Path) -> str:
    """Hash of everything that a later run reads."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"):
        whole.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return whole.hexdigest()


def run(count: int = 1000) -> list[Claim]:
    """Prepare once whole and once with a kill in the middle; compare with decoding alone, in one thread."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder / "data", count)
        took, peak = prepare(folder / "data", folder / "whole")
        prepare(folder / "data", folder / "cut", kill_at=count // 2)
        prepare(folder / "data", folder / "cut")
        same = "the same" if digest(folder / "whole") == digest(folder / "cut") else "OTHER"
        files = [path.read_bytes() for path in sorted((folder / "data").rglob("*.jpg"))[:500]]
        decode(files[0], source="x")
        began = time.monotonic()
        for data in files:
            decode(data, source="x")
        reference = len(files) / (time.monotonic() - began)
    note = f"{count} images of 160x128 px, start included; {peak:.0f} MB; killed half-way and run again: {same} bytes"
    return [Claim("preparing small images", count / took, reference, "decoding alone in one thread", "images/s", note)]


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
