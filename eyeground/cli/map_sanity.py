"""Heat maps of a model put to the tests on phantoms whose lesions are known to the pixel."""

import csv
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.explaining import Explainable, open_explainable
from eyeground.data.phantom import FUNDUS_DISEASES, OCT_DISEASES, draw_fundus, draw_oct
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Pixels, normalize, square
from eyeground.data.task import Head
from eyeground.explain.explaining import heat_maps, methods_for
from eyeground.explain.masks import mask_in_square
from eyeground.explain.planted import shuffled
from eyeground.explain.sanity import Examination, examine_methods
from eyeground.explain.sanity_page import SanityFacts, render_sanity
from eyeground.explain.target import direction_in
from eyeground.explain.weights_test import STAGES
from eyeground.images.read import read
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage
from eyeground.model.engine import Images
from eyeground.model.optimization import Device
from eyeground.model.torch.randomized import randomized

_FIRST_SEED = 1_000_000  # far from the seeds of sets that people train on
_DRAWN_PX = 320
_PLANTED = "shuffled"


class _Case(NamedTuple):
    """A phantom as the network sees it."""

    square: Pixels
    lesions: NDArray[np.bool_]
    patient: str
    label: int


def examine_model(
    model: Path,
    *,
    out: Path,
    phantoms: Path | None,
    images: int,
    methods: Sequence[str],
    tested: int,
    seed: int,
    resamples: int,
    device: Device,
    threads: int,
    as_json: bool,
) -> None:
    """Write ``sanity.html`` and ``sanity.json``: what each method's maps are worth, with a broken one planted beside.

    Only phantoms that the model answers rightly, and that have lesions, are looked at: where it errs, nobody knows what
    it should have looked at.

    Args:
        model: A run's folder, or a bundle.
        out: Folder to write into.
        phantoms: A folder of phantoms with masks; None = they are drawn, of the model's classes.
        images: Most of them.
        methods: Names of the shelf; none = all that can serve the network.
        tested: On how many images weights and curves are tested.
        seed: Draws phantoms, resamples and random weights.
        resamples: Bootstrap resamples.
        device: Where to compute.
        threads: Processor threads, 0 = torch's choice.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the model knows no class that phantoms have, answers none rightly, or a method cannot serve it.
        CheckpointError: If a run holds no sound checkpoint.
        BundleRefused: If a bundle is not as it was packed.

    References:
        docs/how-to/explain.md.
    """
    started = time.monotonic()
    opened = open_explainable(model, device=device, threads=threads)
    head = opened.contract.task.single
    if head is None or head.kind not in ("classes", "grades"):
        raise ConfigError(f"{model}: phantoms have one disease each, and this model is asked for something else")
    offered = methods_for(opened.engine.network)
    if strange := [
        offered.get(name) or f"no method is called {name!r}: {', '.join(offered)}"
        for name in methods
        if offered.get(name, "?")
    ]:
        raise ConfigError("\n".join(strange))
    cases = _cases_of(phantoms, opened, head, images) if phantoms else _drawn(opened, head, images, seed)
    right = _rightly_answered(opened, cases)
    tell(f"{len(right)} of {len(cases)} phantoms with lesions are answered rightly, and looked at")
    if not right:
        raise ConfigError(f"{model}: answers no phantom with lesions rightly; it has to be trained on phantoms")
    broken = next((name for name in ("grad_cam", *methods) if not offered.get(name, "?")), "")
    with counting("testing heat maps") as done:
        found = _examine(opened, head, right, methods, broken, tested, seed, resamples, done)
    out.mkdir(parents=True, exist_ok=True)
    facts = SanityFacts(
        date=datetime.now(UTC).astimezone().isoformat(timespec="minutes"),
        command=shlex.join(["eyeground", *sys.argv[1:]]),
        weights_sha=opened.contract.weights_sha256,
        device=opened.engine.description,
        data=f"{len(right)} phantoms that the model answers rightly, of {len(cases)} with lesions",
        more={"network": opened.contract.spec.name, "classes": ", ".join(head.classes)},
    )
    write_whole(out / "sanity.html", render_sanity(title=model.name, found=found, facts=facts).encode())
    record = {**found.to_json(), "model": opened.id, "rightly_answered": len(right), "with_lesions": len(cases)}
    write_whole(out / "sanity.json", (json.dumps(record, indent=1) + "\n").encode())
    _show(found)
    answer(
        {"out": str(out), "seconds": round(time.monotonic() - started, 1), **record},
        as_json=as_json,
        last_line=f"page: {out / 'sanity.html'}",
    )


