"""Weights files: read safely, matched key by key, refused on surprise."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.network import build, load
from eyeground.model.weights import (
    WeightsRefused,
    canonical,
    fit,
    has_folded_batch_norm,
    read_weights,
    resize_position_embedding,
    write_weights,
)

SPEC = ModelSpec("vit_demo_patch8", classes=3, image_px=32)


def file_of(spec: ModelSpec) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}


def test_round_trip_and_bfloat16(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32)})
    back = read_weights(tmp_path / "w.safetensors")
    assert back["b"].tolist() == [0, 1, 2]
    assert back["a"].dtype == np.float32
    from safetensors.torch import save_file

    save_file({"x": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, tmp_path / "bf16.safetensors")
    assert read_weights(tmp_path / "bf16.safetensors")["x"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04pickle", struct.pack("<Q", 10**12) + b"{}", b"\x02\0\0\0\0\0\0\0{}x"]
)
def test_files_that_are_not_safetensors_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match="not a whole safetensors file"):
        read_weights(path)


def test_pickles_nan_and_missing_files_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsRefused, match="a pickle can run code"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(WeightsRefused, match="no such weights file"):
        read_weights(tmp_path / "none.safetensors")
    write_weights(tmp_path / "nan.safetensors", {"good": np.zeros(1), "bad": np.array([np.nan])})
    with pytest.raises(WeightsRefused, match="NaN or infinity in 1 tensors, first bad"):
        read_weights(tmp_path / "nan.safetensors")
    header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "f8.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0")
    with pytest.raises(WeightsRefused, match="unknown number types"):
        read_weights(tmp_path / "f8.safetensors")


def test_an_mae_file_loads_with_everything_accounted_for() -> None:
    file = file_of(ModelSpec("vit_demo_patch8", classes=3, image_px=32, pool="cls"))
    del file["head.weight"], file["head.bias"]
    file |= {"mask_token": np.zeros(1), "decoder_embed.weight": np.zeros((2, 2)), "decoder_pos_embed": np.zeros(2)}
    report = load(build(SPEC), {f"module.{name}": array for name, array in file.items()})
    assert report.ok
    assert set(report.new) == {"head.weight", "head.bias", "fc_norm.weight", "fc_norm.bias"}
    assert len(report.left_out) == 5  # three of the decoder, two of the final norm
    assert not report.missing
    assert len(report.loaded) == len(file) - 5


def test_dinov2_names_layer_scale_and_another_grid() -> None:
    spec = ModelSpec("vit_demo_patch8", classes=3, image_px=32, pool="cls", options={"init_values": 1e-5})
    big = ModelSpec("vit_demo_patch8", classes=3, image_px=48, pool="cls", options={"init_values": 1e-5})
    file = {}
    for name, array in file_of(big).items():
        renamed = name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.")
        if not name.startswith("head."):
            file[f"backbone.{renamed}"] = array
    report = load(build(spec), file)
    assert report.resized == ("pos_embed 37 -> 17 tokens",)
    assert report.new == ("head.bias", "head.weight")
    assert any(name.endswith("ls1.gamma") for name in report.loaded)


def test_a_dinov2_teacher_with_its_heads_beside_the_backbone() -> None:
    spec = ModelSpec("vit_demo_patch8", classes=3, image_px=32, pool="cls")
    file = {f"backbone.{name}": array for name, array in file_of(spec).items() if not name.startswith("head.")}
    report = load(
        build(spec), {**file, "dino_head.mlp.0.weight": np.zeros(2), "ibot_head.last_layer.bias": np.zeros(2)}
    )
    assert len(report.loaded) == len(file)
    assert len(report.left_out) == 2


def test_a_renamed_or_lost_key_is_an_error_and_changes_nothing() -> None:
    network = build(SPEC)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    file = file_of(SPEC)
    file["blocks.0.norm1.gamma"] = file.pop("blocks.0.norm1.weight")  # MindSpore's name for it
    with pytest.raises(WeightsRefused, match=r"missing: blocks\.0\.norm1\.weight.*unexpected: blocks\.0\.norm1\.gamma"):
        load(network, file)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_weights_under_an_encoder_prefix_do_load() -> None:
    # Fault 1: a source saved under `encoder.` and loaded non-strictly into a bare encoder, so that nothing was loaded.
    file = {f"encoder.{name}": array for name, array in file_of(SPEC).items()}
    assert len(load(build(SPEC), file).loaded) == len(file)
    mixed = {**file, "neighbor.weight": np.zeros((2, 2))}
    with pytest.raises(WeightsRefused, match="missing"):
        load(build(SPEC), mixed)


def test_a_head_of_another_size_starts_fresh_and_is_named() -> None:
    report = load(build(SPEC), file_of(ModelSpec("vit_demo_patch8", classes=1000, image_px=32)))
    assert report.new == ("head.bias", "head.weight")
    assert "a head of 1000 outputs; this task has 3" in report.left_out[0]


def test_two_keys_for_one_name_are_refused() -> None:
    with pytest.raises(WeightsRefused, match="two keys"):
        canonical({"blocks.0.mlp.w12.bias": np.zeros(1), "blocks.0.mlp.fc1.bias": np.zeros(1)})


def test_transposed_linear_weights_are_an_error() -> None:
    # Paddle keeps Linear weights as [in, out]: a square matrix would slip through, the MLP's does not.
    file = file_of(SPEC)
    file["blocks.0.mlp.fc1.weight"] = file["blocks.0.mlp.fc1.weight"].T
    with pytest.raises(WeightsRefused, match=r"mismatched: blocks\.0\.mlp\.fc1\.weight"):
        load(build(SPEC), file)


@pytest.mark.parametrize(("old", "new"), [(14, 24), (14, 16), (8, 4), (7, 7), (3, 10)])
def test_position_resize_equals_torch_bicubic(old: int, new: int) -> None:
    before = np.random.default_rng(0).standard_normal((1, old * old + 1, 6)).astype(np.float32)
    ours = resize_position_embedding(before, tokens=new * new + 1, prefix_tokens=1)
    grid = torch.from_numpy(before[:, 1:]).reshape(1, old, old, 6).permute(0, 3, 1, 2)
    theirs = torch.nn.functional.interpolate(grid, (new, new), mode="bicubic", align_corners=False)
    assert np.allclose(ours[:, 1:], theirs.permute(0, 2, 3, 1).reshape(1, -1, 6).numpy(), atol=1e-5)
    assert np.array_equal(ours[:, :1], before[:, :1])


def test_positions_that_are_no_square_are_an_error_not_a_guess() -> None:
    with pytest.raises(ValueError, match="not square"):
        resize_position_embedding(np.zeros((1, 12, 4)), tokens=17, prefix_tokens=1)
    _, report = fit({"pos_embed": np.zeros((1, 12, 4))}, {"pos_embed": (1, 17, 4)}, head="head")
    assert not report.ok


def test_folded_batch_norm_is_recognized_and_kept_frozen(realdata: Path) -> None:
    tensors = read_weights(realdata / "weights" / "mobilenetv2_100_in1k.safetensors")
    assert has_folded_batch_norm(tensors)
    plain = {"bn.running_mean": np.zeros(2), "bn.running_var": np.array([0.5, 1.5])}
    assert not has_folded_batch_norm(plain)
    spec = ModelSpec("mobilenetv2_100", classes=3, image_px=64, options={"pad_type": "same"})
    from eyeground.model.optimization import Optimization

    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[:2]
    for frozen in (True, False):
        engine = TorchEngine(
            spec,
            tensors=tensors,
            optimization=Optimization(layer_decay=1),
            device="cpu",
            precision="fp32",
            frozen_batch_norm=frozen,
        )
        before = engine.state()["weights"]["bn1.running_mean"].copy()
        engine.train_step([(images, targets)], lr=1e-4, seed=0)
        assert np.array_equal(engine.state()["weights"]["bn1.running_mean"], before) is frozen


def test_a_counter_of_an_earlier_checkpoint_is_taken() -> None:
    # Until November 2026 our checkpoints held counters with the shape (1,).
    network = build(ModelSpec("mobilenetv2_035", classes=2))
    tensors = {name: np.atleast_1d(tensor.numpy()) for name, tensor in network.state_dict().items()}
    assert tensors["bn1.num_batches_tracked"].shape == (1,)
    assert load(network, tensors).ok


def test_folded_batch_norm_is_seen_beside_a_projector() -> None:
    # The projector of a SimCLR run has statistics of its own; the encoder's stay folded.
    folded = {"backbone.bn1.running_mean": np.zeros(4), "backbone.bn1.running_var": np.full(4, 0.999)}
    projector = {"projector.1.running_mean": np.ones(4), "projector.1.running_var": np.arange(4.0)}
    assert has_folded_batch_norm(canonical({**folded, **projector}))
    assert not has_folded_batch_norm(canonical({**folded, **projector, "backbone.bn2.running_mean": np.ones(4)}))
