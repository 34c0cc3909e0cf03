"""What a run learned and the weights below it made one: the same scores, and taken wherever a run is taken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eyeground.model.torch import adapters
from eyeground.model.weights import read_weights
from eyeground.train.checkpoint import Checkpoints
from tests.flow.tables import Answer, read_table, write_table
from tests.flow.test_adapt import (
    DELTA,
    adapted_of,
    base_of,
    config_of,
    moved,
    predicted,
    refused,
    run_of,
    scores,
)
from tests.flow.test_heads import screened
from tests.flow.test_resume import fingerprints

Call = Callable[..., Answer]


@pytest.fixture
def adapted(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Callable[[str], Path]:
    """A run of one way, made once in a session, not to be changed."""
    return lambda way: adapted_of(tmp_path_factory, phantoms, way)


@pytest.mark.parametrize("way", DELTA)
def test_a_merged_run_says_what_the_learned_part_said(
    way: str, adapted: Callable[[str], Path], phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    run, whole = adapted(way), tmp_path / "whole"
    answer = eyeground("merge", run, "--out", whole, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["out"] == str(whole)
    assert told["scores_max_error"] < 1e-5
    assert told["delta_mib"] < told["merged_mib"]
    one, other = (predicted(eyeground, each, phantoms, tmp_path / "p.csv") for each in (run, whole))
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.isfinite(one).any()


def test_other_patients_are_judged_by_the_learned_part_and_by_the_merged_run_alike(
    adapted: Callable[[str], Path], phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    run, whole = adapted("lora"), tmp_path / "whole"
    assert eyeground("merge", run, "--out", whole).code == 0
    later = {row["file"] for row in screened(phantoms, patients=slice(12, 18))}
    table = write_table(
        tmp_path / "later.csv", [row for row in read_table(phantoms / "labels.csv") if row["file"] in later]
    )
    words = (phantoms / "images", "--table", table, "--resamples", 100, "--name", "later")
    judged = []
    for each in (run, whole):
        answer = eyeground("evaluate", each, *words)
        assert answer.code == 0, answer.err
        judged.append(scores(each / "evaluations" / "later" / "predictions.csv"))
    np.testing.assert_allclose(judged[0], judged[1], atol=1e-5)
    shutil.rmtree(run / "evaluations")
    # The split file went along: what the run was trained on is refused there too.
    answer = eyeground("evaluate", whole, phantoms / "images", "--table", phantoms / "labels.csv", "--resamples", 100)
    refused(answer, "looks better than it is")


def test_a_merged_run_is_converted_and_trained_on(
    adapted: Callable[[str], Path], phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    run, whole, small = adapted("lora"), tmp_path / "whole", config_of(tmp_path, phantoms)
    refused(
        eyeground("weights", "convert", run, "--to", "safetensors", "--out", tmp_path / "a.safetensors"),
        "holds only what was learned on top of",
        f"eyeground merge {run} --out DIR",
    )
    assert eyeground("merge", run, "--out", whole).code == 0
    answer = eyeground("weights", "convert", whole, "--to", "safetensors", "--out", tmp_path / "a.safetensors")
    assert answer.code == 0, answer.err
    assert not any("lora" in name for name in read_weights(tmp_path / "a.safetensors"))
    # A run that starts from the part alone starts from the same whole weights.
    trained = []
    for weights in (run, whole):
        out = tmp_path / f"from-{weights.name}"
        answer = eyeground("finetune", small, f"out={out}", f"weights={weights}")
        assert answer.code == 0, answer.err
        assert "56 loaded" in answer.err
        trained.append(fingerprints(out))
    assert trained[0] == trained[1]


def test_bottlenecks_are_not_converted_for_a_framework_without_them(
    adapted: Callable[[str], Path], tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EYEGROUND_PADDLE_PYTHON", str(tmp_path / "nothing"))
    assert eyeground("merge", adapted("adapter"), "--out", tmp_path / "whole").code == 0
    answer = eyeground("weights", "convert", tmp_path / "whole", "--to", "paddle", "--out", tmp_path / "a.pdparams")
    refused(answer, "adapters")


def test_the_merged_run_remembers_what_it_was_made_of(
    adapted: Callable[[str], Path], tmp_path: Path, eyeground: Call
) -> None:
    run, whole = adapted("adapter"), tmp_path / "whole"
    assert eyeground("merge", run, "--out", whole).code == 0
    before, after = (Checkpoints(folder / "checkpoints").best() for folder in (run, whole))
    assert after.model["base"] is None
    assert after.model["adaptation"]["way"] == "full"
    assert after.model["spec"]["adapter_width"] == 4
    assert after.model["merged_from"]["weights_sha256"] == before.sha256["weights"]
    assert after.model["merged_from"]["base_sha256"] == before.model["base"]["sha256"]
    assert {key: after.model[key] for key in ("task", "preprocessing", "ordered")} == {
        key: before.model[key] for key in ("task", "preprocessing", "ordered")
    }
    assert after.step == before.step
    assert (whole / "split.csv").read_bytes() == (run / "split.csv").read_bytes()


def test_weights_that_moved_are_found_where_one_says(
    adapted: Callable[[str], Path],
    phantoms: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    eyeground: Call,
) -> None:
    run, base, none = adapted("lora"), base_of(tmp_path_factory, phantoms), tmp_path / "none"
    before = predicted(eyeground, run, phantoms, tmp_path / "p.csv")
    with moved(base) as elsewhere:
        told = (f"holds only what was learned on top of {base}", "cannot be read", "--base FILE")
        refused(eyeground("merge", run, "--out", none), *told)
        refused(eyeground("merge", run, "--out", none, "--base", tmp_path / "nowhere"), "nowhere")
        answer = eyeground("merge", run, "--out", tmp_path / "whole", "--base", elsewhere)
        assert answer.code == 0, answer.err
        np.testing.assert_allclose(
            predicted(eyeground, tmp_path / "whole", phantoms, tmp_path / "p.csv"), before, atol=1e-5
        )
    other = run_of(tmp_path_factory, phantoms, "seed=2")
    refused(eyeground("merge", run, "--base", other, "--out", none), f"but {other} holds other weights now")
    assert not none.exists()


def test_what_cannot_be_merged_is_refused_and_nothing_is_left(
    adapted: Callable[[str], Path], tmp_path: Path, eyeground: Call
) -> None:
    none = tmp_path / "none"
    for way in ("full", "gradual"):
        refused(eyeground("merge", adapted(way), "--out", none), "is whole already: there is nothing to merge")
    refused(eyeground("merge", tmp_path, "--out", none), "not a run", code=1)
    assert not none.exists()
    before = (adapted("full") / "metrics.json").read_bytes()
    refused(eyeground("merge", adapted("head"), "--out", adapted("full")), "already there")
    assert (adapted("full") / "metrics.json").read_bytes() == before


def test_a_merged_network_that_says_something_else_is_not_kept(
    adapted: Callable[[str], Path], tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The planted fault: the matrices are left out of the layers they belong to.
    monkeypatch.setattr(adapters, "merged_weights", lambda network: iter(()))
    answer = eyeground("merge", adapted("lora"), "--out", tmp_path / "whole")
    refused(answer, "the merged network's scores differ by", code=1)
    assert not (tmp_path / "whole").exists()
