"""``eyeground data inspect``: how unequal the classes are, for people, for programs and as a picture."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.flow.tables import Answer, read_table, write_table

Call = Callable[..., Answer]


@pytest.fixture
def unequal(phantoms: Path, tmp_path: Path) -> tuple[object, ...]:
    """All normal eyes, four patients with cataract and one eye of severe retinopathy."""
    rows = read_table(phantoms / "labels.csv")
    cataracts = sorted({row["patient"] for row in rows if row["label"] == "cataract"})[:4]
    severe = next(row for row in rows if row["label"] == "dr3")
    kept = [
        row for row in rows if row["label"] == "normal" or (row["label"] == "cataract" and row["patient"] in cataracts)
    ]
    return phantoms / "images", "--table", write_table(tmp_path / "unequal.csv", [*kept, severe])


def test_it_says_how_unequal_the_classes_are(unequal: tuple[object, ...], eyeground: Call) -> None:
    done = eyeground("data", "inspect", *unequal, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    found = told["imbalance"]
    assert found["classes"] == ["normal", "cataract", "dr3"]
    assert found["counts"] == [told["classes"][name] for name in found["classes"]]
    assert found["counts"][2] == found["patients"][2] == 1
    assert found["patients"][1] == 4
    assert found["ratio"] == found["counts"][0]
    assert found["constant_accuracy"] == pytest.approx(found["counts"][0] / told["images"])
    assert found["constant_balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["rare"][-2:] == ["cataract", "dr3"]
    for weights in found["weights"].values():
        total = sum(n * w for n, w in zip(found["counts"], weights, strict=True))
        assert total == pytest.approx(told["images"])
    # People read the same.
    for line in found["advice"]:
        assert line in done.err
    assert f"{found['ratio']:.1f} to 1 (normal, dr3)" in done.err
    assert f"{found['effective_classes']:.1f} of 3 equal classes" in done.err


@pytest.mark.parametrize("name", ["classes.svg", "classes.PNG"])
def test_the_picture_is_what_its_ending_says(
    name: str, unequal: tuple[object, ...], tmp_path: Path, eyeground: Call
) -> None:
    done = eyeground("data", "inspect", *unequal, "--balance-picture", tmp_path / name)
    assert done.code == 0, done.err
    assert done.out.strip() == f"picture: {tmp_path / name}"
    if name.endswith("svg"):
        assert ">cataract</text>" in (tmp_path / name).read_text(encoding="utf-8")
    else:
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
            assert image.size[0] > 1000


def test_another_ending_is_refused_before_any_image_is_read(
    unequal: tuple[object, ...], tmp_path: Path, eyeground: Call
) -> None:
    done = eyeground("data", "inspect", *unequal, "--balance-picture", tmp_path / "classes.jpg", "--json")
    assert done.code == 2
    assert ".svg or .png" in json.loads(done.out)["error"]
    assert "reading images" not in done.err
    assert not (tmp_path / "classes.jpg").exists()


def test_a_set_of_one_class_has_nothing_to_balance(phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    rows = [row for row in read_table(phantoms / "labels.csv") if row["label"] == "normal"]
    words = (phantoms / "images", "--table", write_table(tmp_path / "one.csv", rows))
    done = eyeground("data", "inspect", *words, "--balance-picture", tmp_path / "one.svg", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)["imbalance"]
    assert found["entropy"] is None
    assert found["advice"] == ["There is one class, 'normal': nothing to tell apart and nothing to balance."]
    assert "undefined: one class" in done.err
    assert (tmp_path / "one.svg").is_file()
