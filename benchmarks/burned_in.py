"""Text burned into pixels: how long the search takes, how much drawn text it finds, how often it is wrong.

python -m benchmarks.burned_in FOLDER...     real images: alarms as they are, hits with text drawn into a corner
"""

import io
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.claim import Claim, seconds
from eyeground.data.phantom import draw_fundus
from eyeground.data.privacy.burned_in import Region, find_text
from eyeground.images.decode import decode
from eyeground.images.read import read

WORDS = ("SMITH JOHN", "1956-03-12", "ID 00123", "Doe, Jane 1961", "OD 12/03/2019", "P0017")
HEIGHTS_PX = (6, 7, 9, 12, 16, 24, 36)  # of a capital letter


def written(pixels: NDArray[np.uint8], height_px: int, draws: random.Random) -> tuple[NDArray[np.uint8], Region]:
    """Write into a corner and compress as JPEG; give the picture and where the words are."""
    picture = Image.fromarray(pixels)
    pen, words = ImageDraw.Draw(picture), draws.choice(WORDS)
    font = ImageFont.load_default(size=height_px / 0.72)
    left, top, right, bottom = (round(edge) for edge in pen.textbbox((0, 0), words, font=font))
    width, height, margin = right - left, bottom - top, draws.randint(2, 8)
    x = draws.choice((margin, picture.width - margin - width))
    y = draws.choice((margin, picture.height - margin - height))
    bright = np.median(pixels[max(0, y) : y + height, max(0, x) : x + width]) > 128
    on_dark, on_bright = ("white", "yellow", (170, 170, 170), (0, 255, 0)), ("black", (90, 90, 90), (0, 0, 160))
    pen.text((x - left, y - top), words, font=font, fill=draws.choice(on_bright if bright else on_dark))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return np.asarray(Image.open(out).convert("RGB")), Region(x, y, width, height)


def hit(pixels: NDArray[np.uint8], box: Region) -> bool:
    """Whether something was found where the words are."""
    return any(
        each.x < box.x + box.width and box.x < each.x + each.width
        and each.y < box.y + box.height and box.y < each.y + each.height
        for each in find_text(pixels)
    )  # fmt: skip


def run() -> list[Claim]:
    """Compare the search with decoding the photograph."""
    pixels = draw_fundus("normal", seed=0, size_px=1024).image.pixels
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    data = out.getvalue()
    ours, reference = seconds(lambda: find_text(pixels)), seconds(lambda: decode(data, source="x"))
    draws = random.Random(0)
    found = sum(hit(*written(pixels, height, draws)) for height in (9, 16, 24) for _ in range(10))
    note = f"photograph of 1024 px; {found} of 30 texts drawn into its corners found"
    return [Claim("looking for burned-in text", 1 / ours, 1 / reference, "decoding", "images/s", note)]


def measure(folder: Path, *, most: int = 60) -> None:
    """Print every alarm of a folder, and the share of drawn texts that is found."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    began, alarms = time.monotonic(), 0
    for path in files:
        boxes = find_text(read(path).pixels)
        alarms += bool(boxes)
        if boxes:
            print(f"  {path.name}: {'; '.join(map(str, boxes))}")
    took = (time.monotonic() - began) / max(1, len(files))
    print(f"{folder}: {alarms} of {len(files)} with alarms, {took:.3f} s an image, decoding included")
    draws = random.Random(1)
    chosen = random.Random(5).sample(files, min(most, len(files)))
    for height in HEIGHTS_PX:
        hits = sum(hit(*written(read(path).pixels, height, draws)) for path in chosen)
        print(f"  capitals of {height} px: {hits} of {len(chosen)} found")


def main(folders: Sequence[str]) -> None:
    """Measure real images."""
    for folder in folders:
        measure(Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
