"""Both RETFound profiles against the numbers of the published code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.evaluate.profiles import retfound2023, retfound2025


@pytest.mark.parametrize("profile", [retfound2025, retfound2023], ids=["retfound2025", "retfound2023"])
@pytest.mark.parametrize("case", range(4), ids=["K5", "K4", "K39", "K2"])
def test_profile_equals_published_code(parity: Path, profile: Any, case: int) -> None:
    reference = json.loads((parity / "metrics.json").read_text())[case]
    expected = reference[profile.__name__.rpartition(".")[2]]
    found = profile.values(np.array(reference["labels"]), np.array(reference["scores"]))
    assert len(expected) >= 8
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
