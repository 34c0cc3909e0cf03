"""The watch on pre-training: planted collapses are named within the first epoch, sound runs raise no alarm."""

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from eyeground.data.augment import Augmentation
from eyeground.data.phantom import FUNDUS_DISEASES, draw_fundus
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.model.engine import Vitals
from eyeground.model.optimization import Optimization
from eyeground.model.spec import MaeSpec, SimclrSpec
from eyeground.model.torch import simclr
from eyeground.model.torch.mae import MaskedAutoencoder
from eyeground.model.torch.pretraining import MaeEngine, SimclrEngine
from eyeground.model.torch.simclr import ContrastiveNetwork
from eyeground.train.finetune import LearningRate
from eyeground.train.health import Finding, Health, effective_rank, measure, spread, uniformity, unit_rows
from eyeground.train.journal import read_journal
from eyeground.train.loop import Progress, Verdict
from eyeground.train.pretrain import pretrain

Pictures = list[np.ndarray]
COUNT = 96
VIT, CONVNET = "vit_demo_patch8", "mobilenetv2_035"


# The numbers, against slow and obvious references.


@pytest.mark.parametrize(("rows", "width"), [(2, 3), (7, 5), (40, 16)])
def test_numbers_against_slow_references(rows: int, width: int) -> None:
    rng = np.random.default_rng(rows)
    first, second = (rng.normal(size=(rows, width)).astype(np.float32) for _ in range(2))
    found = measure(Vitals(1.5, 2.0, 3.0, 1.0, (0.5, 0.25), 0.7, first, second))
    unit, partners = (
        [[float(x) / math.sqrt(sum(float(y) ** 2 for y in row)) for x in row] for row in views]
        for views in (first, second)
    )
    deviations = []
    for column in range(width):
        values = [row[column] for row in unit]
        mean = sum(values) / rows
        deviations.append(math.sqrt(sum((value - mean) ** 2 for value in values) / rows))
    potentials = [
        math.exp(-2 * sum((a - b) ** 2 for a, b in zip(unit[i], unit[j], strict=True)))
        for i in range(rows)
        for j in range(i + 1, rows)
    ]
    apart = [sum((a - b) ** 2 for a, b in zip(u, p, strict=True)) for u, p in zip(unit, partners, strict=True)]
    centered = np.array(unit) - np.mean(unit, axis=0)
    # Singular values are the roots of the covariance's eigenvalues.
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(centered.T @ centered), 0))
    shares = [value / values.sum() for value in values if value > 1e-7]
    assert found == pytest.approx(
        {
            "chance_loss": 2.0,
            "gradient_norm": 3.0,
            "encoder_gradient_norm": 1.0,
            "image_spread": 0.7,
            "view_gradient": 0.5,
            "spread": sum(deviations) / width * math.sqrt(width),
            "uniformity": math.log(sum(potentials) / len(potentials)),
            "alignment": sum(apart) / rows,
            "effective_rank": math.exp(-sum(share * math.log(share) for share in shares)),
        },
        rel=1e-5,
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 0], [-1, 0]], 1.0),
        ([[1, 0], [-1, 0], [0, 1], [0, -1]], 2.0),
        (np.eye(4), 3.0),  # N points of equal distance span N - 1 directions, all alike
        # Singular values 3 and 1: shares 3/4 and 1/4.
        ([[3, 0], [-3, 0], [0, 1], [0, -1]], math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))),
        ([[0.6, 0.8]] * 5, 1.0),
        (np.zeros((3, 4)), 1.0),
    ],
)
def test_effective_rank_by_hand(rows: Any, expected: float) -> None:
    assert effective_rank(np.array(rows, np.float64)) == pytest.approx(expected, rel=1e-9)


def test_the_ends_of_the_scales() -> None:
    even = unit_rows(np.random.default_rng(0).normal(size=(4000, 32)).astype(np.float32))
    assert spread(even) == pytest.approx(1, abs=0.01)
    assert uniformity(even) == pytest.approx(-3.8, abs=0.1)
    one = unit_rows(np.ones((8, 32), np.float32))
    assert spread(one) == pytest.approx(0, abs=1e-7)
    assert uniformity(one) == pytest.approx(0, abs=1e-12)
    assert math.isnan(uniformity(one[:1]))
    assert (unit_rows(np.zeros((2, 3), np.float32)) == 0).all()


