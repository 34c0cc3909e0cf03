"""``eyeground weights inspect``, and a foreign file as the start of a training."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from eyeground.model.spec import MaeSpec, ModelSpec
from eyeground.model.torch.mae import MaskedAutoencoder
from eyeground.model.torch.network import build
from eyeground.model.weights import write_weights
from tests.flow.tables import Answer
from tests.model import hostile_weights as hostile
from tests.model.test_untrusted import retfound_form

Call = Callable[..., Answer]


@pytest.fixture(scope="module")
def mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small masked autoencoder in the form that RETFound publishes."""
    path = tmp_path_factory.mktemp("weights") / "RETFound_like.pth"
    torch.manual_seed(0)
    retfound_form(path, MaskedAutoencoder(MaeSpec("vit_demo_patch8", image_px=32)).state_dict())
    return path


def test_a_program_gets_every_key(eyeground: Call, mae: Path) -> None:
    done = eyeground("weights", "inspect", mae, "--json")
    assert done.code == 0
    told = json.loads(done.out.splitlines()[-1])
    assert set(told) == {
        "file", "sha256", "framework", "nest", "architecture", "parameters", "keys", "left_out", "licence"
    }  # fmt: skip
    state = MaskedAutoencoder(MaeSpec("vit_demo_patch8", image_px=32)).state_dict()
    assert told["keys"] == {name: list(tensor.shape) for name, tensor in state.items()}
    assert told["parameters"] == sum(tensor.numel() for tensor in state.values())
    assert (told["framework"], told["nest"], told["licence"]) == ("torch", "model", None)
    assert told["left_out"][1] == "epoch (799)"
    assert told["architecture"] | {"reason": ""} == {
        "kind": "masked autoencoder", "model": "vit_demo_patch8", "reason": "", "patch_px": 8, "width": 96, "depth": 4,
        "image_px": 32, "classes": None, "pool": None, "layer_scale": False, "decoder": True,
    }  # fmt: skip


def test_a_person_gets_a_short_list(eyeground: Call, mae: Path) -> None:
    done = eyeground("weights", "inspect", mae)
    assert "RETFound_like.pth: masked autoencoder · vit_demo_patch8 · image 32 px, patch 8 px" in done.err
    assert "origin: torch, tensors under 'model'" in done.err
    assert "left out: args (argparse.Namespace, thrown away)" in done.err
    assert "more (--json shows all)" in done.err
    assert done.err.index("blocks.0.attn.qkv.bias") < done.err.index("patch_embed.proj.weight")
    assert done.out == f"use it: eyeground finetune CONFIG weights={mae} model=vit_demo_patch8\n"


def test_the_licence_in_a_header_is_told(eyeground: Call, tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", {"a": np.ones(2)}, {"licence": "CC-BY-NC-4.0"})
    told = json.loads(eyeground("weights", "inspect", tmp_path / "w.safetensors", "--json").out)
    assert (told["licence"], told["architecture"]["kind"]) == ("CC-BY-NC-4.0", "not a ViT known here")


def test_the_licence_of_a_published_file_is_told(eyeground: Call, mae: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from eyeground.model import zoo

    told = json.loads(eyeground("weights", "inspect", mae, "--json").out)
    known = (*zoo._RELEASES, replace(zoo.by_name("RETFound_mae_meh"), name="known", sha256=told["sha256"]))
    monkeypatch.setattr(zoo, "_RELEASES", known)
    assert json.loads(eyeground("weights", "inspect", mae, "--json").out)["licence"] == "CC-BY-NC-4.0"


def test_a_trojaned_file_is_refused_with_an_exit_code(eyeground: Call, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(hostile.zipped(hostile.RUNS["os.system by STACK_GLOBAL"](tmp_path / "canary")))
    done = eyeground("weights", "inspect", path, "--json")
    assert done.code == 2
    assert json.loads(done.out)["kind"] == "WeightsRefused"
    assert f"error: {path}: asks for os.system, which no tensor needs" in done.err
    assert not (tmp_path / "canary").exists()


def test_names_from_the_file_cannot_move_the_cursor(eyeground: Call, tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(2)}, "\x1b[2Jevil": "\x1b[31m"}, tmp_path / "w.pth")
    done = eyeground("weights", "inspect", tmp_path / "w.pth")
    assert "\x1b" not in done.out + done.err
    torch.save({"\x1b[2Jevil": torch.ones(2)}, tmp_path / "w.pth")
    assert "\x1b" not in eyeground("weights", "inspect", tmp_path / "w.pth").err


def test_a_foreign_file_starts_a_training(eyeground: Call, config: Path, mae: Path, tmp_path: Path) -> None:
    done = eyeground("finetune", config, f"weights={mae}", "epochs=1", f"out={tmp_path / 'run'}")
    assert done.code == 0, done.err
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "decoder_embed.weight (pre-training only)" in report
    assert "RETFound_like.pth" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")


def test_a_dinov2_teacher_starts_a_training(eyeground: Call, config: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = ModelSpec("vit_small_patch14_dinov2", classes=1, image_px=56, pool="cls")
    state = {name: tensor for name, tensor in build(spec).state_dict().items() if not name.startswith("head.")}
    teacher = {
        f"backbone.{name.replace('.mlp.fc1.', '.mlp.w12.').replace('.mlp.fc2.', '.mlp.w3.')}": tensor
        for name, tensor in state.items()
    }
    torch.save({"teacher": teacher | {"dino_head.last_layer.weight": torch.ones(2, 2)}}, tmp_path / "dino.pth")
    words = ("model=vit_small_patch14_dinov2", "image_px=28", "epochs=1", f"weights={tmp_path / 'dino.pth'}")
    done = eyeground("finetune", config, *words, f"out={tmp_path / 'run'}")
    assert done.code == 0, done.err
    # Positions of 4 x 4 patches became 2 x 2; the class token's norm is the file's, so that only the head is new.
    assert "173 loaded, 1 resized, 2 new, 1 left out" in done.err


def test_a_foreign_file_goes_on_in_pre_training(eyeground: Call, phantoms: Path, mae: Path, tmp_path: Path) -> None:
    path = tmp_path / "mae.yaml"
    path.write_text(
        f"data: [{{path: {phantoms / 'images'}, table: {phantoms / 'labels.csv'}, name: phantoms}}]\n"
        "method: mae\nmodel: vit_demo_patch8\nimage_px: 32\nepochs: 1\nbatch_size: 8\nlr: 1e-3\nwarmup_epochs: 0\n"
        "device: cpu\nprecision: fp32\nthreads: 1\nstore_px: 48\n",
        encoding="utf-8",
    )
    done = eyeground("pretrain", path, f"weights={mae}", f"out={tmp_path / 'run'}")
    assert done.code == 0, done.err
    assert "158 loaded" in done.err  # the decoder too


def test_a_trojaned_file_never_starts_a_training(eyeground: Call, config: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(hostile.zipped(hostile.RUNS["builtins.exec by REDUCE"](tmp_path / "canary")))
    done = eyeground("finetune", config, f"weights={path}", f"out={tmp_path / 'run'}")
    assert done.code == 2
    assert "asks for builtins.exec" in done.err
    assert not (tmp_path / "canary").exists()
