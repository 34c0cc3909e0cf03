"""A graph in its own process: what it may not do, how it may end, and that the next call is answered all the same."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.model.remote import EngineLost
from eyeground.model.weights import WeightsRefused
from eyeground.serve.graph_process import GraphProcess

from .graphs import by_hand, needs_openvino, saved

onnx = pytest.importorskip("onnx", reason="needs pip install 'eyeground[onnx]'")
pytest.importorskip("onnxruntime", reason="needs pip install 'eyeground[onnx]'")
node, LARGEST = onnx.helper.make_node, 2**62
IMAGES = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)
MEANS = IMAGES.mean(axis=(2, 3))


def opened(path: Path, **more: Any) -> GraphProcess:
    return GraphProcess("onnx", [path], **{"outputs": 3, "image_px": 8, "precision": "fp32", "threads": 1} | more)


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[GraphProcess]:
    """A graph that gives the mean of each channel."""
    runtime = opened(saved(by_hand(node("Identity", ["mean"], ["head"])), tmp_path))
    yield runtime
    runtime.close()


def child_of(runtime: GraphProcess) -> int:
    child = runtime._child
    assert child is not None
    return child._process.pid


def gone(pid: int) -> bool:
    """Whether a process ended within some seconds."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def free_numbers(pid: int) -> int:
    """How many files or sockets a process could still open."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    most = next(int(line.split()[3]) for line in limits if line.startswith("Max open files"))
    return most - len(set(range(most)) & {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()})


def looping() -> Any:
    """A graph that goes round for hundreds of years."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (
        ("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("x", TensorProto.FLOAT, None),
        ("on", TensorProto.BOOL, []), ("y", TensorProto.FLOAT, None),
    )]  # fmt: skip
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Identity", ["x"], ["y"])], "round", ends[:3], ends[3:]
    )
    rounds = helper.make_tensor("rounds", TensorProto.INT64, [], [LARGEST])
    return by_hand(node("Loop", ["rounds", "", "mean"], ["head"], body=body), initializer=[rounds])


def test_it_answers_many_times_from_one_process(sound: GraphProcess) -> None:
    assert np.allclose(sound.outputs(IMAGES), MEANS)
    first = child_of(sound)
    assert np.allclose(sound.outputs(IMAGES[:1].astype(np.float64)), MEANS[:1])
    assert child_of(sound) == first
    assert sound.description.startswith("onnxruntime ")


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="reads limits from /proc")
def test_the_process_can_open_nothing_more(sound: GraphProcess) -> None:
    assert free_numbers(child_of(sound)) == 0
    assert free_numbers(os.getpid()) > 0  # what an unlimited process shows


def test_many_threads_get_their_own_answers(sound: GraphProcess) -> None:
    found: dict[int, np.ndarray] = {}

    def ask(number: int) -> None:
        found[number] = sound.outputs(IMAGES[:1] + np.float32(number))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(np.allclose(found[number], MEANS[:1] + number, rtol=1e-5) for number in range(12))


def test_a_process_that_was_killed_is_an_error_once(sound: GraphProcess) -> None:
    sound.outputs(IMAGES)
    os.kill(child_of(sound), signal.SIGKILL)
    with pytest.raises(EngineLost, match=r"model.onnx: .*ended \(SIGKILL\).*next call starts another"):
        sound.outputs(IMAGES)
    assert np.allclose(sound.outputs(IMAGES), MEANS)


def test_the_next_process_runs_the_same_file_though_another_lies_there(tmp_path: Path) -> None:
    path = saved(by_hand(node("Identity", ["mean"], ["head"])), tmp_path)
    runtime = opened(path)
    beside = tmp_path / "beside"
    beside.mkdir()
    saved(by_hand(node("Neg", ["mean"], ["head"])), beside).replace(path)
    os.kill(child_of(runtime), signal.SIGKILL)
    with pytest.raises(EngineLost):
        runtime.outputs(IMAGES)
    assert np.allclose(runtime.outputs(IMAGES), MEANS)
    runtime.close()


def test_a_graph_that_never_ends_is_ended(tmp_path: Path) -> None:
    runtime = opened(saved(looping(), tmp_path))
    pid = child_of(runtime)
    runtime._seconds = 0.3
    with pytest.raises(EngineLost, match=r"did not answer within 0.3 s, and its process was ended"):
        runtime.outputs(IMAGES)
    assert gone(pid)
    runtime.close()


