"""The phantoms' promises: known truth, no shortcuts, sets that can be trusted."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from eyeground.data.drawing import fundus
from eyeground.data.drawing.anatomy import View, draw_anatomy
from eyeground.data.drawing.screening import screened
from eyeground.data.phantom import (
    FUNDUS_DISEASES,
    OCT_DISEASES,
    Phantom,
    draw_fundus,
    draw_oct,
    sheet,
    write_set,
)

FUNDUS_SPOTS = tuple(name for name in FUNDUS_DISEASES if name not in ("normal", "cataract"))


def small_fundus(disease: str, seed: int, eye: str = "") -> Phantom:
    return draw_fundus(disease, seed=seed, eye=eye, size_px=160)


def small_oct(disease: str, seed: int, eye: str = "") -> Phantom:
    return draw_oct(disease, seed=seed, eye=eye, width_px=192, height_px=150)


def test_names_are_the_agreed_ones():
    assert FUNDUS_DISEASES == (
        "normal", "dr1", "dr2", "dr3", "dr4", "glaucoma", "drusen", "cataract", "rvo", "rp", "csc", "disc_swelling",
    )  # fmt: skip
    assert OCT_DISEASES == ("normal", "drusen", "fluid_dome", "cystoid_edema", "macular_hole")


@pytest.mark.parametrize("disease", FUNDUS_DISEASES)
def test_a_fundus_seed_draws_the_same_phantom_again(disease):
    first, again = small_fundus(disease, 5), small_fundus(disease, 5)
    assert np.array_equal(first.image.pixels, again.image.pixels)
    assert np.array_equal(first.lesions, again.lesions)
    assert (first.disc, first.fovea, first.camera) == (again.disc, again.fovea, again.camera)
    assert not np.array_equal(first.image.pixels, small_fundus(disease, 6).image.pixels)


@pytest.mark.parametrize("disease", OCT_DISEASES)
def test_an_oct_seed_draws_the_same_phantom_again(disease):
    first, again = small_oct(disease, 5), small_oct(disease, 5)
    assert np.array_equal(first.image.pixels, again.image.pixels)
    assert np.array_equal(first.lesions, again.lesions)
    assert not np.array_equal(first.image.pixels, small_oct(disease, 6).image.pixels)


@pytest.mark.parametrize("disease", FUNDUS_SPOTS)
def test_fundus_masks_lie_in_the_field_and_the_picture_differs_there(disease):
    """Against its healthy twin a phantom must change inside its mask, and more than elsewhere."""
    inside, outside = [], []
    for seed in range(8):
        phantom, twin = small_fundus(disease, seed), small_fundus("normal", seed)
        assert phantom.image.eye == twin.image.eye
        assert (phantom.disc, phantom.fovea, phantom.camera) == (twin.disc, twin.fovea, twin.camera)
        assert phantom.lesions.dtype == np.bool_
        assert phantom.lesions.shape == phantom.image.pixels.shape[:2]
        assert phantom.lesions.any(), f"{disease} seed {seed} shows no lesion"
        lit = ndimage.gaussian_filter(twin.image.pixels.max(axis=2).astype(float), 2.0) > 12
        assert lit[phantom.lesions].mean() > 0.97
        change = np.abs(phantom.image.pixels.astype(float) - twin.image.pixels).sum(axis=2)
        inside.append(change[phantom.lesions].mean())
        outside.append(change[~phantom.lesions].mean())
    assert np.mean(inside) > 10.0
    assert np.mean(inside) > 3.0 * np.mean(outside)


@pytest.mark.parametrize("disease", OCT_DISEASES[1:])
def test_oct_masks_hold_the_lesion(disease):
    for seed in range(8):
        phantom, twin = small_oct(disease, seed), small_oct("normal", seed)
        assert phantom.lesions.any(), f"{disease} seed {seed} shows no lesion"
        assert phantom.camera == twin.camera
        assert phantom.fovea == twin.fovea
        change = np.abs(phantom.image.pixels[..., 0].astype(float) - twin.image.pixels[..., 0])
        assert change[phantom.lesions].mean() > 1.5 * change[~phantom.lesions].mean()
        columns = np.flatnonzero(phantom.lesions.any(axis=0))
        assert phantom.fovea is not None
        if disease in ("fluid_dome", "cystoid_edema", "macular_hole"):
            assert abs(columns.mean() - phantom.fovea[0]) < 0.2 * phantom.lesions.shape[1]


def test_fluid_and_holes_are_darker_than_the_retina_they_replace():
    for disease in ("fluid_dome", "macular_hole", "cystoid_edema"):
        for seed in range(5):
            phantom, twin = small_oct(disease, seed), small_oct("normal", seed)
            gray, healthy = (each.image.pixels[..., 0].astype(float) for each in (phantom, twin))
            retina = np.percentile(healthy, 90)
            assert gray[phantom.lesions].mean() < retina


@pytest.mark.parametrize("seed", range(6))
def test_healthy_and_hazy_phantoms_have_empty_masks(seed):
    assert not small_fundus("normal", seed).lesions.any()
    assert not small_fundus("cataract", seed).lesions.any()
    assert not small_oct("normal", seed).lesions.any()


def test_a_cataract_veils_the_whole_picture():
    contrast = {}
    for disease in ("normal", "cataract"):
        green = [small_fundus(disease, seed).image.pixels[40:120, 40:120, 1].astype(float) for seed in range(10)]
        contrast[disease] = np.mean([plane.std() / plane.mean() for plane in green])
    assert contrast["cataract"] < 0.75 * contrast["normal"]


def test_oct_phantoms_are_gray():
    pixels = small_oct("drusen", 3).image.pixels
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), disease=st.sampled_from(FUNDUS_DISEASES), eye=st.sampled_from(["OD", "OS"]))
def test_the_disc_lies_nasal_and_both_landmarks_lie_in_the_picture(seed, disease, eye):
    phantom = draw_fundus(disease, seed=seed, eye=eye, size_px=96)
    assert phantom.disc is not None
    assert phantom.fovea is not None
    assert (phantom.disc[0] > phantom.fovea[0]) == (eye == "OD")
    for x, y in (phantom.disc, phantom.fovea):
        assert 0 <= x < 96
        assert 0 <= y < 96
    assert phantom.image.eye == eye
    assert phantom.lesions.any() == (disease not in ("normal", "cataract"))


def test_the_disc_is_where_the_phantom_says():
    """The place named as the disc is brighter than its mirror image about the fovea."""
    brighter = 0
    for seed in range(20):
        phantom = draw_fundus("normal", seed=seed, size_px=192)
        assert phantom.disc is not None
        smooth = ndimage.gaussian_filter(phantom.image.pixels.astype(float).sum(axis=2), 4)
        x, y = (round(value) for value in phantom.disc)
        ring = [smooth[y + dy, min(191, max(0, x + dx))] for dx, dy in ((-26, 0), (0, -26), (0, 26))]
        brighter += smooth[y, x] > np.mean(ring)
    assert brighter >= 18


def measured_cup(disease: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Height of the painted cup over the disc's, from what changes when the same eye is painted without a cup."""
    seen: list[tuple[np.ndarray, View]] = []

    def keep(scene: np.ndarray, view: View, *_: object, haze: float) -> np.ndarray:
        seen.append((scene.copy(), view))
        return np.zeros((*scene.shape[1:], 3), np.uint8)

    with monkeypatch.context() as patch:
        patch.setattr(fundus, "photograph", keep)  # its blur and noise would drown a small cup
        fundus.paint(disease, seed=seed, patient_seed=seed, eye="OD", size_px=384)
        patch.setattr(fundus, "_cup", lambda dx, dy, d, *_: np.full_like(d, 9.0))
        fundus.paint(disease, seed=seed, patient_seed=seed, eye="OD", size_px=384)
    (cupped, view), (bare, _) = seen
    change = np.abs(cupped - bare).sum(axis=0)
    # The paint of a cup is 35% opaque at its border.
    y = view.degrees()[1][change > 0.35 * np.percentile(change[change > 0], 90)]
    return float(y.max() - y.min()) / 2 / draw_anatomy(seed, "OD").disc_radius[1]


