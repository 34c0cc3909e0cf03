"""Features once: what is kept saves the forward passes, and only where nothing that matters has changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import load_config
from eyeground.cli.dataset import Dataset
from eyeground.cli.features import dataset_of, features_of
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.probing import METRICS, PROBES, run_probe
from eyeground.cli.recipe import preprocessing_of, spec_of
from eyeground.data.loader import EvaluationImages
from eyeground.evaluate.predictions import read_predictions
from eyeground.evaluate.probe import subset_of_labels
from eyeground.evaluate.scorecard import scorecard
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.weights import WeightsRefused, read_weights, write_weights

from .tables import Answer, read_table, write_table

Call = Callable[..., Answer]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A switch after which any forward pass fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("an image went through the network")

    return lambda: monkeypatch.setattr(TorchEngine, "features", refuse)


@pytest.fixture(scope="module")
def settings(config: Path) -> FinetuneConfig:
    return load_config(config)


@pytest.fixture(scope="module")
def dataset(settings: FinetuneConfig) -> Dataset:
    """The tiny set, read once."""
    return dataset_of(settings)


@pytest.fixture(scope="module")
def kept(settings: FinetuneConfig, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the features of the tiny set."""
    cache = tmp_path_factory.mktemp("cache")
    features_of(settings, dataset, cache=cache)
    return cache


def weights_of(settings: FinetuneConfig, path: Path, *, scale: float = 1.0, seed: int = 5) -> Path:
    """Write the weights of a random network."""
    network = TorchEngine(spec_of(settings, classes=3), device="cpu", precision="fp32", seed=seed).state()["weights"]
    write_weights(path, {name: (array * scale).astype(array.dtype) for name, array in network.items()})
    return path


def test_features_are_what_the_engine_gives_in_the_order_of_the_data(
    settings: FinetuneConfig, dataset: Dataset, kept: Path
) -> None:
    table = features_of(settings, dataset, cache=kept)
    engine = TorchEngine(table_spec(settings), device="cpu", precision="fp32", seed=settings.seed, threads=1)
    images = EvaluationImages(dataset.samples, pixels=dataset.pixels, preprocessing=preprocessing_of(settings))
    wanted = np.concatenate([engine.features(batch.images) for batch in images.batches(4)])
    np.testing.assert_allclose(table.features, wanted, atol=1e-5)
    assert table.samples == dataset.samples
    assert [table.sha256[row] for row in (0, -1)] == [dataset.sha256[dataset.samples[row].id] for row in (0, -1)]
    assert sum(len(table.rows(split)) for split in ("train", "val", "test")) == len(dataset.samples) == 60


def table_spec(settings: FinetuneConfig) -> Any:
    return spec_of(settings, classes=1)


def test_the_command_writes_three_files_and_the_second_time_computes_nothing(
    eyeground: Call, config: Path, tmp_path: Path, closed: Callable[[], None]
) -> None:
    out = tmp_path / "features"
    answer = eyeground("features", config, "--out", out, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert (told["rows"], told["computed"]) == (60, 60)
    rows = read_weights(out / "features.safetensors")["features"]
    assert rows.shape == (60, told["width"])
    assert rows.dtype == np.float32
    listing = read_table(out / "features.csv")
    assert list(listing[0]) == ["file", "patient", "eye", "source", "label", "split", "sha256"]
    assert {line["split"] for line in listing} == {"train", "val", "test"}
    assert {line["label"] for line in listing} == {"normal", "dr3", "cataract"}
    note = json.loads((out / "features.json").read_text("utf-8"))
    assert note["spec"]["name"] == "vit_demo_patch8"
    assert note["preprocessing"]["image_px"] == 32
    assert note["load_report"] == {}
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    closed()
    answer = eyeground("features", config, "--out", out, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["computed"] == 0
    assert "no image went through the network" in answer.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    # Another split of the same images is written down; nothing is computed for it.
    answer = eyeground("features", config, "split_seed=4", "--out", out, "--json")
    assert json.loads(answer.out)["computed"] == 0
    assert [line["split"] for line in read_table(out / "features.csv")] != [line["split"] for line in listing]
    # Another network has other features.
    with pytest.raises(AssertionError, match="went through the network"):
        eyeground("features", config, "seed=1", "--out", out)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"image_px": 40}, {"mean": (0.5, 0.5, 0.5)}, {"crop_fraction": 0.7}, {"pool": "cls"}]
)
def test_other_weights_or_preprocessing_are_computed_anew(
    settings: FinetuneConfig, dataset: Dataset, kept: Path, change: dict[str, object]
) -> None:
    assert features_of(settings, dataset, cache=kept).computed == 0
    other = settings.model_copy(update=change)
    table = features_of(other, dataset, cache=kept)
    assert table.computed == 60
    # Both stand side by side now.
    assert features_of(settings, dataset, cache=kept).computed == features_of(other, dataset, cache=kept).computed == 0
    assert table.folder != features_of(settings, dataset, cache=kept).folder


