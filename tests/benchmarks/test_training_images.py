"""The parts of the image benchmarks, on a handful of drawn photographs; no timing is looked at."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import data_commands, loader_memory, training_images
from benchmarks.claim import NotHere
from eyeground.data.phantom import draw_fundus
from eyeground.data.preprocessing import Preprocessing


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for seed in range(3):
        found.append(tmp_path / f"{seed}.jpeg")
        Image.fromarray(draw_fundus("normal", seed=seed, size_px=512).image.pixels).save(found[-1], quality=90)
    return found


@pytest.mark.slow
def test_the_claims_of_the_epochs(files: list[Path]) -> None:
    small = Preprocessing(image_px=32, store_px=128)
    claims = training_images.run(20, files=files, workers=1, rounds=1, preprocessing=small)
    assert [claim.goal for claim in claims if not math.isnan(claim.goal)] == [2.5, 10.0]
    assert all(claim.unit == "images/s" and claim.ours > 0 and claim.reference > 0 for claim in claims)
    assert len({claim.reference for claim in claims[:4]}) == 1
    assert "of 255 levels" in claims[0].note


def test_both_sides_give_as_many_tensors_of_one_shape(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    training_images.lay_out(files, folder, 30)
    assert len(list(folder.rglob("*.jpeg"))) == 30
    preprocessing = Preprocessing(image_px=32, store_px=128)
    samples, prepared = training_images.ready(folder, preprocessing)
    store = training_images.PixelStore(crop_field=True, store_px=128, limit_bytes=0, prepared=prepared)
    ours = list(training_images.our_batches(samples, store, 0, preprocessing))
    theirs = list(training_images.plain_epoch(folder, 0, 32))
    assert [batch.shape for batch in ours] == [batch.shape for batch in theirs] == [(10, 3, 32, 32)] * 3
    assert {batch.dtype for batch in (*ours, *theirs)} == {ours[0].dtype}


def test_without_photographs_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EYEGROUND_REALDATA", raising=False)
    with pytest.raises(NotHere, match="EYEGROUND_REALDATA"):
        training_images.run()


def test_the_course_of_memory() -> None:
    seen = loader_memory.course(200, workers=1, every=100)
    assert [images for images, _ in seen] == [100, 200]
    assert all(megabytes > 20 for _, megabytes in seen)


def test_the_claims_of_the_commands(files: list[Path]) -> None:
    claims = data_commands.run(8, files=files, rounds=1)
    assert [claim.what.split(",")[0] for claim in claims] == ["prepare", "doctor"] * 2
    assert all(claim.ours > 0 and claim.ceiling >= claim.reference for claim in claims)


def test_the_plain_transform_never_asks_for_an_impossible_posterization() -> None:
    transform = training_images.plain_transform(32)
    out = io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(out, "JPEG")
    for _ in range(300):
        assert transform(Image.open(out)).shape == (3, 32, 32)
