"""A model bundle as a grader: what its heads say, under the contracts' names."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from eyeground.clinic.devices import device_of
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.grader import Reading
from eyeground.clinic.records import Part, Said
from eyeground.data.task import Head
from eyeground.evaluate.calibrate import Calibration
from eyeground.explain.evidence import healthy_answer
from eyeground.explain.regions import TITLES
from eyeground.explain.whole_map import whole_png
from eyeground.serve.contract import Contract, both_sides
from eyeground.serve.gate import Gated, gate_bytes
from eyeground.serve.looking import Explanation
from eyeground.serve.predictor import Answer, Predictor

_PLACE: Final = Path(__file__).with_name("heads.toml")
_GRADES: Final = 5


@dataclass(frozen=True)
class Covered:
    """A finding that a head answers.

    Args:
        name: The finding, by the contract's name.
        values: Value of each class of the head, in order.

    Example:
        >>> covered(Head("AMD"), "fundus")
        (Covered(name='AMD', values=(0, 1)),)

    References:
        Our own.
    """

    name: str
    values: tuple[int, ...]


class BundleGrader:
    """A model bundle that looks at images of one part of the eye.

    Args:
        predictor: The model, ready to be asked.
        look: Says where it looked, as ``Looker.explain``; None = neither heat maps nor regions are computed.
        title: Name and version, as reports show it.
        part: What of the eye it looks at; None = as the bundle says.

    Raises:
        ValueError: If the bundle looks at something else than photographs of that part, its heads answer no finding,
            or two of them answer the same.

    Example:
        >>> import numpy as np
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import Task
        >>> from eyeground.model.spec import ModelSpec
        >>> class Even:
        ...     description = "all the same"
        ...     def outputs(self, images):
        ...         return np.zeros((len(images), 1), np.float32)
        ...     def close(self): ...
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 1, image_px=32), Task("heads", (Head("GLA"),)), False,
        ...                     Preprocessing(image_px=32), "center", "fundus", "00")
        >>> BundleGrader(Predictor(contract, Even(), id="00"), look=None, title="demo v1").offers
        ('GLA',)

    References:
        ``heads.toml`` beside this file.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        look: Callable[[Gated, Answer], Explanation] | None,
        title: str,
        part: Part | None = None,
    ) -> None:
        self._predictor, self._look, self._title = predictor, look, title
        self._part = _part_of(predictor.contract, part)
        self._covered = [(head, covered(head, self._part, titles=predictor.contract.titles)) for head in self._heads]
        names = [each.name for _, found in self._covered for each in found]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{title}: several heads answer {', '.join(twice)}; a finding is answered by one")
        if not names:
            raise ValueError(
                f"{title}: no head answers a finding of the {self._part} contract; heads.toml lists the names, and DR "
                f"needs {_GRADES} grades"
            )
        self._offers = tuple(name for name in FINDINGS[self._part] if name in names)

    @property
    def id(self) -> str:
        """Names exactly this bundle."""
        return self._predictor.id

    @property
    def title(self) -> str:
        """Name and version, as reports show it."""
        return self._title

    @property
    def part(self) -> Part:
        """What of the eye it looks at."""
        return self._part

    @property
    def offers(self) -> tuple[str, ...]:
        """The findings it can answer, in the contract's order."""
        return self._offers

    def read(self, data: bytes, *, name: str) -> Reading:
        """Look at an image.

        Args:
            data: A whole file; hostile until it was decoded.
            name: What the sender calls it, to tell the eye from.

        Returns:
            What is to be said; of an image that cannot be graded only why, and which eye it is.

        Raises:
            Exception: If the model fails.
        """
        device = device_of(data)
        gated = gate_bytes(data, self._predictor.contract, name=name)
        (answer,) = self._predictor.answer([gated])
        gated = answer.gated
        if not gated.graded:
            return Reading(gated.quality, gated.eye, gated.conflict, device=device)
        answers = dict(self._said(answer))
        said = {name: answers[name] for name in self._offers}
        told = Reading(gated.quality, gated.eye, gated.conflict, said, device=device)
        if self._look is None or gated.cut is None:
            return told
        found = self._look(gated, answer)
        return replace(
            told,
            areas=tuple(area for area in found.areas if area in TITLES),
            heat=whole_png(found.heat, found.frame, gated.cut),
            heat_of=self._explained(found),
        )

    def close(self) -> None:
        """Let go of processes and memory."""
        self._predictor.runtime.close()

    @property
    def _heads(self) -> tuple[Head, ...]:
        """What the model is asked."""
        return self._predictor.contract.task.heads

    def _explained(self, found: Explanation) -> str:
        """The finding that a map is about; empty where the head answers none."""
        about = next((each for head, each in self._covered if head == found.head), ())
        named = [each.name for each in about if each.values[found.said]]
        # An answer that calls the eye healthy speaks of all that the head would find.
        return (named or [each.name for each in about] or [""])[0]

    def _said(self, answer: Answer) -> Iterator[tuple[str, Said]]:
        """Each finding's answer."""
        contract = self._predictor.contract
        for (head, _, place), (_, found) in zip(contract.task.parts(), self._covered, strict=True):
            if not found:
                continue
            tail = "" if contract.task.single else f"_{head.name}"
            scores: list[float] = both_sides(head, answer.scores[None, place])[0].tolist()
            given = head.classes.index(answer.columns[f"prediction{tail}"])
            for each in found:
                value = each.values[given]
                if head.kind == "yes_no" and (column := _threshold(contract.calibrations.get(head.name))):
                    word = answer.columns[f"{column}{tail}"]
                    value = int(word == "yes") if word else value
                # Of yes or no the probability of yes; of a grade that of the grade given.
                wanted = value if FINDINGS[self._part][each.name] > 1 else 1
                score = sum(score for score, said in zip(scores, each.values, strict=True) if said == wanted)
                yield each.name, Said(value=value, score=min(max(score, 0.0), 1.0))


