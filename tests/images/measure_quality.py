"""Measure how far the quality gate and the modality check agree with what was planted, and what they do to real images.

python -m tests.images.measure_quality [--sample N] [--phantoms N] [--half calibrate|test] [--rows FILE]

EYEGROUND_REALDATA names the folder of the real sets. The limits were set on the half "calibrate" (even SHA-256 of the
file); the half "test" is the honest one. The same arguments print the same tables.
"""

# ruff: noqa: T201
import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.phantom import FUNDUS_DISEASES, OCT_DISEASES, draw_fundus, draw_oct
from eyeground.images.bscan import without_border
from eyeground.images.quality import assess
from eyeground.images.retinal_image import RetinalImage

from .degrade import FAULTS, REASONS, STRENGTHS, degrade
from .pictures import NEGATIVES, draw_anterior, draw_negative

SETS = {
    "fundus-odir3": "fundus",
    "fundus-dr5": "fundus",
    "fundus-unlabelled": "fundus",
    "fundus-hires": "fundus",
    "oct-octdl7": "oct",
    "oct-srf": "oct",
}
MOST_PX = 800  # what is larger is shrunk before a fault is planted, to be done in minutes
Row = dict[str, Any]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sample", type=int, default=60, help="real images of each set that get planted faults")
    options.add_argument("--phantoms", type=int, default=500, help="phantoms that get planted faults")
    options.add_argument("--every", type=int, default=1, help="of the real images as they are, take every Nth")
    options.add_argument("--drawn", type=int, default=40, help="other pictures of each kind")
    options.add_argument("--half", choices=("calibrate", "test"), default="test")
    options.add_argument("--rows", type=Path, help="write all measures there, as JSON")
    chosen = options.parse_args()
    real = Path(os.environ.get("EYEGROUND_REALDATA", ""))
    tasks = list(_phantom_tasks(chosen.phantoms, first=0 if chosen.half == "test" else 100_000))
    if os.environ.get("EYEGROUND_REALDATA") and real.is_dir():
        tasks += list(_real_tasks(real, chosen.half, chosen.sample, chosen.every))
    else:
        print("no EYEGROUND_REALDATA: phantoms only", file=sys.stderr)
    for kind in ("anterior", *sorted(NEGATIVES)):
        picture = {"set": f"drawn: {kind}", "group": "", "modality": "-", "kind": kind, "fault": "", "strength": ""}
        tasks += [{**picture, "seed": 1000 + seed} for seed in range(chosen.drawn)]
    with ProcessPoolExecutor(2) as pool:
        rows = list(pool.map(_measure, tasks, chunksize=16))
    if chosen.rows:
        chosen.rows.write_text(json.dumps(rows))
    report(rows, chosen.half)


