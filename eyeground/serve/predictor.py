"""Ask a model about files that passed the gate; what could not be graded stays unanswered."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.data.preprocessing import Pixels, normalize
from eyeground.serve.contract import Contract, both_sides
from eyeground.serve.gate import Gated
from eyeground.serve.runtime import Runtime

NO_NUMBER = "cannot grade: the network gave no number"
NOTE = {"en": "AI decision support, not a diagnosis", "zh": "AI 辅助，非诊断"}


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says of one file.

    Args:
        gated: The file.
        scores: Shape (S,), as the task has them, tempered where the contract says so; NaN where nothing was graded.
        columns: Its cells in a table of answers, by column; empty where nothing was graded.

    References:
        Our own.
    """

    gated: Gated
    scores: NDArray[np.float64]
    columns: dict[str, str]

    def to_json(self, contract: Contract) -> dict[str, Any]:
        """Say it in plain values.

        Args:
            contract: The model's.

        Returns:
            ``file, graded, quality, eye, eye_conflict, modality, problem``, and ``heads``: for each ``head, kind,
            title, unit, prediction`` (None where not graded), ``prediction_title``, ``scores`` by class (of a quantity
            none), of a calibrated head ``set, certain, positive``.
        """
        gated, alone = self.gated, contract.task.single is not None
        heads = []
        for head, _, place in contract.task.parts():
            tail = "" if alone else f"_{head.name}"
            said = self.columns[f"prediction{tail}"] or None
            told: dict[str, Any] = {
                "head": head.name,
                "kind": head.kind,
                "title": {language: contract.title(head.name, language) for language in NOTE},
                "prediction": float(said) if said and head.kind == "quantity" else said,
                "unit": head.unit,
                "prediction_title": {
                    language: contract.title(said or "", language, head=head.name) for language in NOTE
                },
                "scores": {},
            }
            if head.kind != "quantity" and gated.graded:
                told["scores"] = dict(
                    zip(head.classes, both_sides(head, self.scores[None, place])[0].tolist(), strict=True)
                )
            if head.name in contract.calibrations and gated.graded:
                made = contract.calibrations[head.name]
                told["set"] = list(filter(None, self.columns[f"set{tail}"].split("|")))
                told["certain"] = self.columns[f"certain{tail}"] == "yes"
                told["positive"] = {
                    name.removeprefix("positive_"): self.columns[f"{name}{tail}"] == "yes"
                    for name in made.threshold_columns
                    if self.columns[f"{name}{tail}"]
                }
            heads.append(told)
        return {
            "file": gated.name,
            "graded": gated.graded,
            "quality": gated.quality,
            "eye": gated.eye,
            "eye_conflict": gated.conflict,
            "modality": gated.modality,
            "problem": gated.problem,
            "heads": heads,
        }


class Predictor:
    """A model ready to be asked, from any thread.

    Args:
        contract: What decides what it says.
        runtime: What computes.
        id: Name of exactly this model: a bundle's id, or the hash of a run's weights.
        batch_size: Most images in one call of the runtime.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import classification
        >>> from eyeground.model.spec import ModelSpec
        >>> class Even:
        ...     description = "all the same"
        ...     def outputs(self, images):
        ...         return np.zeros((len(images), 2), np.float32)
        ...     def close(self): ...
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")),
        ...                     False, Preprocessing(image_px=32), "center", "fundus", "00")
        >>> file = Gated("a.png", "good", "OD", "", "fundus", (np.zeros((32, 32, 3), np.uint8),), None)
        >>> Predictor(contract, Even(), id="00").answer([file])[0].columns
        {'prediction': 'normal', 'score_normal': '0.5', 'score_drusen': '0.5'}

    References:
        Our own.
    """

    def __init__(self, contract: Contract, runtime: Runtime, *, id: str, batch_size: int = 8) -> None:
        self.contract, self.runtime, self.id, self.batch_size = contract, runtime, id, batch_size
        self._one_at_a_time = threading.Lock()

    def answer(self, files: Sequence[Gated]) -> list[Answer]:
        """Ask about files; of a volume the mean over its B-scans is the answer.

        Args:
            files: What came through the gate, N.

        Returns:
            N answers, in order.
        """
        scores = np.full((len(files), self.contract.task.columns), np.nan)
        squares = [square for file in files for square in file.squares]
        owners = np.array([number for number, file in enumerate(files) for _ in file.squares], np.int64)
        asked = list(files)
        if squares:
            found = self._scores(squares)
            for number in np.unique(owners).tolist():
                mean = found[owners == number].mean(axis=0)
                if np.isfinite(mean).all():
                    scores[number] = mean
                else:
                    asked[number] = replace(files[number], quality=NO_NUMBER, squares=(), shown=None)
        # A volume's scores are averaged first: so were those that its calibration was learned from.
        scores = self.contract.tempered(scores)
        columns = self.contract.columns(scores)
        return [
            Answer(file, scores[row], {name: cells[row] for name, cells in columns.items()})
            for row, file in enumerate(asked)
        ]

    def _scores(self, squares: Sequence[Pixels]) -> NDArray[np.float64]:
        """Send squares through the network, a batch at a time: shape (N, S), not tempered."""
        with self._one_at_a_time:
            found = [
                self.runtime.outputs(normalize(squares[start : start + self.batch_size], self.contract.preprocessing))
                for start in range(0, len(squares), self.batch_size)
            ]
        return self.contract.task.scores(np.concatenate(found))
