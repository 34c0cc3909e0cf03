"""Eight heads of three kinds in one network, 40% of each head's labels taken away: every one of them learns."""

import csv
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from eyeground.data.phantom import write_set
from tests.flow.tables import Answer, read_table

CONFIG = Path(__file__).parents[2] / "configs" / "finetune" / "phantom_heads.yaml"
DISEASES = ("normal", "dr1", "dr2", "dr3", "dr4", "glaucoma", "drusen", "csc", "rp", "disc_swelling", "rvo")
COLUMNS = ("AMD", "CSC", "RP", "ON", "GLA", "RVO", "DR", "cup_disc_ratio")


@pytest.mark.slow
@pytest.mark.skipif("EYEGROUND_REALDATA" not in os.environ, reason="EYEGROUND_REALDATA is not set: no ImageNet weights")
@pytest.mark.timeout(3600)
def test_every_head_learns_from_the_labels_it_has(tmp_path: Path, eyeground: Callable[..., Answer]) -> None:
    table = write_set(tmp_path / "phantoms", modality="fundus", diseases=DISEASES, patients=1000, seed=0, size_px=128)
    rows, draw = read_table(table), random.Random(0)
    for row in rows:
        row.update(dict.fromkeys([name for name in COLUMNS if draw.random() < 0.4], ""))
    with (tmp_path / "masked.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    data = f"data=[{{path: {tmp_path / 'phantoms' / 'images'}, table: {tmp_path / 'masked.csv'}, group: patient}}]"
    answer = eyeground("finetune", CONFIG, data, f"out={tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    heads = json.loads((tmp_path / "run" / "metrics.json").read_text())["heads"]
    learned = {}
    for head in heads:
        name = next(each for each in ("auroc", "auroc_macro", "r2") if each in head)
        learned[head["name"]] = found = head[name]
        print(f"{head['name']:<5} {name:<12} {found['value']:.3f} [{found['low']:.3f}-{found['high']:.3f}]")  # noqa: T201
        assert head["unlabelled"] > 0.3 * (head["n"] + head["unlabelled"])
    assert len(learned) == 8
    for name, found in learned.items():
        assert found["low"] > (0.0 if name == "CDR" else 0.5), name