@pytest.mark.parametrize("change", [{"epochs": 50}, {"drop_path": 0.0}, {"split_seed": 9}, {"label_smoothing": 0.3}])
def test_what_does_not_reach_a_feature_costs_nothing(
    settings: FinetuneConfig, dataset: Dataset, kept: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    other = settings.model_copy(update=change)
    table = features_of(other, dataset, cache=kept)
    assert table.computed == 0
    afresh = features_of(other, dataset, cache=tmp_path)
    assert afresh.computed == 60
    np.testing.assert_array_equal(table.features, afresh.features)


def test_weights_count_by_what_they_hold_not_by_their_name(
    settings: FinetuneConfig, dataset: Dataset, tmp_path: Path
) -> None:
    one = weights_of(settings, tmp_path / "a.safetensors")
    first = features_of(settings.model_copy(update={"weights": str(one)}), dataset, cache=tmp_path / "cache")
    assert first.computed == 60
    assert first.facts["load_report"]["loaded"]
    moved = shutil.copy(one, tmp_path / "b.safetensors")
    again = features_of(settings.model_copy(update={"weights": str(moved)}), dataset, cache=tmp_path / "cache")
    assert again.computed == 0
    assert (again.features == first.features).all()
    assert again.facts["load_report"] == first.facts["load_report"]
    weights_of(settings, one, seed=6)
    other = features_of(settings.model_copy(update={"weights": str(one)}), dataset, cache=tmp_path / "cache")
    assert other.computed == 60
    assert np.abs(other.features - first.features).max() > 1e-3


def test_a_changed_image_alone_is_computed_again(
    phantoms: Path, settings: FinetuneConfig, tmp_path: Path, eyeground: Call, config: Path
) -> None:
    shutil.copytree(phantoms, tmp_path / "set")
    source = f"data=[{{path: {tmp_path / 'set' / 'images'}, table: {tmp_path / 'set' / 'labels.csv'}}}]"
    words = ("features", config, source, "--out", tmp_path / "out", "--json")
    assert json.loads(eyeground(*words).out)["computed"] == 60
    before = read_weights(tmp_path / "out" / "features.safetensors")["features"]
    listing = read_table(tmp_path / "out" / "features.csv")
    changed = tmp_path / "set" / "images" / listing[7]["file"]
    Image.fromarray(255 - np.asarray(Image.open(changed).convert("RGB"))).save(changed)
    assert json.loads(eyeground(*words).out)["computed"] == 1
    after = read_weights(tmp_path / "out" / "features.safetensors")["features"]
    assert [row for row in range(60) if (before[row] != after[row]).any()] == [7]


@pytest.mark.parametrize("name", ["features.safetensors", "features.csv", "features.json"])
def test_damaged_features_are_computed_anew(
    settings: FinetuneConfig, dataset: Dataset, kept: Path, tmp_path: Path, name: str
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(kept, cache)
    whole = features_of(settings, dataset, cache=cache)
    path = whole.folder / name
    path.write_bytes(path.read_bytes()[:-40] + b"x" * 7)
    mended = features_of(settings, dataset, cache=cache)
    assert mended.computed == 60
    np.testing.assert_array_equal(mended.features, whole.features)
    assert features_of(settings, dataset, cache=cache).computed == 0


def test_a_volume_is_one_row_the_mean_over_its_scans(
    settings: FinetuneConfig, tmp_path: Path, closed: Callable[[], None]
) -> None:
    rng = np.random.default_rng(0)
    for number in range(10):
        folder = tmp_path / "oct" / ("drusen", "normal")[number % 2] / f"v{number}"
        folder.mkdir(parents=True)
        for scan in range(3):
            Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)).save(folder / f"{scan}.png")
    source = {"path": tmp_path / "oct", "volumes": True}
    changes = {"data": [source], "slices": "all", "split": "60:20:20"}
    volumes = FinetuneConfig.model_validate({**settings.model_dump(), **changes})
    dataset = dataset_of(volumes)
    table = features_of(volumes, dataset, cache=tmp_path / "cache")
    assert (len(dataset.samples), len(table.samples)) == (30, 10)
    engine = TorchEngine(table_spec(volumes), device="cpu", precision="fp32", seed=0, threads=1)
    images = EvaluationImages(dataset.samples, pixels=dataset.pixels, preprocessing=preprocessing_of(volumes))
    single = np.concatenate([engine.features(batch.images) for batch in images.batches(8)])
    for row, sample in enumerate(table.samples):
        mine = [single[n] for n, other in enumerate(dataset.samples) if other.volume == sample.volume]
        assert len(mine) == 3
        np.testing.assert_allclose(table.features[row], np.mean(mine, axis=0), atol=1e-5)
    closed()
    assert features_of(volumes, cache=tmp_path / "cache").computed == 0


def test_spoiled_weights_are_refused(settings: FinetuneConfig, dataset: Dataset, tmp_path: Path) -> None:
    path = weights_of(settings, tmp_path / "w.safetensors", scale=1e30)
    with pytest.raises(WeightsRefused, match="NaN or infinite, first"):
        features_of(settings.model_copy(update={"weights": str(path)}), dataset, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("features.*"))