def _examine(
    opened: Explainable,
    head: Head,
    cases: Sequence[_Case],
    methods: Sequence[str],
    broken: str,
    tested: int,
    seed: int,
    resamples: int,
    progress: Callable[[int, int], None],
) -> Examination:
    """Hand everything to the tests."""
    contract, engine = opened.contract, opened.engine
    spec, tensors = engine.whole()

    def score(squares: NDArray[np.uint8], number: int) -> NDArray[np.float64]:
        scores = contract.task.scores(engine.outputs(normalize(list(squares), contract.preprocessing)))
        return np.asarray(scores[:, cases[number].label])

    def plain(network: Any, images: Images, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        made = heat_maps(network, images, directions, method=broken, targets=[""] * len(images))
        return np.stack([each.values for each in made])

    device = next(engine.network.parameters()).device
    return examine_methods(
        engine.network,
        lambda stage: randomized(spec, tensors, share=STAGES[stage], seed=seed).to(device),
        np.stack([case.square for case in cases]),
        preprocessing=contract.preprocessing,
        lesions=np.stack([case.lesions for case in cases]),
        patients=[case.patient for case in cases],
        directions=np.stack([direction_in(contract.task, head, case.label) for case in cases]),
        score=score,
        methods=methods or None,
        planted={_PLANTED: shuffled(plain, seed=seed)} if broken else {},
        most=tested,
        resamples=resamples,
        seed=seed,
        progress=progress,
    )


def _drawn(opened: Explainable, head: Head, images: int, seed: int) -> list[_Case]:
    """Draw phantoms of the model's classes, in turn."""
    scans = opened.contract.modality == "oct"
    named = [name for name in head.classes if name in (OCT_DISEASES if scans else FUNDUS_DISEASES)]
    ill = [name for name in named if _draw(name, 0, scans)[1].any()]
    if not ill:
        raise ConfigError(
            f"none of {', '.join(head.classes)} is a phantom disease with lesions: give --phantoms, or a model of "
            f"{', '.join(OCT_DISEASES if scans else FUNDUS_DISEASES)}"
        )
    made = []
    with counting("drawing", images) as done:
        for number in range(images):
            name = ill[number % len(ill)]
            image, lesions = _draw(name, _FIRST_SEED + seed * images + number, scans)
            made.append(_case(opened, image, lesions, f"phantom {number}", head.classes.index(name)))
            done(number + 1, images)
    return [case for case in made if case.lesions.any()]


def _draw(name: str, seed: int, scans: bool) -> tuple[RetinalImage, NDArray[np.bool_]]:
    """One phantom."""
    height = _DRAWN_PX * 25 // 32
    drawn = (
        draw_oct(name, seed=seed, width_px=_DRAWN_PX, height_px=height)
        if scans
        else draw_fundus(name, seed=seed, size_px=_DRAWN_PX)
    )
    return drawn.image, drawn.lesions


def _cases_of(folder: Path, opened: Explainable, head: Head, images: int) -> list[_Case]:
    """Read phantoms with their masks."""
    try:
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["label"] in head.classes]
        made = []
        with counting("reading", len(rows)) as done:
            for number, case in enumerate(_read(folder, rows, opened, head)):
                made += [case] if case.lesions.any() else []
                done(number + 1, len(rows))
                if len(made) == images:
                    break
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"--phantoms {folder}: not what 'eyeground data phantom' makes ({error})") from error
    if not made:
        raise ConfigError(f"--phantoms {folder}: none of its images has lesions of {', '.join(head.classes)}")
    return made


def _read(folder: Path, rows: Sequence[dict[str, str]], opened: Explainable, head: Head) -> Iterator[_Case]:
    """One row after the other."""
    for row in rows:
        try:
            image = read(folder / "images" / row["file"])
            mask = read(folder / "masks" / row["mask"]).pixels[:, :, 0] > 127
        except ImageRefused as error:
            raise ValueError(str(error)) from error
        yield _case(opened, image, mask, row["patient"], head.classes.index(row["label"]))


def _case(opened: Explainable, image: RetinalImage, lesions: NDArray[np.bool_], patient: str, label: int) -> _Case:
    """Bring a phantom and its mask to the network's square."""
    preprocessing = opened.contract.preprocessing
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px, limit_bytes=0)
    return _Case(
        square(store.ready(image), preprocessing), mask_in_square(image, lesions, preprocessing), patient, label
    )


def _rightly_answered(opened: Explainable, cases: Sequence[_Case], step: int = 16) -> list[_Case]:
    """Keep what the model answers as it should."""
    kept = []
    for start in range(0, len(cases), step):
        some = cases[start : start + step]
        outputs = opened.engine.outputs(normalize([case.square for case in some], opened.contract.preprocessing))
        said = opened.contract.task.scores(outputs).argmax(axis=1).tolist()
        kept += [case for case, label in zip(some, said, strict=True) if case.label == label]
    return kept


def _show(found: Examination) -> None:
    """Show what the tests say, a line per method."""
    rows = []
    for each in found.methods:
        hits, weights = each.hits, each.weights
        rows.append(
            (each.method, f"{hits.rate.value:.2f}", f"{hits.chance.value:.2f}", f"{hits.mismatched.value:.2f}",
             f"{weights.difference.value:.2f} [{weights.difference.low:.2f}, {weights.difference.high:.2f}]",
             "passes" if each.passed else "fails")
        )  # fmt: skip
    table("heat maps", ["method", "hits", "chance", "other's lesions", "hangs on weights", ""], rows)
    for name, why in found.refused.items():
        tell(f"{name}: {why}")
