"""What a framework does if nobody says otherwise, measured, against the table of dialects."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eyeground.model.dialects import DIALECTS
from eyeground.model.environment import EngineMissing, python_of

# Rows of little variance show eps; GELU's two forms differ by 4e-4 near 2.
ROWS = np.linspace(-1e-3, 1e-3, 8, dtype=np.float32).reshape(1, 8)
POINTS = np.linspace(1, 3, 5, dtype=np.float32)

PROGRAMS = {
    "paddle": """
import json, numpy as np, paddle
from paddle import nn
rows, points = (paddle.to_tensor(np.array(json.loads(text), "float32")) for text in __import__("sys").argv[1:3])
conv = nn.Conv2D(3, 4, 2)
print(json.dumps([nn.LayerNorm(8)(rows).numpy().tolist(), nn.GELU()(points).numpy().tolist(), conv.bias is not None]))
""",
    "mindspore": """
import json, numpy as np
from mindspore import Tensor, nn
rows, points = (Tensor(np.array(json.loads(text), "float32")) for text in __import__("sys").argv[1:3])
conv = nn.Conv2d(3, 4, 2)
print(json.dumps([nn.LayerNorm((8,))(rows).asnumpy().tolist(), nn.GELU()(points).asnumpy().tolist(), conv.has_bias]))
""",
}


def measured(framework: Any, folder: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """A LayerNorm of the rows, GELU of the points, and whether a convolution has a bias, all by default."""
    if framework == "torch":
        rows, points = torch.from_numpy(ROWS), torch.from_numpy(POINTS)
        norm = torch.nn.LayerNorm(8)(rows).detach().numpy()
        return norm, torch.nn.GELU()(points).numpy(), torch.nn.Conv2d(3, 4, 2).bias is not None
    try:
        python = python_of(framework)
    except EngineMissing as missing:
        pytest.skip(str(missing))
    words = [json.dumps(ROWS.tolist()), json.dumps(POINTS.tolist())]
    done = subprocess.run(
        [str(python), "-c", PROGRAMS[framework], *words],
        cwd=folder, env=os.environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    norm, gelu, bias = json.loads(done.stdout.splitlines()[-1])
    return np.array(norm), np.array(gelu), bias


@pytest.mark.parametrize("framework", list(DIALECTS))
def test_the_defaults_are_those_of_the_table(framework: Any, tmp_path: Path) -> None:
    norm, gelu, bias = measured(framework, tmp_path)
    dialect = DIALECTS[framework]
    assert bias == dialect.conv_has_bias
    rows = ROWS.astype(np.float64)
    # Solve the answer for what was added to the variance.
    scale = float((rows / norm).mean())
    assert scale**2 - rows.var() == pytest.approx(dialect.layer_norm_eps, rel=0.02)
    forms = {form: torch.nn.functional.gelu(torch.from_numpy(POINTS), approximate=way).numpy()
             for form, way in (("erf", "none"), ("tanh", "tanh"))}  # fmt: skip
    nearest = min(forms, key=lambda form: float(np.abs(forms[form] - gelu).max()))
    assert nearest == dialect.gelu
    assert np.abs(forms[nearest] - gelu).max() < 2e-6
