"""Conversion with proof: every target, there and back; what cannot be proved is not written."""

import fcntl
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.model import conversion
from eyeground.model.architecture import parameter_shapes
from eyeground.model.certificate import certificate_of, compare_layers, read_bound
from eyeground.model.conversion import Shown, Target, Unproved, WeightsFile, convert, unequal, verify
from eyeground.model.dialects import DIALECTS, from_framework, name_in, to_framework
from eyeground.model.environment import EngineMissing, python_of
from eyeground.model.onnx.engine import OnnxEngine
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import WeightsRefused, write_weights

SPEC = ModelSpec("vit_demo_patch8", classes=3, image_px=24)
SUFFIX = {"paddle": ".pdparams", "mindspore": ".ckpt", "onnx": ".onnx", "safetensors": ".safetensors"}
SHOWN = Shown(np.random.default_rng(0).standard_normal((3, 3, 24, 24)).astype(np.float32), "three images of noise")


def tensors_of(spec: ModelSpec, *, head: bool = True, seed: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(float("norm" in name and name.endswith("weight")), 0.1, shape).astype(np.float32)
        for name, shape in parameter_shapes(spec, head=head).items()
    }


def a_file(folder: Path, spec: ModelSpec = SPEC, *, head: bool = True, **more: np.ndarray) -> WeightsFile:
    path = folder / "source.safetensors"
    write_weights(path, tensors_of(spec, head=head) | more)
    return WeightsFile(path, open_foreign(path), spec, has_head=head)


def converted(source: WeightsFile, target: Target, out: Path) -> Any:
    """Convert, or skip where the framework is not installed."""
    try:
        return convert(source, target=target, out=out, shown=SHOWN, metadata={"licence": "CC0-1.0"}, threads=1)
    except EngineMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("target", ["paddle", "mindspore", "onnx", "safetensors"])