@pytest.mark.parametrize("disease", ["normal", "glaucoma", "rvo", "disc_swelling", "dr4"])
def test_the_cup_disc_ratio_is_that_of_the_painted_cup(disease, monkeypatch):
    differing_from_the_healthy_eye = 0
    for seed in range(8):
        told = draw_fundus(disease, seed=seed, eye="OD", size_px=64).cup_disc_ratio
        healthy = draw_fundus("normal", seed=seed, eye="OD", size_px=64).cup_disc_ratio
        assert told is not None
        measured = measured_cup(disease, seed, monkeypatch)
        assert abs(measured - told) < 0.06, f"seed {seed}: told {told}, painted {measured}"
        differing_from_the_healthy_eye += abs(measured - healthy) > 0.06
    # To tell the eye's own ratio whatever the disease would not pass.
    assert (differing_from_the_healthy_eye >= 6) == (disease in ("glaucoma", "disc_swelling"))


def test_the_cup_of_a_glaucoma_is_as_high_as_its_mask():
    notched = 0
    for seed in range(12):
        phantom = draw_fundus("glaucoma", seed=seed, eye="OD", size_px=512)
        assert phantom.disc is not None
        assert phantom.fovea is not None
        anatomy = draw_anatomy(seed, "OD")
        px_per_degree = np.hypot(*np.subtract(phantom.disc, phantom.fovea)) / np.hypot(*anatomy.disc)
        rows = np.flatnonzero(phantom.lesions.any(axis=1))
        disc_px = 2 * anatomy.disc_radius[1] * px_per_degree
        measured = (rows[-1] - rows[0] + 1) / disc_px / 1.05  # the mask reaches 5% beyond the cup's border
        assert phantom.cup_disc_ratio == pytest.approx(measured, abs=0.03)
        up, down = phantom.disc[1] - rows[0], rows[-1] - phantom.disc[1]
        notched += max(up, down) > 1.08 * min(up, down)
    assert notched >= 4  # a ratio without the notch would not pass