def test_features_do_not_fall_into_a_folder_of_something_else(eyeground: Call, config: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    answer = eyeground("features", config, "--out", tmp_path)
    assert answer.code == 2
    assert "holds something else" in answer.err


@pytest.fixture(scope="module")
def probed(config: Path, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished probe."""
    out = tmp_path_factory.mktemp("probe") / "run"
    run_probe(
        load_config(config), out=out, name="tiny", cache=kept, fractions=(0.1, 1.0), seeds=(0, 1), neighbors=5,
        layout="pca", as_json=False,
    )  # fmt: skip
    return out


def test_a_probe_leaves_predictions_numbers_and_pictures(probed: Path, settings: FinetuneConfig) -> None:
    told = json.loads((probed / "probe.json").read_text("utf-8"))
    fits = told["fits"]
    wanted = [(p, f, s) for f, s in ((0.1, 0), (0.1, 1), (1.0, 0)) for p in PROBES]
    assert [(fit["probe"], fit["fraction"], fit["seed"]) for fit in fits] == wanted
    assert len(told["rows"]) == len(wanted) * len(METRICS)
    test = told["images"]["test"]
    for fit in fits:
        table = read_predictions(probed / fit["predictions"])
        assert len(table) == test
        card = scorecard(table, resamples=settings.resamples)
        for metric in ("auroc_macro", "balanced_accuracy", "f1_macro", "ap_macro"):
            row = next(
                row for row in told["rows"]
                if (row["probe"], row["fraction"], row["seed"], row["metric"])
                == (fit["probe"], fit["fraction"], fit["seed"], metric)
            )  # fmt: skip
            estimate = card.headline[metric].to_json()
            for name in ("value", "low", "high"):
                assert row[name] == pytest.approx(estimate.get(name)), (fit, metric, name)
    for name in ("embedding.svg", "label_efficiency.svg"):
        assert ET.fromstring((probed / name).read_text("utf-8")).tag.endswith("svg")  # noqa: S314 - ours
    assert len(read_table(probed / "embedding.csv")) == 60
    assert load_config(probed / "config.yaml").model == settings.model


def test_a_probe_is_fitted_to_the_labels_it_was_given(
    probed: Path, settings: FinetuneConfig, dataset: Dataset, kept: Path
) -> None:
    table = features_of(settings, dataset, cache=kept)
    train = table.rows("train")
    patients = [table.patients[row] for row in train.tolist()]
    for fit in json.loads((probed / "probe.json").read_text("utf-8"))["fits"]:
        rows = subset_of_labels(table.labels[train], patients, fit["fraction"], fit["seed"])
        assert fit["images"] == len(rows)
        assert fit["patients"] == len({patients[row] for row in rows.tolist()})


def test_the_probe_command_answers_programs_without_a_forward_pass(
    eyeground: Call, config: Path, kept: Path, tmp_path: Path, closed: Callable[[], None]
) -> None:
    closed()
    out = tmp_path / "run"
    words = ("probe", config, "--fractions", "0.5", "--seeds", "3", "--cache", kept, "--layout", "pca")
    answer = eyeground(*words, "--out", out, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["out"] == str(out)
    assert told["computed"] == 0
    assert {row["probe"] for row in told["rows"]} == set(PROBES)
    assert {(row["fraction"], row["seed"]) for row in told["rows"]} == {(0.5, 3)}
    assert set(told["rows"][0]) >= {"probe", "fraction", "seed", "metric", "value", "low", "high"}
    kappa = next(row for row in told["rows"] if row["metric"] == "kappa_quadratic")
    assert (kappa["value"], kappa["reason"]) == (None, "classes are not ordered")
    assert "Macro AUROC" in answer.err
    assert "logistic regression" in answer.err
    assert eyeground(*words, "--out", out).code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("weights=no.safetensors",), "no such weights file"),
        (("image_px=30",), "not divisible by the patch"),
        (("--fractions", "0.1,2"), "'2' is none of the numbers"),
        (("--seeds", "0.5"), "'0.5' is none of the whole numbers"),
        (("--seeds", ","), "--seeds is empty"),
        (("split=test",), "no image is in the split 'train'"),
    ],
)
def test_what_cannot_be_probed_is_said(
    eyeground: Call, config: Path, kept: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    answer = eyeground("probe", config, *words, "--cache", kept, "--out", tmp_path / "run", "--json")
    assert answer.code == 2
    assert message in json.loads(answer.out)["error"]
    assert not (tmp_path / "run").exists()


def test_one_class_cannot_be_probed(eyeground: Call, config: Path, phantoms: Path, kept: Path, tmp_path: Path) -> None:
    rows = [row for row in read_table(phantoms / "labels.csv") if row["label"] == "normal"]
    table = write_table(tmp_path / "normal.csv", rows)
    source = f"data=[{{path: {phantoms / 'images'}, table: {table}}}]"
    answer = eyeground("probe", config, source, "--cache", kept, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "at least two classes" in answer.err


def test_an_unusable_device_is_a_matter_of_the_configuration(
    settings: FinetuneConfig, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="device"):
        features_of(settings.model_copy(update={"device": "mps"}), dataset, cache=tmp_path)
