"""The door for foreign weights: what is sound comes in whole, and nothing that is hostile runs."""

import argparse
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from eyeground.model import untrusted
from eyeground.model.architecture import recognize
from eyeground.model.formats import _unpickler
from eyeground.model.spec import MaeSpec, ModelSpec
from eyeground.model.torch.mae import MaskedAutoencoder
from eyeground.model.torch.network import build, load
from eyeground.model.untrusted import Foreign, open_foreign
from eyeground.model.weights import Tensors, WeightsRefused, write_weights

from . import hostile_weights as hostile


def numpy_of(state: dict[str, torch.Tensor]) -> Tensors:
    return {name: tensor.numpy() for name, tensor in state.items()}


def retfound_form(path: Path, state: dict[str, torch.Tensor]) -> None:
    """What RETFound's pre-training writes: the weights, and everything to go on."""
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    settings = argparse.Namespace(
        batch_size=1792, lr=None, output_dir=pathlib.Path("out"), device=torch.device("cuda"), input_size=224
    )
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3}
    whole = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 799, "scaler": scaler, "args": settings}
    torch.save(whole, path)


def same(found: Tensors, wanted: Tensors) -> bool:
    return set(found) == set(wanted) and all(np.array_equal(found[name], array) for name, array in wanted.items())


def test_a_checkpoint_in_retfound_s_own_form(tmp_path: Path) -> None:
    mae = MaskedAutoencoder(MaeSpec("vit_demo_patch8", image_px=32))
    retfound_form(tmp_path / "RETFound_like.pth", mae.state_dict())
    foreign = open_foreign(tmp_path / "RETFound_like.pth")
    assert (foreign.framework, foreign.nest) == ("torch", "model")
    assert same(foreign.tensors, numpy_of(mae.state_dict()))
    assert foreign.left_out == (
        "optimizer (a table of 2)", "epoch (799)", "scaler (a table of 3)", "args (argparse.Namespace, thrown away)"
    )  # fmt: skip
    found = recognize({name: array.shape for name, array in foreign.tensors.items()})
    assert (found.kind, found.model, found.image_px, found.decoder) == (
        "masked autoencoder",
        "vit_demo_patch8",
        32,
        True,
    )
    report = load(build(found.spec(classes=5)), foreign.tensors)
    assert report.ok
    assert set(report.new) == {"head.weight", "head.bias", "fc_norm.weight", "fc_norm.bias"}
    assert len(report.loaded) == 4 + 4 * 12
    # torch's own careful loader refuses this very file as it is.
    with pytest.raises(Exception, match="argparse"):
        getattr(torch, "load")(tmp_path / "RETFound_like.pth", weights_only=True)  # noqa: B009


