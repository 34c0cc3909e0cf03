"""How often the disc alone tells the eye, on real photographs and on phantoms.

    EYEGROUND_REALDATA=../shared/realdata python -m tests.images.measure_laterality [--most 100]

Nothing is tuned on fundus-dr5, nor on the half of fundus-odir3 called "held out" (see `fit_disc.py`). Thresholds were
chosen while looking at the other half and at fundus-unlabelled. Of the EyePACS photographs (fundus-dr5 and
fundus-unlabelled) 4 of 10 stand on their heads; each table of them is made twice, the second time with that known.
"""

import argparse
import csv
import math
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from eyeground.data.phantom import FUNDUS_DISEASES, draw_fundus
from eyeground.images.disc import find_disc
from eyeground.images.fovea import find_fovea
from eyeground.images.laterality import DiscSide, eye_from_name, eye_from_word, side_from_disc
from eyeground.images.retinal_image import Eye, RetinalImage
from tests.images.fit_disc import is_for_tuning


@dataclass(frozen=True)
class Judged:
    """One photograph, what is known of it, and what the disc said."""

    path: Path
    eye: Eye
    label: str
    group: str
    side: DiscSide
    width_px: int


def listed(folder: Path, name: str) -> list[tuple[Path, Eye, str, str]]:
    """Files of a set with eye, class and group."""
    root = folder / name
    if name == "fundus-unlabelled":
        return [(path, eye_from_name(path.name), "", path.name.split("_")[0]) for path in sorted(root.glob("*.jpeg"))]
    with (root / "labels.csv").open() as file:
        return [
            (root / "images" / row["file"], eye_from_word(row["eye"]), row["label"], row["group"])
            for row in csv.DictReader(file)
        ]


def judge(files: Iterable[tuple[Path, Eye, str, str]], upside_down: float) -> list[Judged]:
    """Ask the disc of each photograph."""
    judged = []
    for path, eye, label, group in files:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        side = side_from_disc(RetinalImage(pixels, path.name), upside_down=upside_down)
        judged.append(Judged(path, eye, label, group, side, pixels.shape[1]))
    return judged


def wilson(right: int, total: int) -> tuple[float, float]:
    """95% interval of a proportion."""
    if total == 0:
        return math.nan, math.nan
    z, share = 1.959964, right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return middle - half, middle + half


def row(name: str, judged: list[Judged]) -> str:
    """One line of the table."""
    answered = [one for one in judged if one.side.eye]
    right = sum(one.side.eye == one.eye for one in answered)
    silent, total = len(judged) - len(answered), len(judged)
    share = right / len(answered) if answered else math.nan
    low, high = wilson(right, len(answered))
    silent_low, silent_high = wilson(silent, total)
    found = sum(one.side.disc is not None for one in judged)
    return (
        f"| {name} | {total} | {found / total:.1%} | {right} of {len(answered)} | {share:.1%} ({low:.1%} to {high:.1%})"
        f" | {silent / total:.1%} ({silent_low:.1%} to {silent_high:.1%}) |"
    )


def pairs(judged: list[Judged]) -> tuple[int, int]:
    """Pairs of eyes whose discs lie on opposite sides, and all pairs with both discs found."""
    people: dict[str, list[Judged]] = {}
    for one in judged:
        people.setdefault(one.group, []).append(one)
    opposite = both = 0
    for images in people.values():
        eyes = {one.eye: one for one in images if one.side.disc is not None}
        if len(images) == 2 and len(eyes) == 2:
            sides = {eye: one.side.disc.x > one.width_px / 2 for eye, one in eyes.items() if one.side.disc}
            both += 1
            opposite += sides["OD"] != sides["OS"]
    return opposite, both


def _say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def real(folder: Path, most: int) -> None:
    """The tables of the real sets."""
    _say("| photographs | n | disc found | right of answered | share (95% Wilson) | cannot say |")
    _say("|---|---|---|---|---|---|")
    wrong: list[Judged] = []
    notes = []
    for name in ("fundus-odir3", "fundus-dr5", "fundus-unlabelled"):
        files = listed(folder, name)
        files = files[:: max(1, len(files) // most)] if most else files
        begun = time.perf_counter()
        judged = judge(files, 0.05)
        notes.append(f"{name}: {(time.perf_counter() - begun) / len(judged) * 1000:.0f} ms an image, with decoding")
        wrong += [one for one in judged if one.side.eye not in ("", one.eye)]
        _say(row(name, judged))
        if name == "fundus-odir3":
            for tuning in (False, True):
                part = [one for one in judged if is_for_tuning(one.group) == tuning]
                _say(row(f"- {'tuned on' if tuning else 'held out'}", part))
                for label in sorted({one.label for one in part}):
                    _say(
                        row(f"- {'tuned on' if tuning else 'held out'}, {label}", [o for o in part if o.label == label])
                    )
        else:
            _say(row(f"{name}, told that 0.4 stand on their heads", judge(files, 0.4)))
            opposite, both = pairs(judged)
            notes.append(f"{name}: discs of a patient's two eyes on opposite sides in {opposite} of {both} pairs")
            upside = [one for one in judged if one.side.disc is not None and not math.isnan(one.side.upside_down)]
            by_side = [one for one in upside if one.side.disc]
            agree = sum((one.side.disc.x > one.width_px / 2) == (one.eye == "OD") for one in by_side if one.side.disc)
            notes.append(
                f"{name}: disc on the eye's own side in {agree} of {len(by_side)}; the others stand on their heads"
            )
        silent = [one.side.reason for one in judged if one.side.reason]
        notes += [f"{name}: cannot say, {reason}: {silent.count(reason)}" for reason in sorted(set(silent))]
    _say("")
    _say("\n".join(notes))
    _say("\nwrong:")
    for one in sorted(wrong, key=lambda one: -one.side.confidence):
        _say(f"{one.path.relative_to(folder)} is {one.eye}, said {one.side.eye} at {one.side.confidence:.2f}")


def phantoms(seeds: int = 25) -> None:
    """The table of the phantoms, whose disc and fovea are known."""
    _say(
        "\n| phantoms | n | disc found | its error (% of the width; median, 95th) | fovea found | its error "
        "| right of answered |"
    )
    _say("|---|---|---|---|---|---|---|")
    for disease in FUNDUS_DISEASES:
        disc_errors, fovea_errors, answers, total = [], [], [], 0
        for seed in range(seeds):
            phantom = draw_fundus(disease, seed=seed, size_px=384)
            total += 1
            assert phantom.disc is not None
            assert phantom.fovea is not None
            disc = find_disc(phantom.image.pixels)
            if disc is not None:
                disc_errors.append(math.hypot(disc.x - phantom.disc[0], disc.y - phantom.disc[1]) / 3.84)
                fovea = find_fovea(phantom.image.pixels, disc)
                if fovea is not None:
                    fovea_errors.append(math.hypot(fovea.x - phantom.fovea[0], fovea.y - phantom.fovea[1]) / 3.84)
            answers.append((side_from_disc(phantom.image).eye, phantom.image.eye))
        said = [mine == true for mine, true in answers if mine]
        _say(
            f"| {disease} | {total} | {len(disc_errors)} | {np.median(disc_errors):.2f}, "
            f"{np.percentile(disc_errors, 95):.2f} | {len(fovea_errors)} | {np.median(fovea_errors):.2f}, "
            f"{np.percentile(fovea_errors, 95):.2f} | {sum(said)} of {len(said)} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=0, help="about so many photographs of each set; 0 takes all")
    real(Path(os.environ["EYEGROUND_REALDATA"]), parser.parse_args().most)
    phantoms()