def test_views_without_any_gradient_have_no_ratio() -> None:
    rows = np.ones((4, 3), np.float32)
    assert math.isnan(measure(Vitals(1.0, 1.0, 0.0, 0.0, (0.0, 0.0), 1.0, rows, rows))["view_gradient"])
    assert measure(Vitals(1.0, 1.0, 0.0, 0.0, (0.0, 2.0), 1.0, rows, rows))["view_gradient"] == 0
    assert "view_gradient" not in measure(Vitals(1.0, 1.0, 0.0, 0.0, (), 1.0, rows, None))


# Real engines on small sets of images.


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """Photographs of the eye's fundus where they are to be had, otherwise phantoms."""
    folder = Path(os.environ.get("EYEGROUND_REALDATA", "")) / "fundus-unlabelled"
    if not os.environ.get("EYEGROUND_REALDATA") or not folder.is_dir():
        names = [FUNDUS_DISEASES[number % len(FUNDUS_DISEASES)] for number in range(COUNT)]
        return [draw_fundus(name, seed=seed, size_px=64).image.pixels for seed, name in enumerate(names)]
    found = []
    for path in sorted(folder.iterdir())[::6][:COUNT]:
        with Image.open(path) as image:
            found.append(np.asarray(image.convert("RGB").resize((64, 64))))
    return found


class Silent:
    def step(self, **values: Any) -> None:
        pass

    def epoch(self, **values: Any) -> None:
        pass


def engine_of(method: str, **settings: Any) -> MaeEngine | SimclrEngine:
    """A tiny network of either kind, one thread."""
    common = {
        "optimization": Optimization(layer_decay=1.0, betas=(0.9, 0.95)),
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "tensors": settings.pop("tensors", None),
    }
    if method == "mae":
        spec = {"decoder_width": 48, "decoder_depth": 1, "decoder_heads": 3, "norm_pix": True}
        return MaeEngine(MaeSpec(VIT, image_px=32, **{**spec, **settings}), **common)
    frozen = settings.pop("frozen", False)
    spec = {"name": VIT, "projector": (64, 32), **settings}
    return SimclrEngine(SimclrSpec(image_px=32, **spec), frozen_batch_norm=frozen, **common)


def train(
    method: str,
    pictures: Pictures,
    folder: Path,
    *,
    epochs: int = 1,
    batch_size: int = 12,
    lr: float = 1e-3,
    warmup_epochs: float = 1,
    **settings: Any,
) -> tuple[Progress, Health, list[Finding]]:
    """Pre-train a tiny network; also what was told while it ran."""
    contrastive = method == "simclr"
    common: dict[str, Any] = {"vertical_flip": 0.5, "rand_augment": "", "random_erasing": 0.0}
    if contrastive:
        common |= {"color_jitter": (0.4, 0.4, 0.4, 0.1), "color_jitter_probability": 0.8, "grayscale": 0.1, "blur": 0.3}
    told: list[Finding] = []
    progress, health = pretrain(
        engine=engine_of(method, **settings),
        samples=[Sample(f"{number}.png", Path(), None, str(number)) for number in range(len(pictures))],
        contrastive=contrastive,
        judge=lambda engine: Verdict(math.nan, {}, math.nan),
        folder=folder,
        pixels=lambda sample: pictures[int(sample.patient)],
        preprocessing=Preprocessing(image_px=32),
        augmentation=Augmentation(crop_scale=(0.4, 1.0), **common),
        # The cosine is that of a longer run, as a warm-up of several epochs wants it.
        learning_rate=LongRun(lr=lr, minimum=0.0, warmup_epochs=warmup_epochs),
        epochs=epochs,
        batch_size=batch_size,
        watcher=Silent(),
        model={},
        checkpoint_seconds=0,
        tensorboard=False,
        warn=told.append,
    )
    return progress, health, told