def test_a_checkpoint_in_dinov2_s_teacher_form(tmp_path: Path) -> None:
    spec = ModelSpec("vit_small_patch14_dinov2", classes=3, image_px=28, pool="cls")
    state = {name: tensor for name, tensor in build(spec).state_dict().items() if not name.startswith("head.")}
    teacher = {
        f"backbone.{name.replace('.mlp.fc1.', '.mlp.w12.').replace('.mlp.fc2.', '.mlp.w3.')}": tensor
        for name, tensor in state.items()
    }
    heads = {"dino_head.mlp.0.weight": torch.ones(2, 2), "ibot_head.last_layer.weight_v": torch.ones(2, 2)}
    mask = {"backbone.mask_token": torch.zeros(1, 384)}
    wrong = {name: torch.zeros_like(tensor) for name, tensor in teacher.items()}
    torch.save({"teacher": teacher | mask | heads, "student": wrong, "iteration": 9}, tmp_path / "dino.pth")
    foreign = open_foreign(tmp_path / "dino.pth")
    assert foreign.nest == "teacher"
    assert foreign.left_out[0].startswith("student (a table of ")
    own = {name: array for name, array in foreign.tensors.items() if name in state}
    assert same(own, numpy_of(state))
    found = recognize({name: array.shape for name, array in foreign.tensors.items()})
    assert (found.kind, found.model, found.layer_scale, found.pool) == ("ViT encoder", spec.name, True, None)
    report = load(build(spec), foreign.tensors)
    assert report.ok
    assert report.new == ("head.bias", "head.weight")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_prefixes_half_precision_views_and_tied_weights(tmp_path: Path, zipped: bool) -> None:
    whole = torch.arange(24.0).reshape(2, 3, 4)
    state = {
        "module.turned": whole.permute(2, 0, 1),
        "module.part": whole[:, 1:, ::2],
        "module.tied": whole,
        "module.spread": torch.tensor([1.0, 2.0]).expand(3, 2),
        "module.half": torch.tensor([1.5, -0.1], dtype=torch.float16),
        "module.brain": torch.tensor([1.5, -0.1], dtype=torch.bfloat16),
        "module.double": torch.tensor([0.1], dtype=torch.float64),
        "module.count": torch.tensor(7),
        "module.flags": torch.tensor([True, False]),
        "module.none": torch.zeros(0, 3),
        "module.parameter": torch.nn.Parameter(torch.ones(2)),
    }
    torch.save({"state_dict": state}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = open_foreign(tmp_path / "w.pth").tensors
    for name, tensor in state.items():
        array = found[name.removeprefix("module.")]
        wanted = tensor.detach()
        wanted = wanted.float() if wanted.dtype in (torch.float16, torch.bfloat16) else wanted
        assert array.dtype == wanted.numpy().dtype, name
        assert np.array_equal(array, wanted.numpy()), name


@pytest.mark.parametrize(
    "nest", ["", "model", "teacher", "state_dict", "model_state_dict", "module", "net", "params", "model.state_dict"]
)
def test_where_the_tensors_lie_is_said(tmp_path: Path, nest: str) -> None:
    whole: dict[str, object] = {"a": torch.ones(2)}
    for word in reversed(nest.split(".") if nest else []):
        whole = {"epoch": 3, word: whole, "model_ema": {"a": torch.zeros(2)}}
    torch.save(whole, tmp_path / "w.pth")
    foreign = open_foreign(tmp_path / "w.pth")
    assert foreign.nest == nest
    assert foreign.tensors["a"].tolist() == [1, 1]
    assert len(foreign.left_out) == 2 * (nest.count(".") + bool(nest))


def test_an_average_of_the_weights_is_never_taken_for_them(tmp_path: Path) -> None:
    torch.save({"model_ema": {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(WeightsRefused, match=r"no table of tensors.*it holds: model_ema \(a table of 1\), epoch \(3\)"):
        open_foreign(tmp_path / "w.pth")


def test_safetensors_come_in_without_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "_through_the_child", None)
    write_weights(tmp_path / "w.bin", {"backbone.a": np.ones(2, np.float16)})
    foreign = open_foreign(tmp_path / "w.bin")
    assert foreign.framework == "safetensors"
    assert foreign.tensors["a"].dtype == np.float32


@pytest.mark.parametrize(("said", "framework"), [("pd", "paddle"), ("ms", "mindspore"), ("pt", "safetensors")])
def test_safetensors_that_say_who_wrote_them_are_taken_in_its_layout(tmp_path: Path, said: str, framework: str) -> None:
    write_weights(tmp_path / "w.safetensors", {"head.weight": np.ones((5, 2))}, {"format": said})
    foreign = open_foreign(tmp_path / "w.safetensors")
    assert foreign.framework == framework
    assert foreign.tensors["head.weight"].shape == ((2, 5) if said == "pd" else (5, 2))


def test_a_link_to_a_plain_file_is_followed(tmp_path: Path) -> None:
    # The hub's cache is made of such links.
    torch.save({"a": torch.ones(2)}, tmp_path / "blob")
    (tmp_path / "w.pth").symlink_to(tmp_path / "blob")
    assert list(open_foreign(tmp_path / "w.pth").tensors) == ["a"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "no plain file"),
        (lambda path: os.mkfifo(path), "no plain file"),
        (lambda path: path.symlink_to("/dev/zero"), "no plain file"),
        (lambda path: path.symlink_to(path), "cannot be opened"),
        (lambda path: None, "no such weights file"),
    ],
)
def test_what_is_no_plain_file(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    make(tmp_path / "w.pth")
    with pytest.raises(WeightsRefused, match=words):
        open_foreign(tmp_path / "w.pth")


def refused(path: Path, **options: float) -> str:
    """Open a hostile file; give the reason for its refusal."""
    with pytest.raises(WeightsRefused) as caught:
        open_foreign(path, **options)
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert len(told) < len(str(path)) + 600
    return told.removeprefix(f"{path}: ")


@pytest.mark.parametrize("carrier", hostile.CARRIERS)
@pytest.mark.parametrize("kind", hostile.RUNS)
def test_a_pickle_that_would_run_something_is_refused_by_name(tmp_path: Path, kind: str, carrier: str) -> None:
    wrap, suffix = hostile.CARRIERS[carrier]
    canary, path = tmp_path / "canary", tmp_path / f"w{suffix}"
    path.write_bytes(wrap(hostile.RUNS[kind](canary)))
    before = set(Path("/proc/self/fd").iterdir())
    assert "could run code" in refused(path)
    assert not canary.exists()
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("kind", hostile.RUNS)
def test_the_same_pickle_does_run_in_a_careless_program(tmp_path: Path, kind: str) -> None:
    # Otherwise the test above would pass with files that do nothing.
    (tmp_path / "w").write_bytes(hostile.RUNS[kind](tmp_path / "canary"))
    code = "import sys, importlib\nimportlib.import_module('pick' + 'le').load(open('w', 'rb'))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    for _ in range(100):  # Popen does not wait
        if (tmp_path / "canary").exists():
            break
        time.sleep(0.05)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("carrier", ["torch zip", "torch stream"])
def test_the_same_file_does_run_in_a_careless_torch(tmp_path: Path, carrier: str) -> None:
    wrap, _ = hostile.CARRIERS[carrier]
    (tmp_path / "w.pth").write_bytes(wrap(hostile.RUNS["os.system by GLOBAL"](tmp_path / "canary")))
    code = "import torch\ngetattr(torch, 'load')('w.pth', **{'weights' + '_only': False})"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("carrier", hostile.CARRIERS)
@pytest.mark.parametrize("kind", hostile.TRICKS)
def test_a_trick_with_what_is_allowed_is_refused(tmp_path: Path, kind: str, carrier: str) -> None:
    wrap, suffix = hostile.CARRIERS[carrier]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(wrap(hostile.TRICKS[kind](tmp_path / "canary")))
    assert "ended the process" not in refused(path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", hostile.FILES)
def test_a_hostile_file_is_refused(tmp_path: Path, kind: str) -> None:
    suffix, words, make = hostile.FILES[kind]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(make(tmp_path / "canary"))
    assert words in refused(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name]


def test_all_forbidden_names_are_told_at_once(tmp_path: Path) -> None:
    names = [("os", "system"), ("builtins", "eval"), ("shutil", "rmtree")]
    body = b"(" + b"".join(hostile.name(*each) for each in names) + b"t"
    (tmp_path / "w.pth").write_bytes(hostile.zipped(hostile.pickled(body)))
    assert refused(tmp_path / "w.pth").startswith("asks for os.system, builtins.eval, shutil.rmtree, which no tensor")


def test_a_whole_model_is_refused_and_its_classes_named(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    assert "torch.nn.modules.linear.Linear" in refused(tmp_path / "w.pth")


@pytest.mark.parametrize("kind", hostile.RUNS)
def test_the_wall_behind_the_scan_holds_too(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(_unpickler, "scan", lambda file, allowed: file.seek(0, 2))
    with pytest.raises(WeightsRefused):
        _unpickler.unpickle(io.BytesIO(hostile.RUNS[kind](tmp_path / "canary")))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("carrier", hostile.CARRIERS)
def test_what_never_ends_is_ended(tmp_path: Path, carrier: str) -> None:
    wrap, suffix = hostile.CARRIERS[carrier]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(wrap(hostile.doublings(tmp_path)))
    began = time.monotonic()
    assert refused(path, seconds=2).startswith("took longer than 2 s")
    assert time.monotonic() - began < 20
    assert _children() == []


def _children() -> list[str]:
    """Processes of ours that open foreign files."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"foreign_child" in words and int(parent) == os.getpid():
            found.append(folder.name)
    return found


def test_what_needs_too_much_memory_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "w.pdparams").write_bytes(hostile.TRICKS["a memo of four thousand million"](tmp_path))
    assert refused(tmp_path / "w.pdparams").startswith("needs more than 1,024 MiB to open")


@pytest.mark.parametrize(("end", "words"), [("kill -9 $$", r"\(SIGKILL\)"), ("exit 3", r"\(code 3\)")])
def test_a_child_that_dies_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, words: str) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{end}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(WeightsRefused, match=f"ended the process that opens foreign files {words}"):
        open_foreign(tmp_path / "w.pth")


def test_a_full_disk_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    with Path("/dev/full").open("wb") as full, (tmp_path / "said").open("wb+") as said:
        files = iter([full, said])
        monkeypatch.setattr(untrusted.tempfile, "TemporaryFile", lambda dir: next(files))
        assert "(TMPDIR) is full; free space there" in refused(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"[" * 100_000, b'{"framework": "evil", "nest": "", "left_out": []}', b'{"refused": 3}']
)
def test_a_child_that_was_taken_over_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")

    def taken_over(path: Path, files: tuple[object, object, object], words: object, seconds: float) -> int:
        files[2].write(answer)  # type: ignore[attr-defined]
        return 0

    monkeypatch.setattr(untrusted, "_run", taken_over)
    assert refused(tmp_path / "w.pth").startswith("ended the process")


def test_what_a_child_lets_out_is_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")

    def taken_over(path: Path, files: tuple[object, object, object], words: object, seconds: float) -> int:
        files[1].write(b"\x80\x04}.")  # type: ignore[attr-defined]
        files[2].write(b'{"framework": "torch", "nest": "", "left_out": []}')  # type: ignore[attr-defined]
        return 0

    monkeypatch.setattr(untrusted, "_run", taken_over)
    assert "not a whole safetensors file" in refused(tmp_path / "w.pth")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(tmp_path: Path, bad: float) -> None:
    torch.save({"good": torch.ones(2), "bad": torch.tensor([1.0, bad])}, tmp_path / "w.pth")
    assert "NaN or infinity in 1 tensors, first bad" in refused(tmp_path / "w.pth")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(2)}, path)
    run = untrusted._run

    def beside(*given: object) -> int:
        code = run(*given)  # type: ignore[arg-type]
        with path.open("ab") as file:
            file.write(b"more")
        return code

    monkeypatch.setattr(untrusted, "_run", beside)
    assert "written to while it was read" in refused(path)


def test_a_pickle_in_place_of_numbers_is_only_numbers(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "w.pth"
    raw = hostile.RUNS["os.system by GLOBAL"](canary)
    raw += bytes(-len(raw) % 4)
    pickle = hostile.tensor_pickle(size=(len(raw) // 4,), stride=(1,), count=len(raw) // 4)
    path.write_bytes(hostile.zipped(pickle, ("archive/data/0", raw)))
    found = open_foreign(path)
    assert found.tensors["weight"].tobytes() == raw
    assert not canary.exists()


@pytest.mark.parametrize("form", ["zip", "stream", "safetensors"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, form: str) -> None:
    whole, path = tmp_path / "whole", tmp_path / "w.pth"
    state = {f"blocks.{n}.weight": torch.full((8, 8), float(n)) for n in range(4)}
    if form == "safetensors":
        write_weights(whole, numpy_of(state))
    else:
        torch.save({"model": state, "epoch": 3}, whole, _use_new_zipfile_serialization=form == "zip")
    data = whole.read_bytes()
    for length in {1, 2, 7, 40, len(data) // 4, len(data) // 2, 3 * len(data) // 4, len(data) - 30, len(data) - 1}:
        path.write_bytes(data[:length])
        refused(path)


def test_the_hash_is_that_of_the_file_as_given(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    told = subprocess.run(["sha256sum", tmp_path / "w.pth"], capture_output=True, text=True, check=True).stdout
    foreign: Foreign = open_foreign(tmp_path / "w.pth")
    assert foreign.sha256 == told.split()[0]
