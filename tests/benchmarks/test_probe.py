"""The benchmark of the probe: its parts run on a few small images, and the head finds the features that are kept."""

from pathlib import Path

import pytest

from benchmarks import probe
from eyeground.cli.features import features_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    probe.draw(tmp_path / "data", 30, size_px=64)
    return tmp_path / "data"


def test_an_epoch_of_the_frozen_loop_is_measured(data: Path) -> None:
    assert probe.frozen_loop(data, model="vit_tiny_patch16", image_px=32) > 0


def test_the_head_learns_on_what_is_kept_and_on_nothing_else(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "EPOCHS", 3)
    words = {"model": "vit_tiny_patch16", "image_px": 32}
    with pytest.raises(AssertionError, match="went through the network"):
        probe.head_alone(data, tmp_path / "kept", model="vit_tiny_patch16", image_px=32)
    known = features_of(probe.configured(data, **words), cache=tmp_path / "kept")  # type: ignore[arg-type]
    assert known.computed == 0
    assert probe.head_alone(data, tmp_path / "kept", model="vit_tiny_patch16", image_px=32) > 0