def test_the_cup_disc_ratio_is_the_eyes_and_not_the_pictures():
    for disease in ("normal", "glaucoma"):
        ratios = {draw_fundus(disease, seed=3, eye="OS", size_px=size).cup_disc_ratio for size in (64, 96, 200)}
        assert len(ratios) == 1
    assert small_oct("drusen", 1).cup_disc_ratio is None


def test_eyes_and_cameras_come_from_the_seed_alone():
    seeds = range(40)
    cameras = {seed: draw_fundus("normal", seed=seed, size_px=64).camera for seed in seeds}
    assert len(set(cameras.values())) == 5
    assert all(draw_fundus("dr3", seed=seed, size_px=64).camera == cameras[seed] for seed in seeds)
    eyes = [draw_fundus("normal", seed=seed, size_px=64).image.eye for seed in seeds]
    assert 8 <= eyes.count("OD") <= 32


def test_fellow_eyes_share_the_person_but_not_the_photograph():
    right = draw_fundus("normal", seed=3, eye="OD", size_px=128, patient_seed=9)
    left = draw_fundus("normal", seed=4, eye="OS", size_px=128, patient_seed=9)
    assert right.camera == left.camera
    assert not np.array_equal(right.image.pixels, left.image.pixels[:, ::-1])


@pytest.mark.parametrize("disease", ["dr2", "glaucoma"])
def test_mean_color_does_not_tell_the_disease(disease):
    """If it did, a model could pass without looking at a lesion."""
    features, truth = [], []
    for seed in range(60):
        name = disease if seed % 2 else "normal"
        pixels = draw_fundus(name, seed=1000 + seed, size_px=96).image.pixels
        features.append(pixels.reshape(-1, 3).mean(axis=0))
        truth.append(name != "normal")
    colors = np.array(features)
    colors = (colors - colors.mean(axis=0)) / colors.std(axis=0)
    scores = cross_val_predict(LogisticRegression(), colors, truth, cv=5, method="predict_proba")[:, 1]
    auroc = roc_auc_score(truth, scores)
    assert 0.25 < auroc < 0.75


def test_unknown_names_and_bad_arguments_are_reported_together():
    with pytest.raises(ValueError, match=r"unknown fundus disease 'fluid_dome'.*must not be negative.*at least 64"):
        draw_fundus("fluid_dome", seed=-1, size_px=10)
    with pytest.raises(ValueError, match=r"unknown oct disease 'dr2'; the oct diseases are: normal, drusen"):
        draw_oct("dr2", seed=1)
    with pytest.raises(ValueError, match="eye must be"):
        draw_fundus("normal", seed=1, eye="left")  # type: ignore[arg-type]


