"""A run is packed so that anyone can run it: what the bundle holds, what it is refused for, what it never tells."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eyeground.cli.provenance import start_of
from eyeground.evaluate.temperature import tempered
from eyeground.model.environment import EngineMissing, python_of
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build
from eyeground.model.weights import read_metadata, read_weights, write_weights
from eyeground.serve.bundle import BundleRefused, open_bundle
from eyeground.serve.graph_process import GraphProcess
from eyeground.serve.runtimes import onnx as onnx_runtime
from eyeground.serve.runtimes import torch as torch_runtime
from tests.flow.conftest import TINY, needs, succeeded
from tests.flow.tables import Answer, read_table
from tests.flow.test_heads import HEADS, config_for, screened
from tests.flow.test_pretrain import KEYS

Call = Callable[..., Answer]
COMMAND = [sys.executable, "-c", "from eyeground.cli.main import main; main()"]


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def record_of(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "bundle.json").read_text("utf-8"))
    return found


def nothing_left(folder: Path) -> bool:
    """Whether a failed export left neither a bundle nor half of one."""
    return list(folder.iterdir()) == []


def test_a_bundle_holds_all_that_predicts_and_where_it_comes_from(bundle: Path, calibrated: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {
        "README.md", "SHA256SUMS", "bundle.json", "calibration.json", "cases.safetensors", "metrics.json",
        "model.onnx", "weights.safetensors",
    }  # fmt: skip
    opened = open_bundle(bundle)
    assert opened.runtimes == {"torch": ("fp32",), "onnx": ("fp32",)}
    contract = opened.contract
    assert contract.classes == ("cataract", "dr3", "normal")
    assert contract.preprocessing.image_px == contract.spec.image_px == 32
    assert (contract.preprocessing.store_px, contract.modality, contract.slices) == (48, "fundus", "center")
    assert contract.title("cataract", "zh") == "白内障"
    told = json.loads((calibrated / "calibration.json").read_text())
    made = contract.calibrations["label"]
    assert made.temperature.value == told["temperature"]["value"]
    assert made.threshold_columns == tuple(line["column"] for line in told["thresholds"])
    record = opened.record
    measured = json.loads((calibrated / "metrics.json").read_text())
    assert record["data_fingerprint"] == measured["data_fingerprint"] != ""
    assert json.loads((bundle / "metrics.json").read_text()) == measured
    assert record["data"] == {"images": 60, "patients": 30, "splits": {"test": 12, "train": 36, "val": 12}}
    assert record["start"]["weights"] == "random"
    proof = record["runtimes"]["onnx"]["fp32"]
    assert proof["passed"]
    assert proof["max_error"] <= proof["bound"] == 1e-4
    assert (proof["images"], proof["shown"]) == (12, "12 validation images")
    with (bundle / "weights.safetensors").open("rb") as file:
        assert read_metadata(file)["licence"] == record["start"]["licence"]
    card = (bundle / "README.md").read_text("utf-8")
    for word in ("重度非增殖期糖尿病视网膜病变", "60 images of 30 patients", proof["says"], "not a diagnosis"):
        assert word in card


def test_coreutils_checks_a_bundle_too(bundle: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    words = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    told = subprocess.run(words, cwd=bundle, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout
    assert told.stdout.count(": OK") == len(list(bundle.iterdir())) - 1


def test_a_bundle_tells_nothing_of_this_machine_and_of_nobody(
    bundle: Path, calibrated: Path, trained: Path, phantoms: Path
) -> None:
    rows = read_table(phantoms / "labels.csv")
    people = {row["patient"] for row in rows} | {row["file"] for row in rows}
    places = {*map(str, (calibrated, trained, phantoms, Path.home(), Path(sys.prefix), Path.cwd())), "/tmp/"}  # noqa: S108
    words = [word.encode() for word in people | places if len(word) > 4]
    assert len(words) > 90
    # The planted fault: the run itself tells all of this.
    assert any(word in (calibrated / "split.csv").read_bytes() for word in words)
    for path in bundle.iterdir():
        content = path.read_bytes()
        assert [word for word in words if word in content] == [], path.name


def test_export_ends_with_one_json_line_and_leaves_a_calibration_out(
    calibrated: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    words = ("--to", "bundle", "--uncalibrated", "--threads", 1, "--json")
    answer = eyeground("export", calibrated, "--out", tmp_path / "b", *words)
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    told = json.loads(answer.out)
    assert set(told) == {"out", "id", "seconds", "runtimes", "usual", "weights_for", "licence", "files"}
    none = {"runtime": "torch", "precision": "fp32", "reason": "the bundle holds no other that is installed"}
    assert told["usual"] == {"one": none, "several": none}
    opened = open_bundle(tmp_path / "b")
    assert (told["id"], told["files"]) == (opened.id, dict(opened.files))
    assert opened.contract.calibrations == {}
    assert set(opened.files) == {"README.md", "bundle.json", "metrics.json", "weights.safetensors"}
    image = next((phantoms / "images").iterdir())
    answer = eyeground("predict", tmp_path / "b", image, "--calibrated", "--out", tmp_path / "p.csv")
    refused(answer, "--calibrated", "packed without a calibration")
    assert not (tmp_path / "p.csv").exists()


def test_one_changed_byte_in_any_file_is_refused_by_all_that_open_it(
    bundle: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    image = next((phantoms / "images").iterdir())
    commands = (
        ("predict", image, "--out", tmp_path / "p.csv"),
        ("explain", image, "--out", tmp_path / "e"),
        ("sanity", "--out", tmp_path / "s"),
        ("serve", "--port", 0),
    )
    for name in sorted(path.name for path in bundle.iterdir()):
        copy = shutil.copytree(bundle, tmp_path / "copy")
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        for command, *words in commands:
            answer = eyeground(command, copy, *words)
            refused(answer, "was changed" if name == "SHA256SUMS" else f"{name} was changed", "anew")
            assert answer.err.count("\n") == 1, "one sentence"
        (copy / name).unlink()
        refused(eyeground("predict", copy, image, "--out", tmp_path / "p.csv"), name)
        shutil.rmtree(copy)
    assert not any((tmp_path / name).exists() for name in ("p.csv", "e", "s"))


def test_openvino_says_what_torch_says(calibrated: Path, phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    needs("onnx", "onnxscript", "openvino")
    out = tmp_path / "b"
    answer = eyeground(
        "export", calibrated, "--to", "openvino", "--to", "openvino", "--out", out, "--threads", 1, "--json"
    )
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert list(told["runtimes"]) == ["torch", "openvino"]
    assert {"model.xml", "model.bin"} <= set(told["files"])
    assert 0 < told["runtimes"]["openvino"]["fp32"]["max_error"] <= 1e-4
    for name in ("model.xml", "model.bin"):
        assert str(tmp_path).encode() not in (out / name).read_bytes()
    images = sorted((phantoms / "images").iterdir())[:6]
    tables = {}
    for runtime in ("torch", "openvino"):
        table = tmp_path / f"{runtime}.csv"
        answer = eyeground("predict", out, *images, "--runtime", runtime, "--out", table, "--threads", 1)
        assert answer.code == 0, answer.err
        tables[runtime] = np.array([[float(row[f"score_{name}"]) for name in ("dr3", "normal")]
                                    for row in read_table(table)])  # fmt: skip
    np.testing.assert_allclose(tables["openvino"], tables["torch"], atol=1e-4)


def test_a_reduced_precision_passes_by_its_interval(calibrated: Path, tmp_path: Path, eyeground: Call) -> None:
    needs("onnx", "onnxruntime", "onnxscript")
    out = tmp_path / "b"
    words = ("--to", "onnx", "--precision", "int8", "--tolerance", 2, "--threads", 1, "--json")
    answer = eyeground("export", calibrated, "--out", out, *words)
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)["runtimes"]
    assert (list(told["torch"]), list(told["onnx"])) == (["fp32"], ["fp32", "int8"])
    [change] = told["onnx"]["int8"]["heads"]
    assert change["metric"] == "auroc_macro"
    assert (change["images"], change["patients"]) == (12, 6)
    assert change["low"] <= change["gain"] <= change["high"]
    assert change["gain"] == pytest.approx(change["after"] - change["before"], abs=1e-9)
    # Training measured the same of its best epoch.
    measured = [float(row["roc_auc"]) for row in read_table(calibrated / "metrics_val.csv")]
    assert min(abs(change["before"] - each) for each in measured) < 1e-6
    assert "a loss below 2 is tolerated" in (out / "README.md").read_text("utf-8")
    assert open_bundle(out).runtimes == {"torch": ("fp32",), "onnx": ("fp32", "int8")}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_runtime_that_says_something_else_is_not_let_through(
    precision: str, calibrated: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = torch_runtime.TorchRuntime.outputs

    def wrong(self: Any, images: Any) -> Any:
        found = right(self, images)
        if precision == "fp32":
            return found + np.array([0.01, 0, 0], np.float32)
        return -found if "bf16" in self.description else found

    monkeypatch.setattr(torch_runtime.TorchRuntime, "outputs", wrong)
    words = ("--to", "bundle", "--precision", precision, "--tolerance", 1e-6, "--threads", 1)
    answer = eyeground("export", calibrated, "--out", tmp_path / "b", *words)
    refused(answer, f"torch in {precision} is not let through, and nothing was written", "fails", code=1)
    assert nothing_left(tmp_path)


@pytest.fixture
def onnx_is_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever processor the test runs on."""
    needs("onnx", "onnxruntime", "onnxscript")
    monkeypatch.setattr("eyeground.cli.packing.processor", lambda: "plain")
    monkeypatch.setattr("eyeground.cli.opened.processor", lambda: "plain")
    table = {("onnx", "int8"): (5.0, 3.0), ("onnx", "fp32"): (4.0, 2.0)}
    monkeypatch.setattr("eyeground.serve.choice.MEASURED", {("plain", "transformer"): table})


