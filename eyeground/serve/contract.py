"""Everything but the weights that decides what a model says of an image: the contract that all who predict share."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from eyeground.data.preprocessing import Preprocessing
from eyeground.data.task import Head, Task, read_task
from eyeground.data.volumes import slice_step
from eyeground.evaluate.answers import answer_columns
from eyeground.images.retinal_image import Modality
from eyeground.model.spec import ModelSpec

if TYPE_CHECKING:  # scipy's optimizers: half a second that a model without a calibration has no need of
    from eyeground.evaluate.calibrate import Calibration


@dataclass(frozen=True, eq=False)
class Contract:
    """Everything but the weights that decides what a model says of an image.

    Args:
        spec: The network.
        task: What is asked of an image.
        ordered: Whether the classes of a single head are grades.
        preprocessing: Crop, size, interpolation, mean and standard deviation.
        slices: Which B-scans of a volume are taken; their mean is the volume's answer.
        modality: What it was trained on; anything else is not graded. ``""`` = not known.
        weights_sha256: Hash of the weights.
        titles: What heads and classes are called: name, or ``HEAD/class`` -> ``{"en": ..., "zh": ...}``.
        calibrations: By head, where there is one: scores are tempered, and sets and thresholds speak.

    Raises:
        ValueError: If network and task do not fit, or a calibration belongs to no head.

    Example:
        >>> from eyeground.data.task import classification
        >>> Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")), False,
        ...          Preprocessing(image_px=32), "center", "fundus", "00").classes
        ('normal', 'drusen')

    References:
        Our own.
    """

    spec: ModelSpec
    task: Task
    ordered: bool
    preprocessing: Preprocessing
    slices: str
    modality: Modality
    weights_sha256: str
    titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    calibrations: "Mapping[str, Calibration]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = []
        if self.spec.classes != self.task.outputs:
            wrong.append(f"the network gives {self.spec.classes} numbers, and the task needs {self.task.outputs}")
        if self.spec.image_px != self.preprocessing.image_px:
            wrong.append(f"the network sees {self.spec.image_px} px, the images get {self.preprocessing.image_px} px")
        if self.modality not in get_args(Modality):
            wrong.append(f"modality {self.modality!r} is none of {', '.join(filter(None, get_args(Modality)))}")
        try:
            slice_step(self.slices)
        except ValueError as error:
            wrong.append(str(error))
        classes = {head.name: head.classes for head in self.task.heads}
        wrong += [
            f"the calibration of {name!r} belongs to no head of these classes"
            for name, made in self.calibrations.items()
            if not made.classes or classes.get(name) != made.classes
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the one head, in order; none where several heads or a quantity are asked."""
        return self.task.single.classes if self.task.single else ()

    def title(self, name: str, language: str, *, head: str = "") -> str:
        """Say what a head or class is called.

        Args:
            name: Its name in tables.
            language: ``"en"`` or ``"zh"``.
            head: The head a class belongs to: grade 2 of one scale is not grade 2 of another.

        Returns:
            Its title; the name itself where there is none.
        """
        words = self.titles.get(f"{head}/{name}") or self.titles.get(name, {})
        return words.get(language) or name

    def tempered(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Temper scores where the contract says so: those of a file, of a volume the mean over its B-scans.

        Args:
            scores: Shape (N, S), as ``task.scores`` makes them of a network's outputs.

        Returns:
            Shape (N, S).
        """
        found = scores.copy()
        for head, _, place in self.task.parts():
            if head.name in self.calibrations:
                whole = self.calibrations[head.name].tempered(both_sides(head, scores[:, place]))
                found[:, place] = whole[:, 1:] if head.kind == "yes_no" else whole
        return found

    def columns(self, scores: NDArray[np.float64]) -> dict[str, list[str]]:
        """Put tempered scores into the words of a table of answers.

        Args:
            scores: Shape (N, S); a row of NaN is an image that cannot be graded.

        Returns:
            Column -> N cells: those of ``answer_columns``, and of a calibrated head ``set``, ``certain`` and its
            thresholds, with ``_<head>`` behind where there are several heads.
        """
        alone = self.task.single is not None
        columns: dict[str, list[str]] = {}
        for head, _, place in self.task.parts():
            columns |= answer_columns(head, scores[:, place], alone=alone)
            if made := self.calibrations.get(head.name):
                tail = "" if alone else f"_{head.name}"
                words = made.columns(both_sides(head, scores[:, place]))
                columns |= {f"{name}{tail}": cells for name, cells in words.items()}
        return columns

    @property
    def key(self) -> str:
        """A hash of all that decides what is said, calibrations included."""
        told = dict(sorted(self.calibrations.items()))
        return hashlib.sha256(f"{json.dumps(self.to_json(), sort_keys=True)} {told!r}".encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain values but for the calibrations, which are files of their own; ``read_contract`` reads them back."""
        return {
            "spec": self.spec.to_json(),
            "task": self.task.to_json(),
            "ordered": self.ordered,
            "preprocessing": asdict(self.preprocessing) | {"interpolation": "bicubic"},
            "slices": self.slices,
            "modality": self.modality,
            "weights_sha256": self.weights_sha256,
            "titles": {name: dict(words) for name, words in self.titles.items()},
        }


def both_sides(head: Head, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the score of no beside that of yes; other heads' scores as they are.

    Args:
        head: What was asked.
        scores: Shape (N, columns).

    Returns:
        Shape (N, K).

    Example:
        >>> both_sides(Head("AMD"), np.array([[0.75]]))
        array([[0.25, 0.75]])

    References:
        Our own.
    """
    return np.concatenate([1 - scores, scores], axis=1) if head.kind == "yes_no" else scores


def read_contract(told: Mapping[str, Any], calibrations: Mapping[str, Mapping[str, Any]]) -> Contract:
    """Read a contract back.

    Args:
        told: As ``Contract.to_json`` gave it.
        calibrations: By head, as ``eyeground calibrate`` wrote them.

    Returns:
        The contract.

    Raises:
        ValueError: If something is missing, of another kind, or does not fit the rest.

    Example:
        >>> from eyeground.data.task import classification
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")),
        ...                     False, Preprocessing(image_px=32), "center", "fundus", "00")
        >>> read_contract(contract.to_json(), {}).to_json() == contract.to_json()
        True

    References:
        Our own.
    """
    try:
        kept: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in told["preprocessing"].items()
        }
        if kept.pop("interpolation") != "bicubic":
            raise ValueError("only bicubic interpolation is known")
        return Contract(
            spec=ModelSpec(**told["spec"]),
            task=read_task(told["task"]),
            ordered=bool(told["ordered"]),
            preprocessing=Preprocessing(**kept),
            slices=str(told["slices"]),
            modality=told["modality"],
            weights_sha256=str(told["weights_sha256"]),
            titles={
                str(name): {str(language): str(word) for language, word in words.items()}
                for name, words in told["titles"].items()
            },
            calibrations=_read_calibrations(calibrations),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a contract: {error!r}") from error


def _read_calibrations(records: Mapping[str, Mapping[str, Any]]) -> "dict[str, Calibration]":
    """Read calibrations, where there are any."""
    if not records:
        return {}
    from eyeground.evaluate.calibration_record import from_record

    return {name: from_record(record) for name, record in records.items()}
