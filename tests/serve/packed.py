"""A small bundle, packed without a run."""

import json
from pathlib import Path

import torch

from eyeground.model.torch.network import build
from eyeground.model.weights import write_weights
from eyeground.model.weights_cache import file_sha256
from eyeground.serve.bundle import FORMAT, RECORD, WEIGHTS, seal

from .contracts import contract


def pack(folder: Path, *, seed: int = 0, **changes: object) -> str:
    """Write a bundle of random weights; gives its id."""
    folder.mkdir()
    torch.manual_seed(seed)
    made = contract(titles={"normal": {"en": "No disease found", "zh": "未见异常"}})
    tensors = {name: tensor.numpy() for name, tensor in build(made.spec).state_dict().items()}
    write_weights(folder / WEIGHTS, tensors)
    told = made.to_json() | {"weights_sha256": file_sha256(folder / WEIGHTS)}
    record = {
        "format": FORMAT,
        "name": "small",
        "contract": told,
        "calibrations": {},
        "runtimes": {"torch": {"fp32": {"says": "the reference"}}},
        **changes,
    }
    (folder / RECORD).write_text(json.dumps(record), "utf-8")
    (folder / "README.md").write_text("# small\n", "utf-8")
    return seal(folder)