class LongRun(LearningRate):
    """The beginning of a run of forty epochs."""

    def at(self, epoch: float, *, epochs: int, effective_batch: int) -> float:
        return super().at(epoch, epochs=40, effective_batch=effective_batch)


def cut(place: Any, name: str, wrong: Callable[..., Any]) -> Callable[[], AbstractContextManager[Any]]:
    """Replace a function by a faulty one that is handed the sound one first."""
    sound = getattr(place, name)
    return lambda: mock.patch.object(place, name, lambda *given: wrong(sound, *given))


STOPPED_GRADIENTS = {
    "backbone": ("simclr", cut(ContrastiveNetwork, "features", lambda f, *x: f(*x).detach()), "no gradient"),
    "projector": ("simclr", cut(ContrastiveNetwork, "forward", lambda f, *x: f(*x).detach()), "no gradient"),
    "first view": ("simclr", cut(simclr, "nt_xent", lambda f, a, b, t: f(a.detach(), b, t)), "one-sided gradient"),
    "second view": ("simclr", cut(simclr, "nt_xent", lambda f, a, b, t: f(a, b.detach(), t)), "one-sided gradient"),
    "both views": ("simclr", cut(simclr, "nt_xent", lambda f, a, b, t: f(a.detach(), b.detach(), t)), "no gradient"),
    "latent": (
        "mae",
        cut(MaskedAutoencoder, "encode_visible", lambda f, *x: (v := f(*x))._replace(latent=v.latent.detach())),
        "no gradient",
    ),
    "prediction": ("mae", cut(MaskedAutoencoder, "loss", lambda f, m, i, p, k: f(m, i, p.detach(), k)), "no gradient"),
}


def named(result: tuple[Progress, Health, list[Finding]], steps: int) -> Finding:
    """The one grave finding, after making sure that it came within the first epoch and ended the run."""
    progress, health, told = result
    assert told == health.findings
    grave = [finding for finding in health.findings if finding.status != "warning"]
    assert len(grave) == 1, "nothing grave was found"
    assert health.must_stop
    assert not progress.finished
    assert health.status == grave[0].status
    assert health.reasons[-1] == f"{grave[0].name}: {grave[0].words}"
    where = re.search(r"steps (\d+)-(\d+)", grave[0].words)
    assert where
    first, last = map(int, where.groups())
    assert 1 <= first < last <= steps
    return grave[0]


@pytest.mark.parametrize(
    ("place", "network"),
    [
        (place, name)
        for place in STOPPED_GRADIENTS
        for name in (VIT, CONVNET)[: 1 + (STOPPED_GRADIENTS[place][0] != "mae")]
    ],
)
def test_a_gradient_that_is_stopped(place: str, network: str, pictures: Pictures, tmp_path: Path) -> None:
    method, fault, name = STOPPED_GRADIENTS[place]
    settings = {"name": network} if method == "simclr" else {}
    with fault():
        found = named(train(method, pictures, tmp_path, **settings), steps=8)
    assert (found.status, found.name) == ("collapsed", name)
    assert "detach()" in found.words


@pytest.mark.parametrize("network", [VIT, CONVNET])
@pytest.mark.parametrize("batch_size", [8, 32])
def test_a_temperature_of_a_millionth(network: str, batch_size: int, pictures: Pictures, tmp_path: Path) -> None:
    found = named(
        train("simclr", pictures, tmp_path, name=network, temperature=1e-6, batch_size=batch_size),
        steps=COUNT // batch_size,
    )
    assert (found.status, found.name) == ("diverged", "saturated loss")
    assert "temperature is too small" in found.words


@pytest.mark.parametrize("picture", ["one photograph", "black"])
@pytest.mark.parametrize(
    ("method", "settings"),
    [("simclr", {}), ("simclr", {"name": CONVNET}), ("mae", {}), ("mae", {"norm_pix": False})],
)
def test_the_same_picture_again_and_again(
    method: str, settings: dict[str, Any], picture: str, pictures: Pictures, tmp_path: Path
) -> None:
    # Cropped, turned and colored anew, one photograph makes images that differ by 0.4 and more.
    same = np.zeros((64, 64, 3), np.uint8) if picture == "black" else pictures[3]
    found = named(train(method, [same] * COUNT, tmp_path, **settings), steps=8)
    assert (found.status, found.name) == ("collapsed", "identical images")
    assert "data inspect" in found.words


