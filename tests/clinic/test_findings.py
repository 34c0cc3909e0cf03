"""Several images become one answer an eye, and nobody ever answers with a zero that no model said."""

import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from eyeground.clinic.findings import EYES, FINDINGS, UNAVAILABLE, Merged, Seen, merge
from eyeground.clinic.records import Part, Said

ALL = {part: set(names) for part, names in FINDINGS.items()}
QUALITIES = ("good", "fair: haze", "fair", "cannot grade: too dark", "cannot grade: out of focus")
Merge = Callable[[Sequence[Seen], Mapping[Part, set[str]]], Merged]


def a_case(rng: random.Random) -> tuple[list[Seen], dict[Part, set[str]]]:
    """Images of any kind, and models that answer anything or nothing."""
    offers: dict[Part, set[str]] = {
        part: {name for name in names if rng.random() < 0.7} for part, names in FINDINGS.items() if rng.random() < 0.8
    }
    images = []
    for _ in range(rng.randrange(7)):
        part: Part = rng.choice(("fundus", "anterior"))
        held = rng.random() < 0.12
        quality = rng.choice(QUALITIES)
        said = {
            name: Said(value=rng.randint(0, FINDINGS[part][name]), score=rng.choice([None, rng.random()]))
            for name in offers.get(part, ())
            if rng.random() < 0.95 and not quality.startswith("cannot")
        }
        eye = "" if held or rng.random() < 0.05 else rng.choice(EYES)
        images.append(Seen(part, eye, held, quality, said, ("macula",) if rng.random() < 0.3 else ()))
    return images, offers


def faults(images: Sequence[Seen], offers: Mapping[Part, set[str]], merged: Merged) -> list[str]:
    """What is wrong with the answers, told by going through the images again in another way."""
    wrong = []
    for part, names in FINDINGS.items():
        held = any(image.part == part and (image.held or not image.eye) for image in images)
        for eye in EYES:
            key = f"{part}/{eye}"
            mine = [each for each in images if (each.part, each.eye, each.held) == (part, eye, False)]
            for name, most in names.items():
                values = [
                    image.said[name].value
                    for image in mine
                    if name in image.said and not image.quality.startswith("cannot grade")
                ]
                answer = merged.said.get(key, {}).get(name)
                reason = merged.unavailable.get(f"{key}.{name}") or merged.unavailable.get(key)
                if (answer is None) == (reason is None):
                    wrong.append(f"{key}.{name}: an answer or a reason, and only one of them")
                if answer and (held or not values or answer.value != max(values) or answer.value > most):
                    wrong.append(f"{key}.{name}: {answer.value} of {values}")
                if reason and reason not in UNAVAILABLE:
                    wrong.append(f"{key}.{name}: {reason}")
                if values and not answer and not held:
                    wrong.append(f"{key}.{name}: what was said is lost")
            if (key in merged.quality) != bool(mine):
                wrong.append(f"{key}: quality")
    return wrong


def count_faults(merging: Merge, cases: int = 3000) -> int:
    """How many of many cases come out wrong."""
    rng = random.Random(7)
    return sum(bool(faults(*case, merging(*case))) for case in (a_case(rng) for _ in range(cases)))


def ours(images: Sequence[Seen], offers: Mapping[Part, set[str]]) -> Merged:
    return merge(images, offers=offers)


def zeros(images: Sequence[Seen], offers: Mapping[Part, set[str]]) -> Merged:
    """Mutant: what nobody said is zero."""
    made = merge(images, offers=offers)
    filled = {
        f"{part}/{eye}": {name: made.said.get(f"{part}/{eye}", {}).get(name, Said(value=0)) for name in names}
        for part, names in FINDINGS.items()
        for eye in EYES
    }
    return Merged(filled, made.quality, made.areas)


def last_one(images: Sequence[Seen], offers: Mapping[Part, set[str]]) -> Merged:
    """Mutant: the last image of an eye speaks, not the worst."""
    last = {(image.part, image.eye): image for image in images}
    return merge([last.get((image.part, image.eye), image) for image in images], offers=offers)


