"""An engine that lives in another process: the main process sends it arrays and words."""

import contextlib
import os
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eyeground.model.applied_rate import AppliedRate, Slot
from eyeground.model.engine import Images, LossNotFinite, Targets
from eyeground.model.environment import command_of, python_of
from eyeground.model.examination import examine
from eyeground.model.optimization import Device, Framework, Optimization, Precision
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import LoadReport, Tensors
from eyeground.model.wire import WireCut, receive, send


class EngineLost(RuntimeError):
    """The engine's process ended or failed."""


class EngineUnfaithful(RuntimeError):
    """The framework did something else than it was asked to."""


class RemoteEngine:
    """A classifier in another framework, in a process of its own; the verbs are those of ``Provable``.

    Every step's learning rate is measured from what became of two parameters. Another one than was asked for ends it.

    Args:
        framework: ``"paddle"`` or ``"mindspore"``.
        spec: What to build: one of our ViT shapes.
        tensors: All of its weights, by canonical name.
        optimization: How the weights learn; None = prediction only.
        device: The framework's device.
        precision: ``"auto"``, ``"fp32"`` or ``"bf16"``.
        checkpointing: Recompute activations in the backward pass, for less memory.
        threads: Processor threads; 0 leaves the framework's choice.
        load_report: What became of every key when ``tensors`` were put together.
        examined: Ask every layer by itself whether it computes what it should, at the start.

    Raises:
        EngineMissing: If the framework is not installed.
        EngineLost: If its process does not start.
        EngineUnfaithful: If it does not hold the weights it was given, or a layer computes something else with them.
        ValueError: If the network, device or precision is not to be had.

    References:
        Our own; docs/street.md says why the frameworks live apart.
    """

    def __init__(
        self,
        framework: Framework,
        spec: ModelSpec,
        *,
        tensors: Tensors,
        optimization: Optimization | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        checkpointing: bool = False,
        threads: int = 0,
        load_report: LoadReport | None = None,
        examined: bool = True,
    ) -> None:
        self._framework = framework
        self._spec = spec
        self.load_report = load_report
        self._start(threads)
        answer, _ = self._ask(
            "build",
            {
                "framework": framework,
                "spec": spec.to_json(),
                "optimization": asdict(optimization) if optimization else None,
                "device": device,
                "precision": precision,
                "checkpointing": checkpointing,
            },
            _jittered(tensors) if examined else tensors,
        )
        self.precision: Precision = answer["precision"]
        self._description: str = answer["description"]
        if examined:
            self._examine(tensors)
        self.load_state({"weights": tensors})

    def _examine(self, tensors: Tensors) -> None:
        """Ask every layer, with numbers that no default hides: fresh norms and biases do nothing."""
        if self.precision != "fp32" and self._framework == "mindspore":
            # Its mixed precision is part of the layers, and rounds by more than some faults change.
            self._description += "; layers were not examined in bf16"
            return
        if faults := examine(self, _jittered(tensors)):
            told = "; ".join(map(str, faults[:5]))
            raise EngineUnfaithful(f"engine={self._framework} does not compute what torch does: {told}")
        self._description += "; every layer examined"

    def _start(self, threads: int) -> None:
        """Start the process."""
        python_of(self._framework)  # before anything is opened
        request, to = os.pipe()
        back, reply = os.pipe()
        environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
        if threads:
            environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        self._told = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process is
        # MindSpore leaves files where it runs.
        folder = TemporaryDirectory(prefix="eyeground_engine_")
        try:
            self._process = subprocess.Popen(
                command_of(self._framework, "eyeground.model.host", str(request), str(reply), folder.name),
                pass_fds=(request, reply), env=environment, cwd=folder.name, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=self._told,
                start_new_session=True,  # Ctrl-C is the main process's business
            )  # fmt: skip
        except OSError:
            os.close(to)
            os.close(back)
            self._told.close()
            folder.cleanup()
            raise
        finally:
            os.close(request)
            os.close(reply)
        self._requests, self._replies = os.fdopen(to, "wb"), os.fdopen(back, "rb")
        # When nobody holds the engine any more, or at the program's end.
        streams = (self._requests, self._replies, self._told)
        self._end = weakref.finalize(self, _end, self._process, streams, folder)

    def close(self) -> None:
        """End the process."""
        self._end()

    def _ask(
        self, verb: str, words: Mapping[str, Any] | None = None, arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Send a request, wait for the answer."""
        try:
            send(self._requests, {"verb": verb, **(words or {})}, arrays)
            answer, found = receive(self._replies)
        except (WireCut, ValueError) as error:
            raise EngineLost(f"the process of engine={self._framework} ended while it was asked to {verb}"
                             f"{self._last_words()}") from error  # fmt: skip
        if "error" in answer:
            kinds = {"LossNotFinite": LossNotFinite, "ValueError": ValueError}
            raise kinds.get(answer["kind"], EngineLost)(answer["error"])
        return answer["ok"], found

    def _last_words(self) -> str:
        """Say how the process ended and what it printed last."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return ""
        self._told.seek(0)
        lines = [line for line in self._told.read().decode(errors="replace").splitlines() if line.strip()]
        memory = "; the system may have ended it for memory: lower batch_size" if code == -9 else ""
        return f" (exit code {code}{memory}): {' | '.join(lines[-3:])[-400:]}"

    def _check_weights(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Read the weights back: a key that was silently not loaded is found here."""
        held = self.state()["weights"]
        other = sorted(
            name
            for name in {*held, *tensors}
            if name not in held
            or name not in tensors
            or not np.array_equal(held[name].astype(np.float32), tensors[name].astype(np.float32))
        )
        if other:
            raise EngineUnfaithful(
                f"engine={self._framework} does not hold the weights it was given: {len(other)} of {len(tensors)} "
                f"differ, first {', '.join(other[:5])}"
            )

    @property
    def spec(self) -> ModelSpec:
        """What was built."""
        return self._spec

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        return self._description

    def train_step(self, batches: Sequence[tuple[Images, Targets]], *, lr: float, seed: int) -> float:
        """Take one optimizer step over one or several micro-batches."""
        arrays = {f"{n}/images": images for n, (images, _) in enumerate(batches)}
        arrays |= {f"{n}/targets": targets for n, (_, targets) in enumerate(batches)}
        answer, _ = self._ask("train_step", {"lr": lr, "seed": seed}, arrays)
        for name, found in answer["applied"].items():
            measured = AppliedRate(found["rate"], found["doubt"])
            if np.isfinite(measured.rate) and not measured.agrees_with(found["asked"]):
                raise EngineUnfaithful(
                    f"engine={self._framework} was asked to move {name} at a learning rate of {found['asked']:.4g} and "
                    f"moved it at {measured.rate:.4g}: its schedule does not reach its optimizer"
                )
        return float(answer["loss"])

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Give scores."""
        return self._ask("predict", arrays={"images": images})[1]["scores"]

    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what the head sees."""
        return self._ask("features", arrays={"images": images})[1]["features"]

    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Give what every layer makes of some images."""
        return self._ask("activations", arrays={"images": images})[1]

    def probe(self, layer: str, inputs: NDArray[np.float32], *, seed: int | None = None) -> NDArray[np.float32]:
        """Run one layer by itself."""
        return self._ask("probe", {"layer": layer, "seed": seed}, {"inputs": inputs})[1]["made"]

    def slot(self, name: str) -> Slot:
        """Give a parameter with what AdamW keeps about it."""
        words, found = self._ask("slot", {"name": name})
        return Slot(found["value"], found["exp_avg"], found["exp_avg_sq"], words["step"])

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out, by canonical names."""
        words, flat = self._ask("state")
        state: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in words["parts"]}
        for key, array in flat.items():
            part, _, name = key.partition("|")
            state[part][name] = array
        return dict(state)

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back."""
        flat = {f"{part}|{name}": array for part, held in state.items() for name, array in held.items()}
        self._ask("load_state", {"parts": list(state)}, flat)
        self._check_weights(state["weights"])

    def write(self, path: Path, *, leave_out: Sequence[str] = ()) -> dict[str, str]:
        """Write the weights in the framework's own form, as its plain users do.

        Args:
            path: The file to make.
            leave_out: Canonical names of what is not written.

        Returns:
            The framework's version and the lines that open the file without this package.
        """
        return self._ask("write", {"path": str(path.resolve()), "leave_out": list(leave_out)})[0]

    def read(self, path: Path, *, may_lack: Sequence[str] = ()) -> None:
        """Load a file in the framework's own form, as its plain users do.

        Args:
            path: A file that was written here.
            may_lack: Canonical names that it need not hold.

        Raises:
            ValueError: If it does not hold exactly this network's weights.
        """
        self._ask("read", {"path": str(path.resolve()), "may_lack": list(may_lack)})


def _jittered(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """The same shapes, every number moved a little."""
    random = np.random.default_rng(0)
    return {
        name: (array + 0.1 * random.standard_normal(array.shape)).astype(np.float32) for name, array in tensors.items()
    }


def _end(process: subprocess.Popen[bytes], streams: Sequence[IO[bytes]], folder: TemporaryDirectory[str]) -> None:
    """End an engine's process, and take away what it leaves."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in streams:
        with contextlib.suppress(BrokenPipeError):  # what was still to be written has no reader
            stream.close()
    folder.cleanup()