def _phantom_tasks(count: int, *, first: int) -> Iterator[Row]:
    """Each phantom as it is, and with one planted fault in both strengths; the fault goes round."""
    for number in range(count):
        scan = number % 5 == 4
        diseases = OCT_DISEASES if scan else FUNDUS_DISEASES
        task = {
            "set": "phantom",
            "group": "phantom",
            "modality": "oct" if scan else "fundus",
            "disease": diseases[number // 5 % len(diseases)],
            "seed": first + number,
            "size": (256, 384, 512, 640)[number // 3 % 4],
        }
        yield {**task, "fault": "", "strength": ""}
        for strength in STRENGTHS:
            yield {**task, "fault": FAULTS[number // 7 % len(FAULTS)], "strength": strength}


def _real_tasks(real: Path, half: str, sample: int, every: int) -> Iterator[Row]:
    """Each real image of the half as it is; some of each set with every fault in both strengths."""
    for name, modality in SETS.items():
        files = sorted(p for p in (real / name).rglob("*.*") if p.suffix in (".jpg", ".jpeg", ".png"))
        hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        chosen = [path for path in files if int(hashes[path], 16) % 2 == (half == "test")]
        chosen.sort(key=lambda path: hashes[path])
        labelled = name in ("fundus-odir3", "oct-octdl7")
        planted = 0
        for number, path in enumerate(chosen):
            label = path.parent.name if labelled else ""
            task = {"set": name, "group": f"{name} {label}".strip(), "modality": modality, "file": str(path)}
            task["seed"] = int(hashes[path][:6], 16)
            if number % every == 0:
                yield {**task, "fault": "", "strength": ""}
            # A fault is planted only where there was something to spoil: cataracts are hazy already.
            if planted < sample and label != "cataract":
                planted += 1
                for fault in FAULTS:
                    for strength in STRENGTHS:
                        yield {**task, "fault": fault, "strength": strength}


def _pixels(task: Row) -> NDArray[np.uint8]:
    """Draw or read, and spoil."""
    if "kind" in task:
        return draw_anterior(task["seed"]) if task["kind"] == "anterior" else draw_negative(task["kind"], task["seed"])
    if task["set"] == "phantom":
        if task["modality"] == "fundus":
            pixels = draw_fundus(task["disease"], seed=task["seed"], size_px=task["size"]).image.pixels
        else:
            size = task["size"]
            pixels = draw_oct(task["disease"], seed=task["seed"], width_px=size, height_px=size * 25 // 32).image.pixels
    else:
        opened = Image.open(task["file"]).convert("RGB")
        if task["fault"] and max(opened.size) > MOST_PX:
            opened.thumbnail((MOST_PX, MOST_PX))
        pixels = np.asarray(opened)
    if not task["fault"]:
        return pixels
    if task["modality"] == "oct":
        pixels = without_border(pixels)
    return degrade(pixels, task["fault"], task["strength"], seed=task["seed"], modality=task["modality"])


def _measure(task: Row) -> Row:
    """One image's grade."""
    expected = task["modality"] if task["fault"] else ""  # a clinic knows what it has photographed
    quality = assess(RetinalImage(_pixels(task), "measured"), expected=expected)
    return {
        **task,
        "grade": quality.grade,
        "reasons": list(quality.reasons),
        "found": quality.modality,
        "measures": dict(quality.measures),
    }


def report(rows: Sequence[Row], half: str) -> None:
    """Print the tables."""
    for modality in ("fundus", "oct"):
        for real in (False, True):
            part = [r for r in rows if r["modality"] == modality and (r["set"] != "phantom") == real]
            if any(r["fault"] for r in part):
                _print_faults(part, f"{modality}, {f'real images, half: {half}' if real else 'phantoms'}")
    untouched = [r for r in rows if "file" in r and not r["fault"]]
    if untouched:
        print(f"\n## Real images as they are, half: {half}\n")
        print("| images | n | good | fair | cannot grade | reasons for it |")
        print("|---|---|---|---|---|---|")
        for group in sorted({r["group"] for r in untouched}):
            part = [r for r in untouched if r["group"] == group]
            why = Counter(reason for r in part if r["grade"] == "cannot grade" for reason in r["reasons"])
            shares = " | ".join(f"{_share(part, g):.1%}" for g in ("good", "fair", "cannot grade"))
            print(f"| {group} | {len(part)} | {shares} | {_said(why)} |")
    print("\n## Modality of images as they are\n")
    print("| images | n | fundus | oct | anterior | none |")
    print("|---|---|---|---|---|---|")
    plain = [r for r in rows if not r["fault"]]
    for group in sorted({(r["set"], r["modality"]) for r in plain}):
        part = [r for r in plain if (r["set"], r["modality"]) == group]
        counts = Counter(r["found"] for r in part)
        said = " | ".join(str(counts[m]) for m in ("fundus", "oct", "anterior", ""))
        print(f"| {group[0]} ({group[1]}) | {len(part)} | {said} |")


def _print_faults(part: Sequence[Row], title: str) -> None:
    """Planted fault and strength against grade and reason."""
    print(f"\n## Planted faults: {title}\n")
    print("| planted | n | good | fair | cannot grade | right reason named | all reasons named |")
    print("|---|---|---|---|---|---|---|")
    for fault in ("", *FAULTS):
        for strength in ("",) if not fault else STRENGTHS:
            these = [r for r in part if r["fault"] == fault and r["strength"] == strength]
            if not these:
                continue
            shares = " | ".join(f"{_share(these, g):.1%}" for g in ("good", "fair", "cannot grade"))
            right = "-"
            if fault:
                word = REASONS[these[0]["modality"]][fault]
                right = f"{np.mean([word in r['reasons'] for r in these]):.1%} ({word})"
            why = Counter(reason for r in these for reason in r["reasons"])
            print(f"| {strength} {fault or 'nothing'} | {len(these)} | {shares} | {right} | {_said(why)} |")


def _share(part: Sequence[Row], grade: str) -> float:
    """Share of images with a grade."""
    return float(np.mean([r["grade"] == grade for r in part]))


def _said(counts: Counter[str]) -> str:
    """Reasons with their counts."""
    return ", ".join(f"{word} {count}" for word, count in counts.most_common()) or "-"


if __name__ == "__main__":
    main()
