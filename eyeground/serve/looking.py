"""Where a model looked when it answered: heat map, regions of the eye, the most similar training cases, a picture."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyeground.data.preprocessing import normalize, square
from eyeground.data.task import Head, Task
from eyeground.explain.anatomy import Anatomy, locate, visible_field
from eyeground.explain.cases import Case, Cases
from eyeground.explain.evidence import CAPTION, Region, abnormal_areas, evidence, healthy_answer
from eyeground.explain.explaining import heat_maps, methods_for
from eyeground.explain.frame import Frame
from eyeground.explain.heat_map import HeatMap
from eyeground.explain.overlay import Language, overlay
from eyeground.explain.regions import TITLES, regions
from eyeground.explain.target import direction_in, in_words
from eyeground.images.disc import Disc
from eyeground.images.fovea import Fovea
from eyeground.model.engine import Images
from eyeground.serve.answering import Looked
from eyeground.serve.contract import Contract
from eyeground.serve.gate import Gated
from eyeground.serve.predictor import Answer

# Which method speaks where nobody chose one: the first that can serve the network. docs/results.md says how each does.
PREFERRED = ("integrated_gradients", "grad_cam", "occlusion", "attention_relevance", "attention_rollout")
_LEAST_SHOWN_PX = 448


class Network(Protocol):
    """What is needed of torch's engine."""

    @property
    def network(self) -> Any:
        """The torch module."""
        ...

    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what the head sees, shape (N, D)."""
        ...


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where a model looked when it gave one answer.

    Args:
        heat: The map over the square that the network saw.
        head: The head whose answer is explained.
        said: Index of the answer; 0 of a quantity.
        anatomy: What was found of disc and fovea, in px of the image as it was cropped and shrunk.
        evidence: How much of the map lies in each region; none where there are no regions.
        reason: Why there are no regions; empty where there are.
        areas: The regions that a report may name; none without evidence, or where nothing is wrong.
        frame: How the image as it was cropped and shrunk lies in the square.
        scans: How many B-scans the answer was made from; the middle one is explained.
        similar: The most similar training cases, where they are known.

    References:
        Our own.
    """

    heat: HeatMap
    head: Head
    said: int
    anatomy: Anatomy
    evidence: tuple[Region, ...]
    reason: str
    areas: tuple[str, ...]
    frame: Frame
    scans: int
    similar: tuple[Case, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values: the numbers, without the map's pixels."""
        disc, fovea = self.anatomy.disc, self.anatomy.fovea
        return {
            "method": self.heat.method,
            "target": self.heat.target,
            "explained": f"B-scan {self.scans // 2 + 1} of {self.scans}" if self.scans > 1 else "the image",
            "note": self.heat.note,
            "disc": vars(disc) if disc else None,
            "fovea": vars(fovea) if fovea else None,
            "regions": [region.to_json() for region in self.evidence],
            "no_regions": self.reason,
            "abnormal_areas": list(self.areas),
            "abnormal_areas_titles": {lang: [TITLES[name][lang] for name in self.areas] for lang in CAPTION},
            "caption": dict(CAPTION),
            "similar_cases": [vars(case) for case in self.similar],
        }


def asked_head(task: Task, *, head: str = "", said: str = "") -> Head | None:
    """Find the head whose answer is to be explained.

    Args:
        task: What the model answers.
        head: Its name; empty = not chosen.
        said: The answer that is to be explained; empty = the one that will be given.

    Returns:
        The head; None where neither was chosen, so that each image's answers decide.

    Raises:
        ValueError: If there is no such head or answer, or several heads have that answer.

    Example:
        >>> task = Task("heads", (Head("AMD"), Head("DR", "grades", ("0", "1"))))
        >>> asked_head(task, said="1").name
        'DR'

    References:
        Our own.
    """
    heads = {each.name: each for each in task.heads}
    if head and head not in heads:
        raise ValueError(f"there is no head {head!r}: {', '.join(heads)}")
    asked = [heads[head]] if head else list(task.heads)
    if not said:
        return asked[0] if head else None
    able = [each for each in asked if said in each.classes]
    if not able:
        offers = "; ".join(f"{each.name}: {', '.join(each.classes) or 'a number'}" for each in asked)
        raise ValueError(f"there is no answer {said!r} ({offers})")
    if len(able) > 1:
        raise ValueError(f"{', '.join(each.name for each in able)} can all answer {said!r}: choose a head")
    return able[0]


class Looker:
    """Explains a model's answers, from any thread.

    Args:
        contract: The model's.
        engine: Torch's engine with its weights.
        method: A name of the shelf ``explain/methods``; empty = the first that can serve the network.
        cases: Training cases to find similar ones among; None = none are known.

    Raises:
        ValueError: If the method cannot serve the network; the message says which can.

    References:
        Our own.
    """

    def __init__(self, contract: Contract, engine: Network, *, method: str = "", cases: Cases | None = None) -> None:
        offered = methods_for(engine.network)
        able = [name for name in PREFERRED if not offered[name]]
        if method and method not in offered:
            raise ValueError(f"no method is called {method!r}: {', '.join(offered)}")
        if method and offered[method]:
            raise ValueError(offered[method])
        self.method = method or able[0]
        self._contract, self._engine, self._cases = contract, engine, cases
        self._one_at_a_time = threading.Lock()

    def explain(self, gated: Gated, answer: Answer, *, head: str = "", said: str = "", count: int = 5) -> Explanation:
        """Say where the model looked.

        Args:
            gated: A file that came through the gate.
            answer: What the model says of it.
            head: Which head's answer; empty = the one that has the answer ``said``, or the first that calls the eye
                ill, or the first.
            said: Which of its answers; empty = the one that was given.
            count: How many similar cases.

        Returns:
            The explanation.

        Raises:
            ValueError: If the file was not graded, or there is no such head or answer.
        """
        if not gated.graded or gated.shown is None:
            raise ValueError(f"{gated.name} was not graded ({gated.quality}): there is no answer to explain")
        asked, index = self._asked(answer, head, said)
        contract, middle = self._contract, gated.squares[len(gated.squares) // 2]
        images = normalize([middle], contract.preprocessing)
        wanted = direction_in(contract.task, asked, index)[None]
        with self._one_at_a_time:
            [heat] = heat_maps(
                self._engine.network, images, wanted, method=self.method, targets=[in_words(asked, index)]
            )
            similar = self._cases.nearest(self._engine.features(images)[0], count=count) if self._cases else []
        anatomy = locate(gated.shown, modality=contract.modality or gated.modality)
        frame = Frame(gated.shown.shape[0], gated.shown.shape[1], contract.preprocessing)
        found = regions(anatomy, frame, visible_field(middle), eye=gated.eye)
        measured = evidence(heat, found)
        # What was not answered is no finding, whatever its map shows.
        ill = not healthy_answer(asked, index) and not healthy_answer(asked, self._given(asked, answer))
        areas = abnormal_areas(measured, positive=ill, reason=found.reason)
        return Explanation(
            heat, asked, index, anatomy, tuple(measured), found.reason, tuple(areas), frame, len(gated.squares),
            tuple(similar),
        )  # fmt: skip

    def picture(self, gated: Gated, explanation: Explanation, *, language: Language = "en") -> bytes:
        """Draw an explanation over its image.

        Args:
            gated: The file.
            explanation: As ``explain`` gave it.
            language: Of the words.

        Returns:
            A PNG.

        Raises:
            ValueError: If the file was not graded.
        """
        if gated.shown is None:
            raise ValueError(f"{gated.name} was not graded: there is nothing to show")
        contract = self._contract
        times = -(-_LEAST_SHOWN_PX // contract.preprocessing.image_px)
        shown = replace(contract.preprocessing, image_px=contract.preprocessing.image_px * times)
        frame = Frame(gated.shown.shape[0], gated.shown.shape[1], shown)
        disc, fovea = explanation.anatomy.disc, explanation.anatomy.fovea
        return overlay(
            square(gated.shown, shown),
            explanation.heat,
            disc=_disc_in(disc, frame) if disc else None,
            fovea=Fovea(*frame.to_square(fovea.x, fovea.y), fovea.confidence) if fovea else None,
            words=self._words(gated, explanation, language),
            language=language,
        )

    def __call__(self, gated: Gated, answer: Answer) -> Looked | None:
        """Explain an answer for the web service; nothing where there is no answer."""
        if not answer.gated.graded:
            return None
        found = self.explain(gated, answer)
        return Looked(self.method, self.picture(gated, found), found.areas, dict(CAPTION))

    def _asked(self, answer: Answer, head: str, said: str) -> tuple[Head, int]:
        """Which head's which answer is explained."""
        task = self._contract.task
        asked = asked_head(task, head=head, said=said)
        if asked is not None and said:
            return asked, asked.classes.index(said)
        given = [(each, self._given(each, answer)) for each in task.heads]
        if asked is not None:
            return next(pair for pair in given if pair[0] is asked)
        return next((pair for pair in given if not healthy_answer(*pair)), given[0])

    def _given(self, head: Head, answer: Answer) -> int:
        """Index of the answer that a head gave."""
        tail = "" if self._contract.task.single else f"_{head.name}"
        return head.classes.index(answer.columns[f"prediction{tail}"]) if head.classes else 0

    def _words(self, gated: Gated, explanation: Explanation, language: Language) -> Sequence[str]:
        """What stands above the pictures."""
        contract, head = self._contract, explanation.head
        title = contract.title(head.classes[explanation.said], language, head=head.name) if head.classes else head.name
        named = title if contract.task.single else f"{contract.title(head.name, language)}: {title}"
        places = ", ".join(TITLES[name][language] for name in explanation.areas)
        scans = explanation.scans
        scan = f"B-scan {scans // 2 + 1}/{scans}" if scans > 1 else ""
        # No name of a file: it may be a patient's.
        return [" · ".join(filter(None, (gated.eye, named, scan))), *([places] if places else [])]


def _disc_in(disc: Disc, frame: Frame) -> Disc:
    """The disc in px of the square that is shown."""
    x, y = frame.to_square(disc.x, disc.y)
    beside, _ = frame.to_square(disc.x + disc.radius, disc.y)
    return Disc(x, y, beside - x, disc.confidence)