def test_a_process_ends_with_whoever_asked_though_its_graph_never_does(tmp_path: Path) -> None:
    path = saved(looping(), tmp_path)
    code = f"""
import numpy as np, os, signal, threading, time
from pathlib import Path
from eyeground.serve.graph_process import GraphProcess
runtime = GraphProcess("onnx", [Path({str(path)!r})], outputs=3, image_px=8, precision="fp32", threads=1)
threading.Thread(target=runtime.outputs, args=(np.zeros((1, 3, 8, 8), np.float32),), daemon=True).start()
time.sleep(0.2)
print(runtime._child._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert gone(int(done.stdout))


def test_closing_ends_the_process_for_good(tmp_path: Path) -> None:
    runtime = opened(saved(by_hand(node("Identity", ["mean"], ["head"])), tmp_path))
    pid = child_of(runtime)
    runtime.close()
    runtime.close()
    assert gone(pid)
    with pytest.raises(RuntimeError, match="was closed"):
        runtime.outputs(IMAGES)


def with_custom_operator() -> Any:
    return by_hand(node("Sneak", ["mean"], ["head"], domain="com.example"))


def with_custom_operator_inside() -> Any:
    graph = onnx.helper.make_graph([node("Sneak", ["mean"], ["a"], domain="com.example")], "then", [],
                                   [onnx.helper.make_tensor_value_info("a", 1, None)])  # fmt: skip
    yes = onnx.helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True])
    return by_hand(node("If", ["yes"], ["head"], then_branch=graph, else_branch=graph), initializer=[yes])


def with_function() -> Any:
    model = by_hand(node("Own", ["mean"], ["head"], domain="own"))
    model.functions.append(
        onnx.helper.make_function("own", "Own", ["x"], ["y"], [node("Identity", ["x"], ["y"])],
                                  [onnx.helper.make_opsetid("", 18)])
    )  # fmt: skip
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    return model


def with_outside_weights() -> Any:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[3], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    return by_hand(node("Add", ["mean", "w"], ["head"]), initializer=[tensor])


def with_two_outputs() -> Any:
    model = by_hand(node("Identity", ["mean"], ["head"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("pooled", 1, ("N", 3, 1, 1)))
    return model


def with_another_input() -> Any:
    model = by_hand(node("Identity", ["mean"], ["head"]))
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, ("N", 3)))
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (with_custom_operator, "operators that are not ONNX's own: com.example"),
        (with_custom_operator_inside, "operators that are not ONNX's own: com.example"),
        (with_function, "operators that are not ONNX's own: own"),
        (with_outside_weights, "keeps weights in another file"),
        (with_two_outputs, r"gives \[head .*, pooled .*\] and not one output, float, \(N, 3\)"),
        (with_another_input, r"takes \[images .*, more .*\] and not images, float, \(N, 3, 8, 8\)"),
        (lambda: by_hand(node("Identity", ["mean"], ["head"]), takes=("N", 3, 9, 9)), "not images, float"),
        (lambda: by_hand(node("Concat", ["mean", "mean"], ["head"], axis=1), gives=("N", 6)), "not one output"),
    ],
)
def test_what_no_network_of_ours_would_have_is_refused(tmp_path: Path, make: Callable[[], Any], reason: str) -> None:
    with pytest.raises(WeightsRefused, match=reason):
        opened(saved(make(), tmp_path))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = saved(by_hand(node("Identity", ["mean"], ["head"])), tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(WeightsRefused, match=r"model.onnx: could not be run: "):
        opened(path)


def test_answers_of_another_shape_than_was_promised_are_refused(tmp_path: Path) -> None:
    runtime = opened(saved(by_hand(node("Concat", ["mean", "mean"], ["head"], axis=1), gives=("N", "K")), tmp_path))
    with pytest.raises(WeightsRefused, match=r"gives \(2, 6\) float32 for 2 images, not \(2, 3\)"):
        runtime.outputs(IMAGES)
    runtime.close()


def test_answers_that_are_far_too_long_are_not_read(tmp_path: Path) -> None:
    times = onnx.helper.make_tensor("times", onnx.TensorProto.INT64, [2], [1, 10**6])
    model = by_hand(node("Tile", ["mean", "times"], ["head"]), gives=("N", "K"), initializer=[times])
    runtime = opened(saved(model, tmp_path))
    with pytest.raises(EngineLost, match="ended"):
        runtime.outputs(IMAGES)
    runtime.close()


def test_answers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    runtime = opened(saved(by_hand(node("Log", ["mean"], ["head"])), tmp_path))
    assert np.isfinite(runtime.outputs(IMAGES + 1)).all()
    with pytest.raises(WeightsRefused, match="not finite"):
        runtime.outputs(-IMAGES - 1)
    runtime.close()


def test_a_graph_that_asks_for_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    times = onnx.helper.make_tensor("times", onnx.TensorProto.INT64, [2], [10**6, 10**6])
    axes = onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [0])
    nodes = (node("Tile", ["mean", "times"], ["wide"]), node("ReduceMax", ["wide", "axes"], ["head"]))
    runtime = opened(saved(by_hand(*nodes, gives=("N", "K"), initializer=[times, axes]), tmp_path))
    with pytest.raises((WeightsRefused, EngineLost), match=r"model.onnx: "):
        runtime.outputs(IMAGES)
    runtime.close()


@needs_openvino
def test_openvino_has_given_up_its_spare_number_too(tmp_path: Path) -> None:
    from eyeground.serve.runtimes.openvino import _openvino

    vino = _openvino()
    model = vino.Core().read_model(by_hand(node("Identity", ["mean"], ["head"])).SerializeToString(), b"")
    vino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    files = [tmp_path / "model.xml", tmp_path / "model.bin"]
    runtime = GraphProcess("openvino", files, outputs=3, image_px=8, precision="fp32", threads=1)
    assert np.allclose(runtime.outputs(IMAGES), MEANS)
    if Path("/proc/self/limits").exists():
        assert free_numbers(child_of(runtime)) == 0
    runtime.close()
    for options, reason in (({"outputs": 4}, "it gives"), ({"image_px": 9}, "it takes")):
        with pytest.raises(WeightsRefused, match=reason):
            GraphProcess("openvino", files, **{"outputs": 3, "image_px": 8, "precision": "fp32"} | options)  # type: ignore[arg-type]
    files[0].write_bytes(files[0].read_bytes().replace(b"ReduceMean", b"Sneak").replace(b"opset1", b"extension"))
    with pytest.raises(WeightsRefused, match="could not be run"):
        GraphProcess("openvino", files, outputs=3, image_px=8, precision="fp32")


@needs_openvino
def test_openvino_tells_nobody_that_it_was_started() -> None:
    code = (
        "import sys; from eyeground.serve.runtimes.openvino import _openvino; _openvino(); "
        "print([name for name in sys.modules if name.startswith('openvino_telemetry') and sys.modules[name]])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
