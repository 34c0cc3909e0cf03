"""The findings that the contracts ask for, and how those of several images become those of an eye."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from eyeground.clinic.records import Part, Said
from eyeground.images.quality import cannot_grade
from eyeground.images.retinal_image import Eye

# By the contracts' names; the highest value of each.
FINDINGS: Final[Mapping[Part, Mapping[str, int]]] = {
    "fundus": {"AMD": 1, "CSC": 1, "RP": 1, "ON": 1, "GLA": 1, "RVO": 1, "DR": 4},
    "anterior": {"conjunctivitis": 1, "keratitis": 1, "cataract": 1, "pterygium": 1, "exfoliationSyndrome": 1},
}
EYES: Final = ("OD", "OS")
# Stands for an eye where nobody knows which one an image shows.
EITHER: Final = "?"
# Why something was not answered. It is never answered with a zero instead.
UNAVAILABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "no_image": {"en": "no image was sent", "zh": "未发送图像"},
    "cannot_grade": {"en": "the image cannot be graded: retake it or refer", "zh": "图像无法分级：请重拍或转诊"},
    "not_installed": {"en": "no model that answers this is installed", "zh": "未安装可回答此项的模型"},
    "eye_held": {"en": "which eye it shows is contradictory: a doctor decides", "zh": "眼别存在矛盾：由医生确定"},
    "failed": {"en": "the model failed on this image", "zh": "模型处理该图像失败"},
    "not_assessed": {"en": "the doctor gave no verdict on this", "zh": "医生未对此项作出判断"},
}


@dataclass(frozen=True)
class Seen:
    """One image and what was said of it.

    Args:
        part: What of the eye it shows.
        eye: Which eye; empty where that is not known.
        held: Whether those who say which eye it is contradict each other, or nobody says it.
        quality: ``"good"``, ``"fair: <reasons>"`` or ``"cannot grade: <reasons>"``.
        said: Answers by the contracts' names.
        areas: Regions of attention.

    Example:
        >>> Seen("fundus", "OD", False, "good", {"DR": Said(value=2)}).decided
        True

    References:
        Our own.
    """

    part: Part
    eye: Eye
    held: bool
    quality: str
    said: Mapping[str, Said] = field(default_factory=dict)
    areas: tuple[str, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether it is known which eye it shows."""
        return not self.held and self.eye != ""


@dataclass(frozen=True)
class Merged:
    """What is known of both eyes.

    Args:
        said: What holds of an eye, by ``"<part>/<eye>"`` and finding.
        quality: Best verdict among the images of an eye, likewise.
        areas: Regions of attention, likewise.
        unavailable: What has no answer: ``"<part>/<eye>"`` or ``"<part>/<eye>.<finding>"`` -> a word of
            ``UNAVAILABLE``.
        withheld: What was said of images of a part of which some image's eye is not decided; under
            ``"<part>/?"`` that of those images themselves. It is nobody's answer, but it makes a case urgent.

    Example:
        >>> Merged().said
        {}

    References:
        Our own.
    """

    said: Mapping[str, Mapping[str, Said]] = field(default_factory=dict)
    quality: Mapping[str, str] = field(default_factory=dict)
    areas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    withheld: Mapping[str, Mapping[str, Said]] = field(default_factory=dict)


def merge(images: Sequence[Seen], *, offers: Mapping[Part, AbstractSet[str]]) -> Merged:
    """Make each eye's answer of its images.

    The worst value of each finding counts, for a lesion shows in one image and not in the next. An image that cannot be
    graded says nothing, and one whose eye is contradictory belongs to neither eye: until a doctor has decided, no eye
    of its part has an answer, since whoever mislabelled one image may have mislabelled the others.

    Args:
        images: All images of a case.
        offers: Findings that the installed models can answer, by part.

    Returns:
        The answers, and a reason wherever there is none. Nothing is answered that no model said.

    Raises:
        ValueError: If a model gave a finding a value that it cannot have.

    Example:
        >>> merged = merge([Seen("fundus", "OD", False, "good", {"DR": Said(value=2)})], offers={"fundus": {"DR"}})
        >>> merged.said["fundus/OD"]["DR"].value, merged.unavailable["fundus/OS"], merged.unavailable["fundus/OD.AMD"]
        (2, 'no_image', 'not_installed')

    References:
        Our own.
    """
    said: dict[str, Mapping[str, Said]] = {}
    withheld: dict[str, Mapping[str, Said]] = {}
    quality: dict[str, str] = {}
    areas: dict[str, tuple[str, ...]] = {}
    unavailable: dict[str, str] = {}
    for part, findings in FINDINGS.items():
        open_ones = [image for image in images if image.part == part and not image.decided]
        if open_ones and (heard := _worst(open_ones, findings)):
            withheld[f"{part}/{EITHER}"] = heard
        for eye in EYES:
            key = f"{part}/{eye}"
            mine = [image for image in images if image.part == part and image.decided and image.eye == eye]
            if mine:
                quality[key] = min((image.quality for image in mine), key=_rank)
            answers = _worst(mine, findings)
            if open_ones:
                unavailable[key] = "eye_held"
                if answers:
                    withheld[key] = answers
                continue
            if not mine:
                unavailable[key] = "no_image"
            elif not offers.get(part):
                unavailable[key] = "not_installed"
            elif cannot_grade(quality[key]):
                unavailable[key] = "cannot_grade"
            else:
                unavailable |= {
                    f"{key}.{name}": "failed" if name in offers[part] else "not_installed"
                    for name in findings
                    if name not in answers
                }
                if answers:
                    said[key] = answers
                if found := tuple(dict.fromkeys(area for image in _graded(mine) for area in image.areas)):
                    areas[key] = found
    return Merged(said, quality, areas, unavailable, withheld)


def _graded(images: Sequence[Seen]) -> list[Seen]:
    """Those that something can be said of."""
    return [image for image in images if not cannot_grade(image.quality)]


def _worst(images: Sequence[Seen], findings: Mapping[str, int]) -> dict[str, Said]:
    """The worst answer to each finding; of equal ones the surest."""
    worst: dict[str, Said] = {}
    for name, most in findings.items():
        answers = [image.said[name] for image in _graded(images) if name in image.said]
        if any(not 0 <= answer.value <= most for answer in answers):
            raise ValueError(f"a model gave {name} a value outside 0 to {most}")
        if answers:
            worst[name] = max(answers, key=lambda answer: (answer.value, answer.score or 0.0))
    return worst


def _rank(verdict: str) -> int:
    """Better verdicts first."""
    return 2 if cannot_grade(verdict) else 0 if verdict == "good" else 1