@pytest.mark.parametrize("warmup_epochs", [0, 1, 5])
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("simclr", {}),
        ("simclr", {"temperature": 0.5}),
        ("simclr", {"name": CONVNET}),
        ("mae", {}),
        ("mae", {"norm_pix": False}),
    ],
)
def test_a_thousand_times_the_learning_rate(
    method: str, settings: dict[str, Any], warmup_epochs: float, pictures: Pictures, tmp_path: Path
) -> None:
    found = named(train(method, pictures, tmp_path, lr=1.0, warmup_epochs=warmup_epochs, **settings), steps=8)
    assert found.name in ("overturned weights", "rising loss")
    assert found.status == "diverged"
    assert "learning rate" in found.words
    assert "detach" not in found.words


SOUND: list[tuple[str, dict[str, Any]]] = [
    *(("simclr", {"batch_size": size, "epochs": 2}) for size in (8, 16, 32, 48)),
    *(("simclr", {"batch_size": size, "epochs": 2, "name": CONVNET}) for size in (8, 48)),
    *(("simclr", {"temperature": value}) for value in (0.05, 0.5)),
    *(("simclr", {"warmup_epochs": value, "epochs": 4}) for value in (0, 20)),
    ("simclr", {"projector": (32,), "name": CONVNET}),
    *(("mae", {"batch_size": size}) for size in (8, 16, 48)),
    *(("mae", {"batch_size": size, "norm_pix": False}) for size in (8, 16, 48)),
    *(("mae", {"mask_ratio": ratio, "norm_pix": plain}) for ratio in (0.3, 0.9) for plain in (False, True)),
    *(("mae", {"warmup_epochs": value, "norm_pix": plain}) for value in (0, 20) for plain in (False, True)),
    ("mae", {"lr": 3e-3, "epochs": 8}),
]


def words_of(value: object) -> str:
    return " ".join(f"{key}={each}" for key, each in value.items()) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("method", "settings"), SOUND, ids=words_of)
def test_a_sound_run_raises_no_alarm(method: str, settings: dict[str, Any], pictures: Pictures, tmp_path: Path) -> None:
    progress, health, told = train(method, pictures, tmp_path, **{"epochs": 4, **settings})
    assert health.reasons == []
    assert told == []
    assert health.status == "ok"
    assert progress.finished


def test_going_on_from_other_weights_raises_no_alarm(pictures: Pictures, tmp_path: Path) -> None:
    for name, settings in ((CONVNET, {"frozen": True}), (VIT, {})):
        folder = tmp_path / f"{name}-{len(settings)}"
        before = engine_of("simclr", name=name)
        for step in range(3):  # other weights, other statistics than random ones
            views = np.random.default_rng(step).normal(size=(2, 8, 3, 32, 32)).astype(np.float32)
            before.train_step([(views[0], views[1])], lr=1e-3, seed=step)
        kept = {
            key.removeprefix("backbone."): value
            for key, value in before.state()["weights"].items()
            if key.startswith("backbone.")
        }
        folder.mkdir()
        progress, health, _ = train("simclr", pictures, folder, epochs=2, name=name, tensors=kept, **settings)
        assert health.reasons == []
        assert progress.finished


# What it was told before, it knows again.


def sicknesses() -> Iterator[tuple[str, Callable[[], AbstractContextManager[Any]], dict[str, Any]]]:
    yield "mae", nullcontext, {"lr": 1.0, "norm_pix": False, "warmup_epochs": 0.5}
    yield "simclr", nullcontext, {"lr": 1.0, "temperature": 0.5}
    yield "simclr", STOPPED_GRADIENTS["both views"][1], {}
    yield "simclr", STOPPED_GRADIENTS["first view"][1], {}
    yield "simclr", nullcontext, {"epochs": 2}