def covered(head: Head, part: Part, *, titles: Mapping[str, Mapping[str, str]] | None = None) -> tuple[Covered, ...]:
    """Say which findings a head answers, and what each of its answers means for them.

    Args:
        head: A head of a bundle.
        part: What of the eye the bundle looks at.
        titles: The bundle's titles, which tell a scale of retinopathy where the names 0 to 4 do not.

    Returns:
        The findings, in the contract's order. Of a head of classes, those that are not the one given are answered with
        no. A head that tells fewer or more than five grades of retinopathy apart does not answer DR.

    Example:
        >>> covered(Head("label", "classes", ("normal", "glaucoma", "cataract")), "fundus")
        (Covered(name='GLA', values=(0, 1, 0)),)

    References:
        Wilkinson et al., "Proposed international clinical diabetic retinopathy and diabetic macular edema disease
        severity scales", Ophthalmology 2003;110:1677.
    """
    if head.kind == "quantity":
        return ()
    known: Mapping[str, list[str]] = _known()[part]
    plain = [_plain(each) for each in head.classes]
    letters = _known()["letters"] if part == "fundus" and set(_known()["letters"]["needed"]) <= set(plain) else {}
    named = next((name for name, words in known.items() if _plain(head.name) in words), None)
    found = {}
    if named and (head.kind in ("yes_no", "grades") or (len(plain) == 2 and healthy_answer(head, 0))):
        found[named] = tuple(min(1, index) for index in range(len(head.classes)))
    elif head.kind == "classes":
        for name, words in known.items():
            values = tuple(int(each in words or each == letters.get(name)) for each in plain)
            if any(values):
                found[name] = values
    if part == "fundus" and (grades := _retinopathy(head, titles or {})):
        found["DR"] = grades
    return tuple(Covered(name, found[name]) for name in FINDINGS[part] if name in found)


def _retinopathy(head: Head, titles: Mapping[str, Mapping[str, str]]) -> tuple[int, ...]:
    """The grade of retinopathy that each answer means; none where the head does not tell all five apart."""
    told = _known()["retinopathy"]
    words: list[list[str]] = told["grades"]
    plain = [_plain(name) for name in head.classes]
    grades = [next((grade for grade, each in enumerate(words) if name in each), None) for name in plain]
    if head.kind == "classes" and set(grades) >= {1, 2, 3, 4}:
        # Other diseases, and what is called normal, are no retinopathy.
        return tuple(grade or 0 for grade in grades) if 0 in grades or _has_healthy(head) else ()
    if head.kind == "yes_no" or len(head.classes) != _GRADES:
        return ()
    numbered = list(head.classes) == [str(grade) for grade in range(_GRADES)]
    called = _plain(head.name) in told["heads"] or all(
        "retinopathy" in _title(head, name, titles).casefold() for name in head.classes
    )
    return tuple(range(_GRADES)) if grades == list(range(_GRADES)) or (numbered and called) else ()


def _title(head: Head, name: str, titles: Mapping[str, Mapping[str, str]]) -> str:
    """What a class is called in English."""
    return (titles.get(f"{head.name}/{name}") or titles.get(name, {})).get("en", "")


def _has_healthy(head: Head) -> bool:
    """Whether one of the classes says that nothing is wrong."""
    return any(healthy_answer(head, index) for index in range(len(head.classes)))


def _threshold(made: Calibration | None) -> str:
    """Column of the first threshold for yes that could be chosen; empty where there is none."""
    for column, each in zip(made.threshold_columns, made.thresholds, strict=True) if made else ():
        if each.positive.members == (1,) and each.value.defined:
            return column
    return ""


def _part_of(contract: Contract, wanted: Part | None) -> Part:
    """What of the eye a bundle looks at."""
    if contract.modality == "oct":
        raise ValueError("this bundle reads OCT scans; the contracts ask about photographs of the fundus or the front")
    if contract.modality == "":
        if wanted is None:
            raise ValueError("this bundle does not say what it was trained on: name the part, fundus or anterior")
        return wanted
    if wanted not in (None, contract.modality):
        raise ValueError(f"this bundle was trained on {contract.modality} photographs, not on {wanted} ones")
    return "anterior" if contract.modality == "anterior" else "fundus"


def _plain(name: str) -> str:
    """A name as heads.toml has it."""
    return re.sub(r"[\s_\-.]+", "", re.sub(r"^\d+(?:\.\d+)*[\s_\-.]+", "", name.casefold()))


@cache
def _known() -> Mapping[str, Any]:
    """The names that are known."""
    return tomllib.loads(_PLACE.read_text("utf-8"))
