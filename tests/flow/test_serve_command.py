"""``eyeground serve`` as a process: it answers, says when it cannot start, and ends when told."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from eyeground.data.phantom import draw_fundus
from tests.flow.tables import Answer, read_table

Call = Callable[..., Answer]
COMMAND = [sys.executable, "-c", "from eyeground.cli.main import main; main()", "serve"]


def refused(answer: Answer, *words: str) -> None:
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def started(*words: object) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A service in a process of its own, once it listens."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words), "--port", "0", "--threads", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _, told = process.communicate(timeout=60)
        pytest.fail(told)
    return process, json.loads(line)


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("uploads") / "Anna_OD.png"
    Image.fromarray(draw_fundus("dr3", seed=77, eye="OD", size_px=128).image.pixels).save(path)
    return path


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    process, told = started(bundle, "--runtime", "onnx")
    try:
        yield told, process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=60)


def test_a_service_answers_as_predict_does_and_ends_when_told(
    service: tuple[dict[str, Any], subprocess.Popen[str]],
    bundle: Path,
    photograph: Path,
    tmp_path: Path,
    eyeground: Call,
) -> None:
    told, process = service
    assert told["url"].startswith("http://127.0.0.1:")
    with httpx.Client(base_url=told["url"], timeout=60) as client:
        until_ready(client)
        reply = client.post("/predict", files={"image": (photograph.name, photograph.read_bytes())})
        assert reply.status_code == 200, reply.text
        [head] = reply.json()["heads"]
        table = tmp_path / "p.csv"
        words = ("--runtime", "onnx", "--threads", 1)
        assert eyeground("predict", bundle, photograph, "--out", table, *words).code == 0
        [row] = read_table(table)
        assert head["prediction"] == row["prediction"]
        assert head["certain"] is (row["certain"] == "yes")
        for name, score in head["scores"].items():
            assert score == pytest.approx(float(row[f"score_{name}"]), abs=1e-6)
        assert client.post("/predict", files={"image": ("a.png", b"no image")}).status_code == 422
        assert 'type="file"' in client.get("/").text
        metrics = client.get("/metrics").text
        assert told["bundle"] in client.get("/model").text
    assert "Anna" not in metrics
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "", "one line and no more"
    assert "Anna" not in err
    assert "Traceback" not in err


def until_ready(client: httpx.Client) -> None:
    """Wait for the first image, which a service asks itself."""
    for _ in range(600):
        reply = client.get("/readyz")
        if reply.status_code == 200:
            return
        assert reply.status_code == 503
        time.sleep(0.1)
    pytest.fail(reply.text)


def test_a_service_that_cannot_start_says_why(bundle: Path, calibrated: Path, tmp_path: Path, eyeground: Call) -> None:
    refused(eyeground("serve", calibrated), "not a bundle", "eyeground export")
    refused(eyeground("serve", tmp_path / "gone"), "not a bundle")
    refused(eyeground("serve", bundle, "--runtime", "openvino"), "holds no files for openvino", "--to openvino")
    refused(eyeground("serve", bundle, "--runtime", "tensorrt"), "no runtime is called 'tensorrt'")
    refused(eyeground("serve", bundle, "--precision", "fp64"), "--precision fp64", "fp32, bf16, int8")
    refused(
        eyeground("serve", bundle, "--precision", "int8", "--runtime", "onnx"), "holds no files", "--precision int8"
    )
    refused(eyeground("serve", bundle, "--method", "lime"), "no method is called 'lime'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = eyeground("serve", bundle, "--port", port, "--threads", 1, "--json")
    refused(answer, f"--port {port}", "choose another")
    assert json.loads(answer.out)["kind"] == "ConfigError"
    refused(eyeground("serve", bundle, "--host", "192.0.2.1", "--port", 0, "--threads", 1), "--host 192.0.2.1")


def test_a_bundle_with_a_file_too_few_or_a_link_is_not_served(bundle: Path, tmp_path: Path, eyeground: Call) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "cases.safetensors").unlink()
    (copy / "README.md").unlink()
    refused(eyeground("serve", copy, "--port", 0), "README.md is missing", "cases.safetensors is missing")
    shutil.copy(bundle / "cases.safetensors", copy)
    (copy / "README.md").symlink_to(bundle / "README.md")
    refused(eyeground("serve", copy, "--port", 0), "README.md is missing")