def test_the_sheet_outlines_lesions_only_when_asked():
    phantoms = [small_fundus("dr3", 1), small_oct("fluid_dome", 1), small_fundus("normal", 2)]
    plain, marked = (sheet(phantoms, columns=2, cell_px=160, mark=mark) for mark in (False, True))
    assert plain.shape == marked.shape == (320, 320, 3)
    changed = (plain != marked).any(axis=2)
    assert changed[:160, :160].any()
    assert changed[:160, 160:].any()
    assert not changed[160:].any()
    with pytest.raises(ValueError, match=r"no phantom.*columns"):
        sheet([], columns=0)


def test_a_written_set_holds_what_its_table_says(tmp_path):
    calls = []
    table = write_set(
        tmp_path / "set", modality="fundus", diseases=["normal", "dr3", "cataract"], patients=9, seed=4, size_px=96,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert calls == [(done, 18) for done in range(1, 19)]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert list(rows[0]) == [
        "file", "label", "patient", "eye", "site", "camera",
        "disc_x_px", "disc_y_px", "fovea_x_px", "fovea_y_px", "mask",
        "cup_disc_ratio", "AMD", "CSC", "RP", "ON", "GLA", "RVO", "DR",
    ]  # fmt: skip
    assert len(rows) == 18
    assert {row["label"] for row in rows} == {"normal", "dr3", "cataract"}
    assert sorted(path.name for path in (tmp_path / "set/images").iterdir()) == sorted(row["file"] for row in rows)
    for row in rows:
        assert row["label"] not in row["file"]
        with (
            Image.open(tmp_path / "set/images" / row["file"]) as image,
            Image.open(tmp_path / "set/masks" / row["mask"]) as mask,
        ):
            assert image.format == "JPEG"
            assert mask.mode == "1"
            assert image.size == mask.size == (96, 96)
            assert np.asarray(mask).any() == (row["label"] == "dr3")
        assert (float(row["disc_x_px"]) > float(row["fovea_x_px"])) == (row["eye"] == "OD")
    for patient in {row["patient"] for row in rows}:
        pair = [row for row in rows if row["patient"] == patient]
        assert [row["eye"] for row in pair] == ["OD", "OS"]
        assert len({row["camera"] for row in pair}) == len({row["site"] for row in pair}) == 1
        labels = {row["label"] for row in pair}
        assert len(labels) == 1 or "normal" in labels


def test_the_table_answers_the_screening_and_tells_the_ratio(tmp_path):
    """Against answers written out by hand, so that a swapped column shows."""
    truth = {
        "normal": "0000000", "cataract": "0000000", "drusen": "1000000", "csc": "0100000", "rp": "0010000",
        "disc_swelling": "0001000", "glaucoma": "0000100", "rvo": "0000010",
        "dr1": "0000001", "dr2": "0000002", "dr3": "0000003", "dr4": "0000004",
    }  # fmt: skip
    table = write_set(tmp_path, modality="fundus", diseases=FUNDUS_DISEASES, patients=12, seed=2, size_px=64)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["label"] for row in rows} == set(truth)
    for row in rows:
        told = "".join(row[column] for column in ("AMD", "CSC", "RP", "ON", "GLA", "RVO", "DR"))
        assert told == truth[row["label"]], row["label"]
        assert 0 < float(row["cup_disc_ratio"]) < 1
        assert len(row["cup_disc_ratio"]) == 5
        if row["label"] in ("glaucoma", "disc_swelling"):
            assert (float(row["cup_disc_ratio"]) > 0.6) == (row["label"] == "glaucoma")
    assert all(sum(screened(disease).values()) > 0 for disease in truth if disease not in ("normal", "cataract"))


