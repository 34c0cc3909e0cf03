"""Where a model looked, as a user asks for it: pictures and numbers by name, refusals told together, maps tested."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.explain.cases import read_cases
from eyeground.explain.evidence import CAPTION
from eyeground.pick import names
from eyeground.serve.looking import PREFERRED
from tests.flow.conftest import succeeded
from tests.flow.tables import Answer, read_table
from tests.flow.test_heads import HEADS, config_for, screened

Call = Callable[..., Answer]
METHODS = ("attention_relevance", "attention_rollout", "grad_cam", "integrated_gradients", "occlusion")


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def told_in(out: Path) -> dict[str, Any]:
    """Strict JSON: no NaN."""

    def never(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    found: dict[str, Any] = json.loads((out / "explain.json").read_text("utf-8"), parse_constant=never)
    return found


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    made = []
    for number, disease in enumerate(("dr3", "normal")):
        made.append(folder / f"P{number}_OD.png")
        Image.fromarray(draw_fundus(disease, seed=900 + number, eye="OD", size_px=128).image.pixels).save(made[-1])
    return made


def test_each_method_that_serves_leaves_a_picture_and_its_numbers(
    bundle: Path, photographs: list[Path], tmp_path: Path, eyeground: Call
) -> None:
    assert tuple(names("explain.methods")) == METHODS
    out = tmp_path / "deep" / "out"
    words = ("--method", "all", "--method", "grad_cam", "--threads", 1, "--json")
    answer = eyeground("explain", bundle, *photographs, "--out", out, *words)
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    told = json.loads(answer.out)
    assert (told["images"], told["explained"], told["not_graded"]) == (2, 2, [])
    assert tuple(told["methods"]) == METHODS
    pictures = {f"{path.stem}.{method}.png" for path in photographs for method in METHODS}
    assert {path.name for path in out.iterdir()} == pictures | {"explain.json"}
    for name in pictures:
        with Image.open(out / name) as picture:
            assert picture.format == "PNG"
            assert picture.width > 800
            assert picture.info == {}, "no names and paths in it"
    found = told_in(out)
    assert found["caption"] == dict(CAPTION)
    assert tuple(found["methods"]) == METHODS
    for each, path in zip(found["images"], photographs, strict=True):
        assert each["file"] == str(path)
        [head] = each["heads"]
        for why, method in zip(each["explanations"], METHODS, strict=True):
            assert (why["method"], why["picture"]) == (method, f"{path.stem}.{method}.png")
            assert why["target"] == f"label: {head['prediction']}"
            assert why["regions"] or why["no_regions"]
            assert len(why["similar_cases"]) == 5
            cosines = [case["similarity"] for case in why["similar_cases"]]
            assert cosines == sorted(cosines, reverse=True)
            assert {case["file"] for case in why["similar_cases"]} == {""}, "a bundle names nobody's picture"


def test_similar_cases_of_a_run_are_its_training_images(
    bundle: Path, calibrated: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    train = [row for row in read_table(calibrated / "split.csv") if row["split"] == "train"]
    image = phantoms / "images" / train[5]["file"]
    of = {}
    for name, model in (("run", calibrated), ("bundle", bundle)):
        out = tmp_path / name
        answer = eyeground("explain", model, image, "--out", out, "--similar", 3, "--method", "grad_cam")
        assert answer.code == 0, answer.err
        of[name] = told_in(out)["images"][0]["explanations"][0]["similar_cases"]
        assert len(of[name]) == 3
    assert Path(of["run"][0]["file"]).name == train[5]["file"], "the image itself is most like itself"
    assert of["run"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    labels = {row["file"]: row["label"] for row in read_table(phantoms / "labels.csv")}
    for one, other in zip(of["run"], of["bundle"], strict=True):
        assert labels[Path(one["file"]).name] == one["label"] == other["label"]
        assert one["similarity"] == pytest.approx(other["similarity"], abs=1e-3)
    kept = read_cases(calibrated / "cases.safetensors")
    assert len(kept.labels) == len(train)
    answer = eyeground("explain", bundle, image, "--out", tmp_path / "none", "--similar", 0, "--method", "grad_cam")
    assert answer.code == 0, answer.err
    assert told_in(tmp_path / "none")["images"][0]["explanations"][0]["similar_cases"] == []


def test_a_run_whose_images_are_gone_is_explained_without_them(
    calibrated: Path, photographs: list[Path], tmp_path: Path, eyeground: Call
) -> None:
    run = shutil.copytree(calibrated, tmp_path / "run", ignore=shutil.ignore_patterns("cases.safetensors"))
    config = (run / "config.yaml").read_text("utf-8")
    (run / "config.yaml").write_text(config.replace("/images", "/images_gone"), "utf-8")
    answer = eyeground("explain", run, photographs[0], "--out", tmp_path / "out", "--method", "grad_cam")
    assert answer.code == 0, answer.err
    assert "no similar cases" in answer.err
    assert told_in(tmp_path / "out")["images"][0]["explanations"][0]["similar_cases"] == []


def test_everything_wrong_is_told_at_once_and_nothing_is_written(
    bundle: Path, photographs: list[Path], tmp_path: Path, eyeground: Call
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    answer = eyeground(
        "explain", bundle, tmp_path / "gone.png", "--out", taken, "--method", "saliency", "--method", "lime",
        "--head", "DR", "--lang", "fr",
    )  # fmt: skip
    refused(
        answer, "no such file or folder", "--lang fr: it is en or zh", "a file is there", "'saliency'", "'lime'",
        ", ".join(METHODS), "there is no head 'DR': label",
    )  # fmt: skip
    answer = eyeground("explain", bundle, *photographs, "--out", tmp_path / "out", "--answer", "glaucoma")
    refused(answer, "there is no answer 'glaucoma'", "cataract, dr3, normal")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    refused(eyeground("explain", tmp_path, photographs[0], "--out", tmp_path / "out"), "not a run", code=1)


def test_another_answer_than_the_given_one_can_be_explained(
    bundle: Path, photographs: list[Path], tmp_path: Path, eyeground: Call
) -> None:
    heads = []
    for name in ("dr3", "normal"):
        out = tmp_path / name
        words = ("--answer", name, "--head", "label", "--method", "occlusion", "--lang", "zh")
        answer = eyeground("explain", bundle, photographs[0], "--out", out, *words)
        assert answer.code == 0, answer.err
        [image] = told_in(out)["images"]
        [why] = image["explanations"]
        assert why["target"] == f"label: {name}"
        heads.append(image["heads"])
    assert heads[0] == heads[1], "what is said does not hang on what is explained"
    assert why["abnormal_areas"] == [], "nothing is abnormal in a healthy eye"
    one, other = ((tmp_path / name / "P0_OD.occlusion.png").read_bytes() for name in ("dr3", "normal"))
    assert one != other


def test_what_cannot_be_graded_is_listed_without_a_picture(
    bundle: Path, photographs: list[Path], tmp_path: Path, eyeground: Call
) -> None:
    scan = tmp_path / "scan.png"
    Image.fromarray(draw_oct("drusen", seed=1, width_px=256, height_px=200).image.pixels).save(scan)
    broken = tmp_path / "broken.png"
    broken.write_bytes(photographs[0].read_bytes()[:900])
    dark = tmp_path / "dark_OS.png"
    Image.fromarray(np.zeros((128, 128, 3), np.uint8)).save(dark)
    out = tmp_path / "out"
    answer = eyeground("explain", bundle, scan, broken, dark, photographs[0], "--out", out, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert (told["images"], told["explained"]) == (4, 1)
    assert told["not_graded"][0] == f"{scan}: cannot grade: wrong modality"
    found = told_in(out)["images"]
    for each in found[:3]:
        assert (each["graded"], each["explanations"]) == (False, [])
        assert each["quality"].startswith("cannot grade: ")
        assert each["heads"][0]["prediction"] is None
        assert each["heads"][0]["scores"] == {}
        assert f"{each['file']}: {each['quality']}" in answer.err
    assert sorted(path.name for path in out.iterdir()) == [f"P0_OD.{PREFERRED[0]}.png", "explain.json"]


def test_images_of_one_name_get_pictures_of_their_own(
    bundle: Path, photographs: list[Path], tmp_path: Path, eyeground: Call
) -> None:
    spelled = ("a/x.png", "b/x.png", "a/x.tif", "a_x.png", "y.png", "a/b_z.png", "a_b/z.png", "c/z.png")
    for number, name in enumerate(spelled):
        place = tmp_path / "in" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(photographs[number % 2]).save(place)
    out = tmp_path / "out"
    again = tmp_path / "in" / "a" / ".." / "y.png"
    words = ("--method", "grad_cam", "--similar", 0)
    answer = eyeground("explain", bundle, *(tmp_path / "in" / name for name in spelled), again, "--out", out, *words)
    assert answer.code == 0, answer.err
    found = told_in(out)["images"]
    assert [each["file"] for each in found] == [str(tmp_path / "in" / name) for name in spelled]
    pictures = [each["explanations"][0]["picture"] for each in found]
    assert len(set(pictures)) == len(spelled), pictures
    assert {path.name for path in out.iterdir()} == {*pictures, "explain.json"}
    assert pictures[4] == "y.grad_cam.png"
    assert all(picture.endswith(".grad_cam.png") for picture in pictures)


def test_attention_is_not_asked_of_a_network_without(
    config: Path, photographs: list[Path], tmp_path: Path, eyeground: Call
) -> None:
    run = tmp_path / "run"
    succeeded("finetune", config, f"out={run}", "model=mobilenetv2_100", "epochs=1", "warmup_epochs=0")
    bundle = tmp_path / "b"
    succeeded("export", run, "--out", bundle, "--threads", 1)
    out = tmp_path / "out"
    for model in (run, bundle):
        answer = eyeground(
            "explain", model, photographs[0], "--out", out,
            "--method", "attention_rollout", "--method", "attention_relevance",
        )  # fmt: skip
        refused(answer, "attention", "grad_cam", "integrated_gradients", "occlusion")
        assert not out.exists()
    assert not (run / "cases.safetensors").exists(), "refused before the work"
    refused(eyeground("serve", bundle, "--method", "attention_rollout", "--port", 0), "attention", "grad_cam")
    refused(
        eyeground("sanity", bundle, "--out", out, "--method", "attention_rollout", "--method", "x"), "grad_cam", "'x'"
    )
    answer = eyeground("explain", bundle, photographs[0], "--out", out, "--method", "all", "--threads", 1, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["methods"] == ["grad_cam", "integrated_gradients", "occlusion"]
    assert len(list(out.glob("*.png"))) == 3


def test_of_several_heads_one_is_asked(
    phantoms: Path, photographs: list[Path], tmp_path: Path, eyeground: Call
) -> None:
    config, run = config_for(tmp_path, phantoms, screened(phantoms, patients=slice(24))), tmp_path / "run"
    succeeded("finetune", config, HEADS, f"out={run}", "epochs=1", "warmup_epochs=0", "batch_size=4")
    out = tmp_path / "out"
    common = ("explain", run, photographs[0], "--out", out, "--method", "grad_cam")
    targets = {}
    for words in (("--head", "CDR"), ("--head", "GRADE", "--answer", "1"), ("--answer", "2"), ("--head", "HAZE")):
        answer = eyeground(*common, *words)
        assert answer.code == 0, answer.err
        [image] = told_in(out)["images"]
        [why] = image["explanations"]
        targets[words] = why["target"]
        said = {head["head"]: head["prediction"] for head in image["heads"]}
        if words == ("--head", "CDR"):
            assert isinstance(said["CDR"], float)
            assert why["abnormal_areas"] == [], "a number calls nothing ill"
        if words == ("--head", "HAZE"):
            assert said["HAZE"] in ("yes", "no")
    assert targets["--answer", "2"].startswith("GRADE")
    assert len({*targets.values()}) == 4
    cases = why["similar_cases"]
    assert all("HAZE" in case["label"] or "GRADE" in case["label"] for case in cases)
    refused(eyeground(*common, "--head", "AMD"), "there is no head 'AMD': HAZE, GRADE, CDR")
    refused(eyeground(*common, "--head", "CDR", "--answer", "1"), "there is no answer '1'", "a number")
    refused(eyeground(*common, "--head", "HAZE", "--answer", "1"), "there is no answer '1'")


def test_maps_are_tested_on_phantoms_with_a_broken_one_beside(config: Path, tmp_path: Path, eyeground: Call) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    succeeded("finetune", config, f"out={run}", "epochs=12", "lr=3e-3", "warmup_epochs=1")
    words = ("--images", 24, "--tested", 6, "--resamples", 100, "--method", "grad_cam", "--threads", 1, "--json")
    answer = eyeground("sanity", run, "--out", out, *words)
    if "answers no phantom with lesions rightly" in answer.err:
        pytest.skip("so small a network learned nothing here")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    record = json.loads((out / "sanity.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert told["rightly_answered"] == record["rightly_answered"] > 0
    assert {path.name for path in out.iterdir()} == {"sanity.html", "sanity.json"}
    named = [each["method"] for each in record["methods"]]
    assert named == ["grad_cam", "shuffled"]
    assert record["methods"][1]["passed"] is False, "the planted fault"
    page = (out / "sanity.html").read_text("utf-8")
    assert "shuffled" in page


def test_sanity_refuses_what_it_cannot_judge(bundle: Path, phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    out = tmp_path / "out"
    refused(eyeground("sanity", bundle, "--out", out, "--phantoms", tmp_path), "data phantom", "labels.csv")
    refused(eyeground("sanity", bundle, "--out", out, "--method", "lime"), "no method is called 'lime'", "grad_cam")
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "labels.csv").write_text("file,label,patient,mask\n../../x.png,dr3,p,m.png\n", "utf-8")
    refused(eyeground("sanity", bundle, "--out", out, "--phantoms", torn), "data phantom")
    assert not out.exists()
