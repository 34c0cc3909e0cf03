"""The zoo against timm's own table and networks, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from eyeground.model import zoo
from eyeground.model.spec import VIT_SHAPES
from eyeground.model.weights import Tensors, WeightsRefused
from eyeground.model.zoo import Release, by_file, by_name, by_sha256, check_release, encoder_shapes, find, releases
from tests.model.stand_in import DEMO, encoder

TIMM = [each.name for each in releases() if each.repo_id.startswith("timm/")]


def test_the_six_of_retfound_are_there() -> None:
    variants = ("mae_natureCFP", "mae_natureOCT", "mae_meh", "mae_shanghai", "dinov2_meh", "dinov2_shanghai")
    for variant in variants:
        release = by_name(f"RETFound_{variant}")
        assert (release.repo_id, release.file) == (f"YukunZhou/RETFound_{variant}", f"RETFound_{variant}.pth")
        assert (release.licence, release.gated) == ("CC-BY-NC-4.0", True)
        assert release.nest == ("teacher" if "dinov2" in variant else "model")
        assert release.modality == ("oct" if "OCT" in variant else "fundus")
    assert len(releases()) == len(variants) + len(TIMM)


@pytest.mark.parametrize("release", releases(), ids=lambda each: each.name)
def test_a_release_is_consistent(release: Release) -> None:
    shape = VIT_SHAPES[release.model]
    assert release.pool == shape.pool
    assert release.image_px % shape.patch_px == 0
    assert release.licence_page.startswith("https://")
    assert release.modality in ("fundus", "oct", "")
    assert len(encoder_shapes(release)) == shape.depth * (14 if shape.layer_scale else 12) + 6
    assert sum(each.name.lower() == release.name.lower() for each in releases()) == 1


@pytest.mark.parametrize("name", TIMM)
def test_timm_says_the_same(name: str) -> None:
    release, theirs = by_name(name), timm.get_pretrained_cfg(name)
    assert theirs is not None
    assert theirs.hf_hub_id == release.repo_id
    assert theirs.license == release.licence.lower()
    assert theirs.input_size == (3, release.image_px, release.image_px)
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
    assert {key: tuple(each.shape) for key, each in network.state_dict().items()} == encoder_shapes(release)


def test_names_are_found_in_any_case_and_near_ones_offered() -> None:
    assert by_name("retfound_MAE_naturecfp").name == "RETFound_mae_natureCFP"
    assert find("resnet50") is None
    with pytest.raises(WeightsRefused, match=r"'RETFound_mae_naturCFP'; near: RETFound_mae_natureCFP"):
        by_name("RETFound_mae_naturCFP")
    with pytest.raises(WeightsRefused, match=r"no release is called 'xyz' \(all: eyeground weights list\)"):
        by_name("xyz")


def test_a_published_file_is_known_by_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(DEMO, sha256="ab" * 32)
    monkeypatch.setattr(zoo, "_RELEASES", (DEMO, known))
    assert by_sha256("AB" * 32) == known
    assert by_sha256("cd" * 32) is None


def test_a_file_looks_like_a_release_by_its_name_and_every_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = (replace(DEMO, name="one", file="model.safetensors"), replace(DEMO, name="two", file="model.safetensors"))
    monkeypatch.setattr(zoo, "_RELEASES", (DEMO, *shared))
    tensors = encoder(DEMO)
    assert by_file("demo.pth", tensors) == DEMO
    assert by_file("other.pth", tensors) is None
    assert by_file("model.safetensors", tensors) is None
    assert by_file("demo.pth", tensors | {"cls_token": np.zeros((1, 1, 64), np.float32)}) is None
    # Somebody's own network, fine-tuned from it.
    assert by_file("demo.pth", tensors | {"head.weight": np.zeros((5, 96)), "head.bias": np.zeros(5)}) is None


def test_the_right_tensors_pass_with_or_without_what_is_of_pretraining_only() -> None:
    tensors = encoder(DEMO)
    assert check_release(DEMO, tensors) == 4 * 12 + 6
    extra: Tensors = {"mask_token": np.zeros((1, 1, 64)), "decoder_embed.weight": np.zeros((64, 96))}
    assert check_release(DEMO, tensors | extra) == 54
    # Positions of 6 x 6 patches instead of 4 x 4: loading resizes them.
    assert check_release(DEMO, tensors | {"pos_embed": np.zeros((1, 37, 96), np.float32)}) == 54


def test_all_faults_of_a_file_are_told_together() -> None:
    tensors = encoder(DEMO)
    del tensors["blocks.3.mlp.fc2.bias"]
    tensors["cls_token"] = np.zeros((1, 1, 64), np.float32)
    tensors["norm.weight"] = np.full(96, np.nan, np.float32)
    tensors |= {"gamma": np.zeros(1), "head.weight": np.zeros((5, 96)), "head.bias": np.zeros(5)}
    with pytest.raises(WeightsRefused) as refused:
        check_release(DEMO, tensors)
    assert str(refused.value) == (
        "this is not demo, a vit_demo_patch8 of 54 tensors: 1 missing: blocks.3.mlp.fc2.bias; "
        "3 unknown: gamma, head.bias, head.weight; "
        "1 of another shape: cls_token (file (1, 1, 64), network (1, 1, 96)); 1 with NaN or infinity: norm.weight"
    )


def test_another_network_is_refused() -> None:
    other = replace(DEMO, model="vit_mini_patch16", image_px=32)
    with pytest.raises(WeightsRefused, match=r"24 missing: .* and 16 more; 54 of another shape: .* and 46 more"):
        check_release(other, encoder(DEMO))
    # Positions that are no square grid.
    with pytest.raises(WeightsRefused, match="1 of another shape: pos_embed"):
        check_release(DEMO, encoder(DEMO) | {"pos_embed": np.zeros((1, 16, 96), np.float32)})