@pytest.mark.usefixtures("onnx_is_fastest")
def test_what_is_fastest_here_is_packed_and_answers_where_nobody_chose(
    calibrated: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    images = sorted((phantoms / "images").iterdir())[:3]
    words = ("--precision", "int8", "--tolerance", 2, "--threads", 1, "--json")
    said = {}
    for name, more in (("plain", ("--uncalibrated",)), ("calibrated", ())):
        answer = eyeground("export", calibrated, "--out", tmp_path / name, *words, *more)
        assert answer.code == 0, answer.err
        told = json.loads(answer.out)
        assert {each: list(held) for each, held in told["runtimes"].items()} == {
            "torch": ["fp32"], "onnx": ["fp32", "int8"],
        }  # fmt: skip
        for each in told["usual"].values():
            assert f"{each['precision']}: {each['reason']}" in answer.err
        answer = eyeground("predict", tmp_path / name, *images, "--out", tmp_path / f"{name}.csv", "--threads", 1)
        assert answer.code == 0, answer.err
        said[name] = told["usual"]["several"], answer.err
    # int8 answers where it passed; where thresholds speak, which were proven in fp32, it has to be asked for.
    for name, precision, words_said in (("plain", "int8", "3 times"), ("calibrated", "fp32", "2 times")):
        usual, told = said[name]
        assert (usual["runtime"], usual["precision"]) == ("onnx", precision)
        assert usual["reason"].startswith(f"{words_said} torch's pace in fp32, as measured with transformers")
        assert f"on cpu, {precision}: {usual['reason']}" in told
    answer = eyeground(
        "predict", tmp_path / "calibrated", *images, "--precision", "int8", "--out", tmp_path / "p.csv", "--threads", 1
    )
    assert answer.code == 0, answer.err
    assert "on cpu, int8: 3 times" in answer.err


@pytest.mark.usefixtures("onnx_is_fastest")
@pytest.mark.parametrize("fault", ["cannot be exported", "says something else"])
def test_a_graph_that_nobody_asked_for_is_left_out_with_the_reason(
    fault: str, calibrated: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("this operator cannot be exported")

    if fault == "cannot be exported":
        monkeypatch.setattr(onnx_runtime, "plain_graph", fails)
    else:
        right = GraphProcess.outputs
        monkeypatch.setattr(
            GraphProcess, "outputs", lambda self, images: right(self, images) + np.array([0.1, 0, 0], np.float32)
        )
    answer = eyeground("export", calibrated, "--out", tmp_path / "b", "--threads", 1)
    assert answer.code == 0, answer.err
    assert "left out onnx in fp32, which nobody asked for" in answer.err
    assert ("fails: at most" if fault == "says something else" else "this operator") in answer.err
    assert open_bundle(tmp_path / "b").runtimes == {"torch": ("fp32",)}
    assert not (tmp_path / "b" / "model.onnx").exists()
    if fault == "says something else":  # what was asked for is all or nothing
        answer = eyeground("export", calibrated, "--to", "onnx", "--out", tmp_path / "c", "--threads", 1)
        refused(answer, "nothing was written", code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_killed_export_leaves_nothing_that_opens_and_is_made_anew(
    calibrated: Path, tmp_path: Path, eyeground: Call
) -> None:
    out, part = tmp_path / "b", tmp_path / ".b.part"
    words = [*COMMAND, "export", str(calibrated), "--to", "bundle", "--out", str(out), "--threads", "1"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and not part.is_dir():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, told.decode()
    assert not out.exists()
    with pytest.raises(BundleRefused):
        open_bundle(part)
    (part / "left").write_text("from before")
    assert eyeground("export", calibrated, "--to", "bundle", "--out", out, "--threads", 1).code == 0
    assert not part.exists()
    assert "left" not in open_bundle(out).files


def test_everything_wrong_with_the_words_is_told_at_once(
    calibrated: Path, bundle: Path, tmp_path: Path, eyeground: Call
) -> None:
    titles = tmp_path / "titles.toml"
    titles.write_text('[normal]\nen = "Fine"\n', "utf-8")
    answer = eyeground(
        "export", bundle, "--out", titles, "--to", "tensorrt", "--to", "torch", "--tolerance", 0, "--titles", titles
    )
    refused(
        answer, "--to tensorrt: it is one of bundle, onnx, openvino, paddle, mindspore", "--to torch", "already there",
        "--tolerance 0: it is above 0", "is a bundle already", "--titles", "[normal] needs en and zh",
    )  # fmt: skip
    refused(eyeground("export", calibrated, "--out", tmp_path), "already there")
    refused(eyeground("export", tmp_path / "gone", "--out", tmp_path / "b"), "not a run", code=1)
    words = ("--to", "bundle", "--precision", "int8")
    refused(eyeground("export", calibrated, "--out", tmp_path / "b", *words), "add --to onnx")
    refused(eyeground("export", calibrated, "--out", tmp_path / "b", "--modality", "oct"), "was trained on fundus")
    refused(eyeground("export", calibrated, "--out", tmp_path / "b", "--titles", tmp_path / "none"), "cannot be read")
    assert [path.name for path in tmp_path.iterdir()] == ["titles.toml"]


def test_an_engine_that_is_not_installed_is_told_before_the_work(
    calibrated: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EYEGROUND_PADDLE_PYTHON", "/no/such/python")
    answer = eyeground("export", calibrated, "--out", tmp_path / "b", "--to", "paddle")
    refused(answer, "not installed", "EYEGROUND_PADDLE_PYTHON")
    assert "reading images" not in answer.err
    assert nothing_left(tmp_path)


@pytest.mark.slow
def test_weights_for_paddle_come_with_a_certificate(calibrated: Path, tmp_path: Path, eyeground: Call) -> None:
    try:
        python_of("paddle")
    except EngineMissing as missing:
        pytest.skip(str(missing))
    answer = eyeground("export", calibrated, "--out", tmp_path / "b", "--to", "paddle", "--threads", 1, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["weights_for"] == ["paddle"]
    assert "model.pdparams" in told["files"]
    assert "model.pdparams.certificate.json" in told["files"]
    assert "Weights for paddle" in (tmp_path / "b" / "README.md").read_text("utf-8")
    for path in (tmp_path / "b").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name


def test_a_sites_own_titles_go_into_an_empty_folder(
    calibrated: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = tmp_path / "titles.toml"
    titles.write_text('[Normal]\nen = "All fine | really"\nzh = "一切正常"\n', "utf-8")
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    answer = eyeground("export", calibrated, "--to", "bundle", "--out", "../b", "--titles", titles, "--threads", 1)
    assert answer.code == 0, answer.err
    opened = open_bundle(tmp_path / "b")
    assert opened.record["name"] == "tiny"
    contract = opened.contract
    assert (contract.title("normal", "zh"), contract.title("dr3", "en")) == ("一切正常", "Severe NPDR")
    assert "| All fine / really | 一切正常 |" in (tmp_path / "b" / "README.md").read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "titles.toml"]


def test_a_run_whose_images_are_gone_is_proved_on_phantoms(calibrated: Path, tmp_path: Path, eyeground: Call) -> None:
    run = shutil.copytree(calibrated, tmp_path / "run", ignore=shutil.ignore_patterns("cases.safetensors"))
    config = (run / "config.yaml").read_text("utf-8")
    (run / "config.yaml").write_text(config.replace("/images", "/images_gone"), "utf-8")
    words = ("--to", "bundle", "--images", 5, "--threads", 1, "--json")
    answer = eyeground("export", run, "--out", tmp_path / "b", *words)
    assert answer.code == 0, answer.err
    assert "phantoms are shown" in answer.err
    proof = json.loads(answer.out)["runtimes"]["torch"]["fp32"]
    assert (proof["shown"], proof["images"]) == ("5 phantoms", 5)
    assert str(tmp_path) not in (tmp_path / "b" / "bundle.json").read_text("utf-8")
    answer = eyeground("export", run, "--out", tmp_path / "c", "--precision", "bf16", "--threads", 1)
    refused(answer, "--precision bf16 has to pass on the run's validation images", "images_gone")
    assert not (tmp_path / "c").exists()
    answer = eyeground("export", run, "--out", tmp_path / "c", "--cases", "--threads", 1)
    refused(answer, "images_gone")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "b"}
    assert not (run / "cases.safetensors").exists()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> tuple[Path, Path, Path]:
    """A weights file under a licence, a run pre-trained from it, and a run fine-tuned with LoRA from that."""
    folder = tmp_path_factory.mktemp("chain")
    torch.manual_seed(0)
    network = build(ModelSpec("vit_demo_patch8", classes=1, image_px=32, pool="cls"))
    start = folder / "released.safetensors"
    tensors = {name: each.numpy() for name, each in network.state_dict().items() if not name.startswith("head.")}
    write_weights(start, tensors, {"licence": "CC-BY-NC-4.0"})
    source = f"data: [{{path: {phantoms / 'images'}, table: {phantoms / 'labels.csv'}, name: phantoms}}]\n"
    (folder / "pretrain.yaml").write_text(source + "".join(f"{key}: {value}\n" for key, value in KEYS.items()))
    lines = "".join(word.replace("=", ": ", 1) + "\n" for word in TINY)
    (folder / "finetune.yaml").write_text(source + lines + "adapt: lora\n")
    middle, run = folder / "pretrained", folder / "run"
    succeeded("pretrain", folder / "pretrain.yaml", f"out={middle}", f"weights={start}", "epochs=1", "warmup_epochs=0")
    succeeded("finetune", folder / "finetune.yaml", f"out={run}", f"weights={middle}", "epochs=1", "warmup_epochs=0")
    return start, middle, run


def test_a_licence_is_found_through_a_chain_of_runs_and_lora_is_merged(
    chain: tuple[Path, Path, Path], phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    start, _, run = chain
    answer = eyeground("export", run, "--to", "bundle", "--out", tmp_path / "b", "--threads", 1, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["licence"] == "CC-BY-NC-4.0"
    told = record_of(tmp_path / "b")["start"]
    assert told["weights"] == start.name
    assert "commercial" in told["forbids"].casefold()
    card = (tmp_path / "b" / "README.md").read_text("utf-8")
    assert f"Licence: **CC-BY-NC-4.0**. {told['forbids']}" in card
    assert str(start.parent) not in card
    names = set(read_weights(tmp_path / "b" / "weights.safetensors"))
    assert names == set(build(open_bundle(tmp_path / "b").contract.spec).state_dict())
    assert not any("lora" in name for name in names)
    image = next((phantoms / "images").iterdir())
    said = []
    for model in (run, tmp_path / "b"):
        assert eyeground("predict", model, image, "--out", tmp_path / "p.csv", "--threads", 1).code == 0
        said.append([float(v) for name, v in read_table(tmp_path / "p.csv")[0].items() if name.startswith("score")])
    np.testing.assert_allclose(said[0], said[1], atol=1e-5)
    # From the packed weights on, the licence goes along.
    onward = tmp_path / "onward"
    onward.mkdir()
    text = (run / "config.yaml").read_text("utf-8")
    middle = next(line for line in text.splitlines() if line.startswith("weights:"))
    (onward / "config.yaml").write_text(text.replace(middle, f"weights: {tmp_path / 'b' / 'weights.safetensors'}"))
    assert start_of(onward)["licence"] == "CC-BY-NC-4.0"
    (onward / "config.yaml").write_text(text.replace(middle, f"weights: {tmp_path / 'gone.safetensors'}"))
    assert start_of(onward) == {"weights": "gone.safetensors", "licence": "not known", "forbids": ""}


def test_several_heads_keep_the_calibrations_that_there_are(
    phantoms: Path, tmp_path: Path, eyeground: Call, trained: Path
) -> None:
    config = config_for(tmp_path, phantoms, screened(phantoms, patients=slice(24)))
    run = tmp_path / "run"
    answer = eyeground("finetune", config, HEADS, f"out={run}", "epochs=1", "warmup_epochs=0", "batch_size=4")
    assert answer.code == 0, answer.err
    assert eyeground("calibrate", run, "--coverage", 0.6, "--resamples", 100).code == 0
    (run / "heads" / "GRADE" / "calibration.json").unlink()
    out = tmp_path / "b"
    answer = eyeground("export", run, "--to", "bundle", "--out", out, "--threads", 1, "--cases")
    assert answer.code == 0, answer.err
    assert "not calibrated, for want of labels: GRADE" in answer.err
    opened = open_bundle(out)
    assert list(opened.contract.calibrations) == ["HAZE"]
    assert opened.record["calibrations"] == {"HAZE": "calibration-0.json"}
    card = (out / "README.md").read_text("utf-8")
    assert "### Calibration of HAZE" in card
    assert "| CDR | a number, ratio |" in card
    images = sorted((phantoms / "images").iterdir())[:4]
    tables = []
    for model, words in ((run, ()), (run, ("--calibrated",)), (out, ())):
        assert eyeground("predict", model, *images, "--out", tmp_path / "p.csv", "--threads", 1, *words).code == 0
        tables.append(read_table(tmp_path / "p.csv"))
    plain, of_run, packed = tables
    assert {"certain_HAZE", "prediction_GRADE", "prediction_CDR"} <= set(packed[0])
    assert "certain_GRADE" not in packed[0]
    assert list(packed[0]) == list(of_run[0])
    for one, other, before in zip(of_run, packed, plain, strict=True):
        for name, cell in one.items():
            if name.startswith("score") or name == "prediction_CDR":
                assert float(cell) == pytest.approx(float(other[name]), abs=1e-6)
            else:
                assert cell == other[name]
        p = float(before["score_HAZE"])
        whole = tempered(np.array([[1 - p, p]]), opened.contract.calibrations["HAZE"].temperature.value)
        assert float(one["score_HAZE"]) == pytest.approx(whole[0, 1], abs=1e-5)
    refused(eyeground("sanity", out, "--out", tmp_path / "s"), "phantoms have one disease each")


def test_an_export_that_cannot_write_leaves_nothing(calibrated: Path, tmp_path: Path, eyeground: Call) -> None:
    if os.geteuid() == 0:
        (tmp_path / "taken").write_text("a file")
        answer = eyeground("export", calibrated, "--out", tmp_path / "taken" / "b", "--threads", 1)
    else:
        tmp_path.chmod(0o500)
        answer = eyeground("export", calibrated, "--out", tmp_path / "b", "--threads", 1)
        tmp_path.chmod(0o700)
    assert answer.code in (1, 2), answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "b").exists()
