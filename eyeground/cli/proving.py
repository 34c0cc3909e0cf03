"""Runtimes held against torch on a run's own images, before they are packed."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.cli.console import tell
from eyeground.cli.dataset import Dataset
from eyeground.cli.past_data import data_of_run
from eyeground.cli.prediction import Predicted, predict_split
from eyeground.cli.trained import Trained
from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.data.preprocessing import normalize, square
from eyeground.data.problem import DataProblems
from eyeground.model.conversion import Shown, Unproved
from eyeground.model.engine import Images
from eyeground.serve.contract import Contract
from eyeground.serve.parity import agreement_of, change_of
from eyeground.serve.runtime import Runtime, RuntimePrecision

_CALIBRATION_IMAGES = 64


class Gate:
    """Lets a runtime through if it says what torch says in fp32, or loses little enough on validation.

    Args:
        run: The run's folder.
        trained: The run, opened in torch in fp32.
        images: Images that runtimes are compared on in fp32.
        tolerance: Greatest loss on validation, at the lower end of its interval.

    References:
        Our own.
    """

    def __init__(self, run: Path, trained: Trained, *, images: int, tolerance: float) -> None:
        self._run, self._trained, self._images, self._tolerance = run, trained, images, tolerance

    @property
    def data(self) -> Dataset | None:
        """The run's images; None where they are not to be had."""
        return None if isinstance(self._data, str) else self._data

    @cached_property
    def _data(self) -> Dataset | str:
        """The run's images, or why they are not to be had."""
        try:
            return data_of_run(self._run)
        except (ConfigError, DataProblems, OSError) as error:
            return " ".join(str(error).split())[:300]

    def check(self, wanted: list[tuple[str, RuntimePrecision]]) -> None:
        """Find out before anything is written whether the proof can be made.

        Args:
            wanted: Runtimes with their precisions.

        Raises:
            ConfigError: If a reduced precision has no labelled validation images to pass on.
        """
        reduced = [each for _, each in wanted if each != "fp32"]
        if isinstance(self._data, str):
            if reduced:
                raise ConfigError(f"--precision {reduced[0]} has to pass on the run's validation images: {self._data}")
            tell(f"the run's images are not to be had, so phantoms are shown: {self._data}")
        elif reduced and not (self._data.of("val") and self._data.of("train")):
            raise ConfigError(f"--precision {reduced[0]}: the run has no training or no validation images to show")

    @property
    def modality(self) -> str:
        """What most of the run's images are; ``""`` where that is not known."""
        return "" if isinstance(self._data, str) else self._data.modality

    @cached_property
    def shown(self) -> Shown:
        """Images of validation, or phantoms."""
        preprocessing, modality = self._trained.preprocessing, self._trained.modality
        if isinstance(self._data, str) or not self._data.of("val"):
            drawn = [
                draw_oct("drusen" if n % 2 else "normal", seed=n, width_px=256, height_px=200)
                if modality == "oct"
                else draw_fundus("dr2" if n % 2 else "normal", seed=n, size_px=256)
                for n in range(min(self._images, 16))
            ]
            squares = [square(phantom.image.pixels, preprocessing) for phantom in drawn]
            return Shown(normalize(squares, preprocessing), f"{len(squares)} phantoms")
        squares = self._squares("val", self._images)
        return Shown(normalize(squares, preprocessing), f"{len(squares)} validation images")

    def calibration(self, precision: RuntimePrecision) -> Images | None:
        """Give training images that show a quantizer what values to expect.

        Args:
            precision: How the runtime will compute.

        Returns:
            Shape (N, 3, H, W); None where nothing is quantized.
        """
        if precision != "int8":
            return None
        return normalize(self._squares("train", _CALIBRATION_IMAGES), self._trained.preprocessing)

    def prove(self, name: str, precision: RuntimePrecision, runtime: Runtime, contract: Contract) -> dict[str, Any]:
        """Hold a runtime against torch.

        Args:
            name: The runtime.
            precision: How it computes.
            runtime: Opened from the files that will be packed.
            contract: What makes scores of outputs.

        Returns:
            What was found, for ``bundle.json``: ``says`` in words.

        Raises:
            Unproved: If it says something else, or loses too much.
        """
        if precision not in runtime.description:
            raise Unproved(f"{name} in {precision} cannot be proved here: it computes as {runtime.description}")
        told = self._agreement(runtime, contract) if precision == "fp32" else self._change(runtime, contract)
        if not told["passed"]:
            raise Unproved(f"{name} in {precision} is not let through, and nothing was written: {told['says']}")
        return {"runtime": runtime.description, **told}

    def _agreement(self, runtime: Runtime, contract: Contract) -> dict[str, Any]:
        """Compare scores of the same images."""
        parity = agreement_of(
            contract.task.scores(self._reference),
            contract.task.scores(_outputs(runtime, self.shown.images)),
            task=contract.task,
        )
        return {**parity.to_json(), "shown": self.shown.words}

    def _change(self, runtime: Runtime, contract: Contract) -> dict[str, Any]:
        """Measure on validation what rounding costs each head."""
        after = self._validated(_Asked(runtime, contract))
        found = []
        for head in contract.task.heads:
            before_table, after_table = self._before.table(head), after.table(head)
            found.append(change_of(head, before_table, after_table, tolerance=self._tolerance))
        return {
            "passed": all(each.passed for each in found),
            "says": "; ".join(each.sentence for each in found),
            "heads": [each.to_json() for each in found],
        }

    @cached_property
    def _reference(self) -> NDArray[np.float32]:
        """What torch gives for the shown images in fp32."""
        engine: Any = self._trained.engine
        step = self._trained.batch_size
        images = self.shown.images
        return np.concatenate([engine.outputs(images[start : start + step]) for start in range(0, len(images), step)])

    @cached_property
    def _before(self) -> Predicted:
        """What torch says of validation in fp32."""
        return self._validated(self._trained.engine)

    def _validated(self, engine: Any) -> Predicted:
        """Predict validation."""
        assert not isinstance(self._data, str)  # noqa: S101 - check() made sure
        return predict_split(replace(self._trained, engine=engine), self._data, "val")

    def _squares(self, split: str, most: int) -> list[NDArray[np.uint8]]:
        """Some images of a split as the network sees them."""
        assert not isinstance(self._data, str)  # noqa: S101 - check() made sure
        pixels = self._data.pixels
        samples = self._data.of(split)
        # Evenly over the table, which may be sorted by class.
        rows = np.unique(np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int)).tolist()
        return [square(pixels(samples[row]), self._trained.preprocessing) for row in rows]


class _Asked:
    """A runtime that gives scores, as engines do."""

    def __init__(self, runtime: Runtime, contract: Contract) -> None:
        self._runtime, self._contract = runtime, contract

    def predict(self, images: Images) -> NDArray[np.float64]:
        """Scores, without the calibration that was made for torch in fp32."""
        return self._contract.task.scores(self._runtime.outputs(images))


def _outputs(runtime: Runtime, images: Images, step: int = 8) -> NDArray[np.float32]:
    """Ask a runtime about many images."""
    return np.concatenate([runtime.outputs(images[start : start + step]) for start in range(0, len(images), step)])
