"""A framework's engine in a process of its own: answers one request after another until the pipe closes."""

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, BinaryIO

from numpy.typing import NDArray

from eyeground.model.applied_rate import Slot, applied_rate
from eyeground.model.engine import LossNotFinite
from eyeground.model.layer_decay import ParameterRule, parameter_rules
from eyeground.model.optimization import Optimization
from eyeground.model.spec import ModelSpec
from eyeground.model.wire import WireCut, receive, send

Arrays = dict[str, NDArray[Any]]
Answer = tuple[dict[str, Any], Arrays]

ENGINES = {
    "paddle": ("eyeground.model.paddle.engine", "PaddleEngine"),
    "mindspore": ("eyeground.model.mindspore.engine", "MindSporeEngine"),
}


def main(requests_fd: int, replies_fd: int) -> None:
    """Answer until the other side is gone.

    Args:
        requests_fd: Pipe that requests come on.
        replies_fd: Pipe for the answers.

    Example:
        >>> reader, writer = os.pipe()
        >>> os.close(writer)
        >>> nowhere = os.dup(2)
        >>> main(reader, nowhere)

    References:
        Our own; ``eyeground.model.remote`` is the other side.
    """
    host = Host()
    # What is still to be written when the other side is gone has no reader.
    with (
        suppress(WireCut, BrokenPipeError),
        os.fdopen(requests_fd, "rb") as requests,
        os.fdopen(replies_fd, "wb") as replies,
    ):
        while True:
            words, arrays = receive(requests)
            _reply(host, replies, words, arrays)


def _reply(host: "Host", replies: BinaryIO, words: dict[str, Any], arrays: Arrays) -> None:
    """Answer one request, or say why not."""
    try:
        answer, found = host.answer(words.pop("verb"), words, arrays)
        send(replies, {"ok": answer}, found)
    except WireCut:
        raise
    except LossNotFinite as error:
        send(replies, {"error": str(error), "kind": "LossNotFinite"})
    except ValueError as error:
        send(replies, {"error": str(error), "kind": "ValueError"})
    except Exception as error:  # noqa: BLE001  a framework raises almost any class
        told = " ".join(str(error).split())[-400:]
        traceback.print_exc()
        send(replies, {"error": f"{type(error).__name__}: {told}", "kind": "EngineLost"})


class Host:
    """Holds the engine and carries out what is asked.

    Example:
        >>> Host().answer("predict", {}, {})
        Traceback (most recent call last):
        ...
        ValueError: no engine was built yet

    References:
        Our own.
    """

    def __init__(self) -> None:
        self._engine: Any = None
        self._optimization: Optimization | None = None
        self._watched: dict[str, ParameterRule] = {}

    def answer(self, verb: str, words: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Carry out one request.

        Args:
            verb: What to do.
            words: What JSON can hold.
            arrays: Arrays by name.

        Returns:
            Words and arrays of the answer.

        Raises:
            ValueError: If there is no such verb, or no engine yet.
        """
        if verb == "build":
            return self._build(words, arrays)
        if self._engine is None:
            raise ValueError("no engine was built yet")
        verbs: dict[str, Callable[[Mapping[str, Any], Arrays], Answer]] = {
            "train_step": self._train_step,
            "predict": lambda w, a: ({}, {"scores": self._engine.predict(a["images"])}),
            "features": lambda w, a: ({}, {"features": self._engine.features(a["images"])}),
            "activations": lambda w, a: ({}, self._engine.activations(a["images"])),
            "probe": lambda w, a: ({}, {"made": self._engine.probe(w["layer"], a["inputs"], seed=w["seed"])}),
            "slot": lambda w, a: _slot_out(self._engine.slot(w["name"])),
            "state": self._state,
            "load_state": self._load_state,
            "write": lambda w, a: (self._engine.write(w["path"], leave_out=w["leave_out"]), {}),
            "read": lambda w, a: (self._engine.read(w["path"], may_lack=w["may_lack"]) or {}, {}),
        }
        if verb not in verbs:
            raise ValueError(f"no engine does {verb!r}")
        return verbs[verb](words, arrays)

    def _build(self, words: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Make the engine."""
        module, name = ENGINES[words["framework"]]
        if words["optimization"] is not None:
            self._optimization = Optimization(
                **words["optimization"] | {"betas": tuple(words["optimization"]["betas"])}
            )
        self._engine = getattr(import_module(module), name)(
            ModelSpec(**words["spec"]),
            tensors=arrays or None,
            optimization=self._optimization,
            device=words["device"],
            precision=words["precision"],
            checkpointing=words["checkpointing"],
        )
        if self._optimization is not None:
            shapes = {name: array.shape for name, array in arrays.items()}
            rules = parameter_rules(
                shapes, layer_decay=self._optimization.layer_decay, weight_decay=self._optimization.weight_decay
            )
            # One from the end that learns fastest, one from the other end, each a few numbers long.
            self._watched = {name: rules[name] for name in ("head.bias", "patch_embed.proj.bias")}
        return {"description": self._engine.description, "precision": self._engine.precision}, {}

    def _train_step(self, words: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Take a step, and measure the learning rates that were applied."""
        before = {name: self._engine.slot(name) for name in self._watched}
        batches = [(arrays[f"{n}/images"], arrays[f"{n}/targets"]) for n in range(len(arrays) // 2)]
        loss = self._engine.train_step(batches, lr=words["lr"], seed=words["seed"])
        applied = {}
        for name, rule in self._watched.items():
            betas = (self._optimization or Optimization()).betas
            found = applied_rate(before[name], self._engine.slot(name), betas=betas, weight_decay=rule.weight_decay)
            applied[name] = {"rate": found.rate, "doubt": found.doubt, "asked": words["lr"] * rule.lr_scale}
        return {"loss": loss, "applied": applied}, {}

    def _state(self, words: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Copy the state out."""
        state = self._engine.state()
        flat = {f"{part}|{name}": array for part, held in state.items() for name, array in held.items()}
        return {"parts": list(state)}, flat

    def _load_state(self, words: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Put a state back."""
        state: dict[str, Arrays] = {part: {} for part in words["parts"]}
        for key, array in arrays.items():
            part, _, name = key.partition("|")
            state[part][name] = array
        self._engine.load_state(state)
        return {}, {}


def _slot_out(slot: Slot) -> Answer:
    """Put a slot into words and arrays."""
    return {"step": slot.step}, {"value": slot.value, "exp_avg": slot.exp_avg, "exp_avg_sq": slot.exp_avg_sq}


if __name__ == "__main__":
    # What a framework prints is no answer.
    os.dup2(2, 1)
    main(int(sys.argv[1]), int(sys.argv[2]))
    # Whoever made this folder was killed: otherwise this process would have been ended first.
    shutil.rmtree(sys.argv[3], ignore_errors=True)