@pytest.mark.parametrize(("method", "fault", "settings"), list(sicknesses()))
def test_replaying_the_journal_finds_the_same(
    method: str,
    fault: Callable[[], AbstractContextManager[Any]],
    settings: dict[str, Any],
    pictures: Pictures,
    tmp_path: Path,
) -> None:
    with fault():
        _, health, _ = train(method, pictures, tmp_path, **settings)
    again = Health(steps_per_epoch=8, contrastive=method == "simclr")
    again.replay(read_journal(tmp_path / "journal.jsonl"))
    assert again.findings == health.findings
    # In two parts, as a run that is taken up does it.
    lines = list(read_journal(tmp_path / "journal.jsonl"))
    for half in range(0, len(lines), 3):
        parts = Health(steps_per_epoch=8, contrastive=method == "simclr")
        parts.replay(lines[:half])
        parts.replay(lines[half:])
        assert parts.findings == health.findings


SOUND_LINE = {
    "event": "step", "loss": 4.0, "lr": 1e-3, "chance_loss": 4.8, "gradient_norm": 1.0, "encoder_gradient_norm": 0.5,
    "view_gradient": 0.9, "image_spread": 0.8, "spread": 0.6, "effective_rank": 9.0,
}  # fmt: skip


def told_of(lines: list[dict[str, Any]], *, steps_per_epoch: int = 8, contrastive: bool = True) -> list[str]:
    health = Health(steps_per_epoch=steps_per_epoch, contrastive=contrastive)
    health.replay({**SOUND_LINE, "step": number, **line} for number, line in enumerate(lines, start=1))
    return [finding.name for finding in health.findings]


@pytest.mark.parametrize("missing", [key for key in SOUND_LINE if key != "event"])
def test_a_number_that_is_null_is_no_sign(missing: str) -> None:
    # NaN is null in the journal.
    assert told_of([{missing: None}] * 20) == []
    assert told_of([{}, {missing: None}, {}] * 7) == []


def test_a_sign_must_last() -> None:
    flat = {"spread": 1e-4, "loss": 4.8}
    assert told_of([flat] * 3 + [{}] * 20) == []
    assert told_of([flat] * 4) == ["one point"]
    assert told_of([flat] * 4, steps_per_epoch=400) == []
    assert told_of([flat] * 6, steps_per_epoch=400) == ["one point"]
    # A masked autoencoder may see no need to tell images apart as long as its loss falls.
    assert told_of([{**flat, "loss": 2.0}] * 9, contrastive=False) == []
    assert told_of([flat] * 9, contrastive=False) == ["one point"]


def test_the_gradient_of_a_long_run_may_fade() -> None:
    faded = {"gradient_norm": 0.05, "encoder_gradient_norm": 0.025}
    assert told_of([{}] * 8 + [{**faded, "loss": 4.7}] * 8) == []
    assert told_of([{}] * 8 + [{**faded, "loss": 4.7, "lr": 0.05}] * 8) == ["overturned weights"]
    assert told_of([{}] * 8 + [{**faded, "loss": 1.0, "lr": 0.05}] * 8) == []


def test_a_gradient_that_vanishes_later_is_not_called_detached() -> None:
    gone = {"gradient_norm": 1.0, "encoder_gradient_norm": 0.0}
    assert told_of([gone] * 8) == ["no gradient"]
    assert told_of([{}] * 4 + [gone] * 8) == []
    assert told_of([{}] * 4 + [{**gone, "lr": 0.1}] * 8) == ["overturned weights"]


def test_few_directions_are_few_for_the_batch_at_hand() -> None:
    assert told_of([{"effective_rank": 2.0}] * 20) == ["few directions"]
    assert told_of([{"effective_rank": 2.0}] * 20, contrastive=False) == []
    # Four images, eight views: log(7).
    assert told_of([{"effective_rank": 2.0, "chance_loss": math.log(7), "loss": 1.0}] * 20) == []


def test_neighbors_forgotten() -> None:
    health = Health(steps_per_epoch=8, contrastive=True)
    for accuracy in (0.3, 0.6, 0.62, 0.5, 0.36):
        assert health.findings == []
        health.observe_epoch({"scores": {"knn_accuracy": accuracy, "knn_chance": 1 / 3}})
    assert [finding.name for finding in health.findings] == ["neighbors forgotten"]
    assert health.status == "warning"
    assert not health.must_stop