def test_a_set_hangs_on_its_seed_and_not_on_the_number_of_threads(tmp_path, monkeypatch):
    arguments = {"modality": "oct", "diseases": OCT_DISEASES, "patients": 5, "seed": 8, "size_px": 96}
    write_set(tmp_path / "many", **arguments)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    write_set(tmp_path / "one", **arguments)
    files = sorted(path.relative_to(tmp_path / "many") for path in (tmp_path / "many").rglob("*.*"))
    assert len(files) == 22
    for file in files:
        assert (tmp_path / "many" / file).read_bytes() == (tmp_path / "one" / file).read_bytes()
    rows = list(csv.DictReader((tmp_path / "one/labels.csv").read_text().splitlines()))
    assert {row["disc_x_px"] for row in rows} == {""}
    assert list(rows[0])[-1] == "mask"  # no disc, so no ratio and no screening


def test_a_finished_set_is_reused_and_an_unfinished_one_completed(tmp_path, monkeypatch):
    arguments = {"modality": "fundus", "diseases": ["normal", "rp"], "patients": 2, "seed": 1, "size_px": 64}
    table = write_set(tmp_path, **arguments)
    text = table.read_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert write_set(tmp_path, **arguments) == table
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before
    table.unlink()
    next((tmp_path / "images").iterdir()).unlink()
    assert write_set(tmp_path, **arguments).read_text() == text
    assert set(tmp_path.rglob("*.*")) == set(before)


def without_the_new_columns(table: Path, extra: str = "") -> None:
    """Make a table what an earlier version wrote."""
    rows = list(csv.DictReader(table.read_text().splitlines()))
    kept = list(rows[0])[:11]
    lines = [",".join(kept) + extra, *(",".join(row[name] for name in kept) + extra for row in rows)]
    table.write_text("\n".join(lines) + "\n")


def test_a_set_of_an_earlier_version_gets_the_columns_it_lacks(tmp_path):
    arguments = {"modality": "fundus", "diseases": ["normal", "glaucoma"], "patients": 2, "seed": 1, "size_px": 64}
    table = write_set(tmp_path, **arguments)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    without_the_new_columns(table)
    assert write_set(tmp_path, **arguments) == table
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_table_changed_by_hand_is_not_overwritten(tmp_path):
    arguments = {"modality": "fundus", "diseases": ["normal"], "patients": 1, "seed": 1, "size_px": 64}
    table = write_set(tmp_path, **arguments)
    without_the_new_columns(table, ",remark")
    text = table.read_text()
    with pytest.raises(FileExistsError, match=r"lacks cup_disc_ratio, AMD.*changed by hand \(it has remark\)"):
        write_set(tmp_path, **arguments)
    assert table.read_text() == text


def test_a_full_disk_leaves_no_table(tmp_path, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("eyeground.data.phantom.write_whole", full)
    with pytest.raises(OSError, match="No space left"):
        write_set(tmp_path, modality="fundus", diseases=["normal"], patients=1, seed=1, size_px=64)
    assert not (tmp_path / "labels.csv").exists()


def test_a_foreign_folder_and_another_set_are_refused(tmp_path):
    arguments = {"modality": "fundus", "diseases": ["normal", "dr2"], "patients": 1, "seed": 1, "size_px": 64}
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty and holds no phantoms"):
        write_set(foreign, **arguments)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]
    write_set(tmp_path / "set", **arguments)
    with pytest.raises(FileExistsError, match=r"seed is 1, not 2"):
        write_set(tmp_path / "set", **{**arguments, "seed": 2})
    (tmp_path / "set/phantom.json").write_text("{")
    with pytest.raises(FileExistsError, match="another set"):
        write_set(tmp_path / "set", **arguments)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        write_set(tmp_path / "file", **arguments)


def test_faulty_set_arguments_are_reported_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"unknown fundus disease 'amd'.*'dr2' is named twice.*patients must be"):
        write_set(tmp_path / "set", modality="fundus", diseases=["dr2", "dr2", "amd"], patients=0, seed=1, size_px=64)
    with pytest.raises(ValueError, match="modality must be"):
        write_set(tmp_path / "set", modality="xray", diseases=["normal"], patients=1, seed=1, size_px=64)  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


def test_the_recipe_is_recorded(tmp_path):
    write_set(tmp_path, modality="oct", diseases=["normal"], patients=1, seed=6, size_px=96)
    recipe = json.loads((tmp_path / "phantom.json").read_text())
    assert recipe["seed"] == 6
    assert recipe["diseases"] == ["normal"]
