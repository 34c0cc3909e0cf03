"""The notebook: runs from its first cell to its last, and is committed as if it had never been run."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "finetune.ipynb"
# What a person would change in the first cell, so that it takes seconds.
TINY = {
    "epochs": "1",
    "image_px": "32",
    "batch_size": "8",
    "model": '"vit_demo_patch8"',
    "resamples": "100",
}
PATIENTS = 20


def load() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Its code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def changed(source: str) -> str:
    """The first cell with other values."""
    for key, value in TINY.items():
        source, count = re.subn(rf'^(    "{key}": )[^,]+,', rf"\g<1>{value},", source, flags=re.MULTILINE)
        assert count == 1, f"the first cell sets {key} {count} times"
    source, count = re.subn(r"^phantoms = \d+", f"phantoms = {PATIENTS}", source, flags=re.MULTILINE)
    assert count == 1
    return source


def test_it_is_committed_without_outputs() -> None:
    notebook = load()
    nbformat.validate(notebook)
    assert [cell.id for cell in cells(notebook) if cell.outputs or cell.execution_count is not None] == []


def test_all_settings_stand_in_the_first_cell() -> None:
    first, *rest = cells(load())
    names = set(re.findall(r"^(\w+) = ", first.source, re.MULTILINE))
    assert names == {"work", "phantoms", "settings"}
    assert {"data", "weights", "model", "epochs", "engine"} <= set(
        re.findall(r'^    "(\w+)": ', first.source, re.MULTILINE)
    )
    compile(first.source, "first cell", "exec")
    # Nothing after it sets them anew, but for the phantoms' place and the folder as a path.
    later = "\n".join(cell.source for cell in rest)
    assert re.findall(r"^(?:settings|phantoms) = ", later, re.MULTILINE) == []


def test_it_runs_from_the_first_cell_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A kernel that is this very interpreter, known to nobody else.
    kernel = tmp_path / "jupyter" / "kernels" / "here"
    kernel.mkdir(parents=True)
    words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": words, "display_name": "here", "language": "python"}))
    for variable in ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    place = tmp_path / "somewhere"
    place.mkdir()

    notebook = load()
    first = cells(notebook)[0]
    first.source = changed(first.source)
    NotebookClient(notebook, kernel_name="here", timeout=300, resources={"metadata": {"path": str(place)}}).execute()

    outputs = {cell.id: cell.outputs for cell in cells(notebook)}
    assert [name for name, each in outputs.items() if any(output.output_type == "error" for output in each)] == []
    run = place / "notebook-run" / "run"
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    assert metrics["classes"] == ["cataract", "dr4", "normal"]
    for name in ("report.html", "predictions.csv", "metrics_test.csv", "journal.jsonl"):
        assert (run / name).stat().st_size > 0
    assert {name: [kind for output in outputs[name] for kind in output.get("data", {}) if kind.startswith("image/")]
            for name in ("look", "learning", "confusion", "predictions")} == {
        "look": ["image/png"], "learning": ["image/svg+xml"], "confusion": ["image/svg+xml"],
        "predictions": ["image/png"],
    }  # fmt: skip
    shown = outputs["metrics"][0]["data"]["text/markdown"]
    value = metrics["headline"]["accuracy"]
    assert f"| Accuracy | {value['value']:.3f} [{value['low']:.3f}-{value['high']:.3f}] |" in shown
    assert "report.html" in outputs["report"][0]["data"]["text/html"]
    told = "".join(output.get("text", "") for output in outputs["finetune"])
    assert "epoch   1/1" in told
    assert "\x1b" not in told, "plain lines, no bars"
    assert not list(place.glob("*.ipynb"))