def held_ones_too(images: Sequence[Seen], offers: Mapping[Part, set[str]]) -> Merged:
    """Mutant: an image whose eye is contradictory is taken for the right one."""
    return merge([Seen(i.part, i.eye or "OD", False, i.quality, i.said, i.areas) for i in images], offers=offers)


def test_every_finding_has_an_answer_or_a_reason() -> None:
    assert count_faults(ours) == 0


@pytest.mark.parametrize("mutant", [zeros, last_one, held_ones_too])
def test_a_broken_merge_is_caught(mutant: Merge) -> None:
    assert count_faults(mutant) > 300


def test_the_worst_image_speaks_and_the_surest_of_equals() -> None:
    merged = merge(
        [
            Seen("fundus", "OD", False, "fair: haze", {"DR": Said(value=1, score=0.9)}, ("macula",)),
            Seen("fundus", "OD", False, "good", {"DR": Said(value=3, score=0.4)}, ("optic disc", "macula")),
            Seen("fundus", "OD", False, "good", {"DR": Said(value=3, score=0.6)}),
            Seen("fundus", "OD", False, "cannot grade: too dark", {"DR": Said(value=4, score=1.0)}, ("arcades",)),
        ],
        offers={"fundus": {"DR", "AMD"}},
    )
    assert merged.said == {"fundus/OD": {"DR": Said(value=3, score=0.6)}}
    assert merged.quality == {"fundus/OD": "good"}
    assert merged.areas == {"fundus/OD": ("macula", "optic disc")}
    assert merged.unavailable == {
        "fundus/OD.AMD": "failed",
        **{f"fundus/OD.{name}": "not_installed" for name in ("CSC", "RP", "ON", "GLA", "RVO")},
        "fundus/OS": "no_image",
        "anterior/OD": "no_image",
        "anterior/OS": "no_image",
    }


def test_a_contradiction_holds_both_eyes_of_its_part_and_keeps_what_was_said() -> None:
    sick = {"DR": Said(value=4)}
    merged = merge(
        [
            Seen("fundus", "OD", False, "good", {"DR": Said(value=0)}),
            Seen("fundus", "", True, "good", sick),
            Seen("anterior", "OS", False, "good", {"cataract": Said(value=1)}),
        ],
        offers=ALL,
    )
    assert {key: merged.unavailable[key] for key in ("fundus/OD", "fundus/OS")} == dict.fromkeys(
        ("fundus/OD", "fundus/OS"), "eye_held"
    )
    assert set(merged.said) == {"anterior/OS"}
    assert merged.withheld == {"fundus/?": sick, "fundus/OD": {"DR": Said(value=0)}}


@pytest.mark.parametrize(
    ("images", "offers", "reason"),
    [
        ([], ALL, "no_image"),
        ([Seen("fundus", "OD", False, "cannot grade: too dark")], ALL, "cannot_grade"),
        ([Seen("fundus", "OD", False, "good")], {}, "not_installed"),
        ([Seen("fundus", "OD", False, "good")], {"fundus": set()}, "not_installed"),
        ([Seen("fundus", "OD", False, "cannot grade: no model looks at it")], {}, "not_installed"),
        ([Seen("fundus", "OD", True, "good", {"DR": Said(value=0)})], ALL, "eye_held"),
        ([Seen("fundus", "", False, "good", {"DR": Said(value=0)})], ALL, "eye_held"),
    ],
)
def test_why_an_eye_has_no_answer(images: list[Seen], offers: dict[Part, set[str]], reason: str) -> None:
    merged = merge(images, offers=offers)
    assert (merged.unavailable["fundus/OD"], "fundus/OD" in merged.said) == (reason, False)


@pytest.mark.parametrize(("name", "value"), [("DR", 5), ("AMD", 2), ("AMD", -1)])
def test_a_value_that_cannot_be_is_no_answer(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"gave {name} a value outside"):
        merge([Seen("fundus", "OD", False, "good", {name: Said(value=value)})], offers=ALL)


def test_every_reason_is_said_in_both_languages() -> None:
    assert all(set(words) == {"en", "zh"} and all(words.values()) for words in UNAVAILABLE.values())