def test_there_and_back_is_byte_identical_and_certified(tmp_path: Path, target: Target) -> None:
    source, out = a_file(tmp_path), tmp_path / f"made{SUFFIX[target]}"
    certificate = converted(source, target, out)
    assert certificate.problems == []
    back = open_foreign(out)
    assert unequal(source.tensors, {name: back.tensors[name] for name in source.tensors}) == ()
    # And from there to a file of the first kind.
    again = tmp_path / "again.safetensors"
    converted(WeightsFile(out, back, SPEC), "safetensors", again)
    assert unequal(source.tensors, open_foreign(again).tensors) == ()
    told = read_bound(out)
    assert told is not None
    assert told["proved"] is True
    assert told["target"]["framework"] == target
    assert [row["layer"] for row in told["layers"]] == [
        "patch_embed", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "fc_norm", "head"
    ]  # fmt: skip
    assert told["logits_max_error"] == told["layers"][-1]["max_error"] <= 1e-4
    assert {key[0] for key in told["keys"]} == set(source.tensors)
    assert told["parameters"] == sum(array.size for array in source.tensors.values())
    # Bound by its hash: a changed file has no certificate.
    content = bytearray(out.read_bytes())
    content[len(content) // 2] ^= 1
    out.write_bytes(content)
    assert read_bound(out) is None


@pytest.mark.parametrize("target", ["paddle", "mindspore", "onnx"])
def test_an_encoder_is_converted_without_a_head(tmp_path: Path, target: Target) -> None:
    spec = ModelSpec("vit_demo_patch8", classes=1, image_px=24, pool="cls")
    source = a_file(tmp_path, spec, head=False, decoder_pred=np.zeros(3, np.float32))
    assert source.left_out == ("decoder_pred: no part of the classifier",)
    assert source.surplus == ()
    out = tmp_path / f"made{SUFFIX[target]}"
    certificate = converted(source, target, out)
    assert [row.layer for row in certificate.layers][-1] == "norm"
    assert "head.weight" not in {key[0] for key in certificate.keys}
    assert set(open_foreign(out).tensors) == set(source.tensors)
    if target == "onnx":  # the graph answers with what a head would see
        found = OnnxEngine(out.read_bytes(), layers=["norm", "features"], answer="features").activations(SHOWN.images)
        assert np.allclose(found["norm"][:, 0], found["features"], atol=1e-6)


PLAIN = {
    "paddle": """
import json, sys
from paddle import nn
class network(nn.Layer): pass
def place(name, shape):
    *path, last = name.split(".")
    layer = network
    for word in path:
        if word not in layer._sub_layers:
            layer.add_sublayer(word, nn.Layer())
        layer = layer._sub_layers[word]
    layer.add_parameter(last, layer.create_parameter(shape))
    return name
network, FILE = nn.Layer(), sys.argv[1]
shapes = json.loads(sys.argv[2])
for name, shape in shapes.items():
    place(name, shape)
""",
    "mindspore": """
import json, sys, numpy
from mindspore import Parameter, Tensor, nn
class Cell(nn.Cell): pass
network, FILE = Cell(), sys.argv[1]
shapes = json.loads(sys.argv[2])
for name, shape in shapes.items():
    *path, last = name.split(".")
    cell = network
    for word in path:
        if word not in cell._cells:
            cell.insert_child_to_cell(word, Cell())
        cell = cell._cells[word]
    cell.insert_param_to_cell(last, Parameter(Tensor(numpy.zeros(shape, "float32")), name=last))
network.update_parameters_name()
""",
}
SUMS = {
    "paddle": "print(json.dumps({n: float(p.numpy().astype('f8').sum()) for n, p in network.state_dict().items()}))",
    "mindspore": "print(json.dumps({p.name: float(p.asnumpy().astype('f8').sum()) for p in network.get_parameters()}))",
}


@pytest.mark.parametrize("target", ["paddle", "mindspore"])
def test_the_certificates_lines_open_the_file_in_plain_code(tmp_path: Path, target: Any) -> None:
    source, out = a_file(tmp_path), tmp_path / f"made{SUFFIX[target]}"
    told = converted(source, target, out).to_json()
    shapes = {key[1]: list(reversed(key[2])) if key[3] else list(key[2]) for key in told["keys"]}
    program = "\n".join((PLAIN[target], told["opens_with"], SUMS[target]))
    done = subprocess.run(
        [str(python_of(target)), "-c", program, str(out), json.dumps(shapes)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
    sums = json.loads(done.stdout.splitlines()[-1])
    assert sums.keys() == shapes.keys()
    for name, array in source.tensors.items():
        assert sums[name_in(target, name)] == pytest.approx(float(array.astype("f8").sum()), abs=1e-9), name


def test_what_cannot_be_proved_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = a_file(tmp_path), tmp_path / "made.safetensors"
    written = conversion.write_weights

    def spoilt(path: Path, tensors: dict[str, np.ndarray], metadata: Any) -> None:
        written(path, tensors | {"blocks.2.norm1.bias": np.zeros(96, np.float32)}, metadata)

    monkeypatch.setattr(conversion, "write_weights", spoilt)
    with pytest.raises(Unproved, match=r"1 keys differ: blocks\.2\.norm1\.bias; .* first blocks\.2 by"):
        converted(source, "safetensors", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.safetensors"]


@pytest.mark.parametrize("target", ["paddle", "mindspore"])
def test_a_wrong_rule_of_conversion_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Any) -> None:
    source, out = a_file(tmp_path), tmp_path / f"made{SUFFIX[target]}"
    converted(source, target, out)  # skips without the framework
    load_state = conversion.RemoteEngine.load_state

    def transposed(self: Any, state: Any) -> None:
        weights = dict(state["weights"])
        for name in weights:
            if name.endswith("attn.proj.weight"):
                weights[name] = weights[name].T.copy()
        load_state(self, {"weights": weights})

    monkeypatch.setattr(conversion.RemoteEngine, "load_state", transposed)
    with pytest.raises(Unproved, match=r"4 keys differ.*transposed_linear at blocks\.0\.attn\.proj"):
        converted(source, target, tmp_path / f"other{SUFFIX[target]}")
    assert not (tmp_path / f"other{SUFFIX[target]}").exists()


def test_a_file_that_holds_more_is_not_the_same(tmp_path: Path) -> None:
    source = a_file(tmp_path)
    path = tmp_path / "more.safetensors"
    bigger = ModelSpec("vit_demo_patch8", classes=3, image_px=24)
    surplus = {name.replace("blocks.0", "blocks.4"): a for name, a in source.tensors.items() if "blocks.0." in name}
    surplus |= {"blocks.0.ls1.gamma": np.full(96, 0.5, np.float32), "decoder_pred.bias": np.zeros(3, np.float32)}
    write_weights(path, source.tensors | surplus)
    more = WeightsFile(path, open_foreign(path), bigger)
    for first, second in ((more, source), (source, more)):
        found = verify(first, second, shown=SHOWN, threads=1)
        assert len(found.unequal) == 13  # twelve of the fifth block, one layer scale; no decoder
        assert found.problems
        assert any("decoder_pred" in words for words in found.left_out)


def test_different_networks_are_refused_before_anything_is_run(tmp_path: Path) -> None:
    first = a_file(tmp_path)
    (tmp_path / "b").mkdir()
    second = a_file(tmp_path / "b", ModelSpec("vit_demo_patch8", classes=5, image_px=32))
    with pytest.raises(WeightsRefused, match="different networks: image_px 24 and 32, classes 3 and 5"):
        verify(first, second, shown=SHOWN)


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("vit_demo_patch8", classes=3, image_px=24, options={"qk_norm": True}),
        ModelSpec("mobilenetv3_small_050", classes=3, image_px=24),
    ],
    ids=lambda spec: spec.name,
)
def test_any_network_of_timms_goes_to_onnx(tmp_path: Path, spec: ModelSpec) -> None:
    pytest.importorskip("onnxscript")
    path, out = tmp_path / "w.safetensors", tmp_path / "made.onnx"
    write_weights(path, {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()})
    certificate = converted(WeightsFile(path, open_foreign(path), spec), "onnx", out)
    assert certificate.problems == []
    assert read_bound(out) is not None
    assert b"site-packages" not in out.read_bytes(), "torch notes which files of this machine made a node"


def test_a_graph_with_another_answer_is_no_proof(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    source, out = a_file(tmp_path), tmp_path / "made.onnx"
    converted(source, "onnx", out)
    model = onnx.load_model_from_string(out.read_bytes())
    model.graph.node.append(onnx.helper.make_node("Neg", ["head"], ["minus"]))
    model.graph.output[0].name = "minus"
    out.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsRefused, match=r"gives \['minus'\], not \['images'\] and \['head'\]"):
        verify(WeightsFile(out, open_foreign(out), SPEC), source, shown=SHOWN, threads=1)


def test_a_graph_that_never_ends_is_ended(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Add", ["carried", "carried"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info("going", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", kind, None),
        ],
        [
            helper.make_tensor_value_info("still", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", kind, None),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node(
                "Constant", [], ["turns"], value=helper.make_tensor("t", onnx.TensorProto.INT64, [], [2**62])
            ),
            helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("y", onnx.TensorProto.BOOL, [], [True])),
            helper.make_node("Loop", ["turns", "yes", "images"], ["head"], body=body),
        ],
        "endless",
        [helper.make_tensor_value_info("images", kind, ["N", 3, 24, 24])],
        [helper.make_tensor_value_info("head", kind, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    engine = OnnxEngine(model.SerializeToString(), layers=["head"], answer="head", seconds=4)
    with pytest.raises(WeightsRefused, match=r"could not be run: it (took too long|ended its process)"):
        engine.activations(SHOWN.images)


@pytest.mark.parametrize("content", [b"", b"\x08\x08not a graph", bytes(range(256)) * 9])
def test_a_damaged_graph_is_refused_in_words(content: bytes) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(WeightsRefused, match="the ONNX graph could not be run"):
        OnnxEngine(content, layers=["head"], answer="head").activations(SHOWN.images)


def test_files_that_differ_are_told_by_key_and_layer(tmp_path: Path) -> None:
    source = a_file(tmp_path)
    path = tmp_path / "other.safetensors"
    changed = source.tensors["blocks.1.mlp.fc2.bias"] + np.float32(0.01)
    write_weights(path, source.tensors | {"blocks.1.mlp.fc2.bias": changed})
    found = verify(WeightsFile(path, open_foreign(path), SPEC), source, shown=SHOWN, threads=1)
    assert found.unequal == ("blocks.1.mlp.fc2.bias",)
    assert next(row.layer for row in found.layers if not row.ok) == "blocks.1"
    assert "1 keys differ: blocks.1.mlp.fc2.bias" in found.problems[0]
    assert verify(source, source, shown=SHOWN, threads=1).problems == []


def test_a_file_of_another_network_is_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = tensors_of(SPEC)
    del tensors["blocks.3.norm2.weight"]
    write_weights(path, tensors | {"head.weight": np.zeros((9, 96), np.float32)})
    with pytest.raises(WeightsRefused, match=r"norm2\.weight is missing; head\.weight has shape \(9, 96\)"):
        WeightsFile(path, open_foreign(path), SPEC)


def test_two_conversions_at_once_do_not_mix(tmp_path: Path) -> None:
    source, out = a_file(tmp_path), tmp_path / "made.safetensors"
    with (tmp_path / ".made.safetensors.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FileExistsError, match="another conversion is writing it"):
            converted(source, "safetensors", out)
    assert not out.exists()
    assert not certificate_of(out).exists()


def test_a_layer_that_is_missing_or_not_finite_is_infinitely_far() -> None:
    reference = {"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)}
    rows = compare_layers({"a": np.array([1, np.nan]), "c": np.ones(3)}, reference)
    assert [row.max_error for row in rows] == [float("inf")] * 3
    assert not any(row.ok for row in rows)


def test_small_answers_are_held_to_their_own_size() -> None:
    # A fresh head's logits are near 0.001: an error of 5e-5 is 5% of them.
    small = {"head": np.full(3, 1e-3)}
    assert not compare_layers({"head": np.full(3, 1.05e-3)}, small, logits=True)[0].ok
    # And great ones to 1e-4 all the same.
    great = {"blocks.0": np.full(3, 30.0), "head": np.full(3, 30.0)}
    rows = compare_layers({"blocks.0": np.full(3, 30.001), "head": np.full(3, 30.001)}, great, logits=True)
    assert [row.ok for row in rows] == [True, False]


@pytest.mark.parametrize("framework", list(DIALECTS))
def test_names_and_layouts_come_back(framework: Any) -> None:
    spec = ModelSpec("vit_small_patch14_dinov2", classes=3, image_px=28, pool="cls")
    tensors = tensors_of(spec)
    there = to_framework(framework, tensors)
    assert len(there) == len(tensors)
    back = from_framework(framework, there)
    assert list(back) == list(tensors)
    assert all((back[name] == array).all() for name, array in tensors.items())
    # Layer scale is called gamma in timm itself, and stays so.
    assert "blocks.0.ls1.gamma" in there
