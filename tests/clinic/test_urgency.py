"""How urgent a case is: a table by hand, what must never happen, and C2: what cannot be graded is never normal."""

import itertools
import random
import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange import check, screening
from eyeground.clinic.findings import EYES, FINDINGS, Merged, Seen, merge
from eyeground.clinic.laterality import eye_of
from eyeground.clinic.records import EyeExam, Order, Part, Said
from eyeground.clinic.report.language import words_of
from eyeground.clinic.urgency import Rules, Urgency, measured_reasons, read_rules, reason_words, rule_sets, urgency
from eyeground.serve.gate import Gated, gate_bytes

from .pictures import UNGRADABLE, blurred, contract_of, photograph
from .test_findings import a_case

ICO = read_rules("ico")
NO_EXAM = EyeExam()
ALL: dict[Part, set[str]] = {part: set(names) for part, names in FINDINGS.items()}
HEALTHY = {name: Said(value=0, score=0.01) for name in FINDINGS["fundus"]}
# Whatever may be read as "nothing is wrong".
FINE = ("return_12_24_months", "part_return_12_24_months", "complete_exam", "not_examined", "return_6_12_months")
Judge = Callable[[Merged], Urgency]


def fundus(eye: str, grade: int | str, **more: int) -> list[Seen]:
    """One eye's photograph: its grade of retinopathy, or why there is none."""
    if grade == "none":
        return []
    if grade == "ungradable":
        return [Seen("fundus", eye, False, "cannot grade: too dark")]  # type: ignore[arg-type]
    said = HEALTHY | {"DR": Said(value=int(grade))} | {name: Said(value=value) for name, value in more.items()}
    return [Seen("fundus", eye, False, "good", said)]  # type: ignore[arg-type]


def judged(images: Sequence[Seen], *, od: EyeExam = NO_EXAM, os: EyeExam = NO_EXAM) -> Urgency:
    return urgency(merge(images, offers=ALL), od=od, os=os, rules=ICO)


# Written by hand, not made of the rules: right eye, left eye, urgency. An eye and its fellow may change places.
BY_HAND = """
0 0 return_12_24_months | 0 1 return_6_12_months | 0 2 refer_6_months | 0 3 refer_3_months | 0 4 refer_1_month
1 1 return_6_12_months | 1 2 refer_6_months | 1 3 refer_3_months | 1 4 refer_1_month
2 2 refer_6_months | 2 3 refer_3_months | 2 4 refer_1_month | 3 3 refer_3_months | 3 4 refer_1_month | 4 4 refer_1_month
0 ungradable retake_or_refer | 1 ungradable retake_or_refer | 2 ungradable retake_or_refer
3 ungradable refer_3_months | 4 ungradable refer_1_month | ungradable ungradable retake_or_refer
0 none complete_exam | 1 none return_6_12_months | 2 none refer_6_months | 3 none refer_3_months
4 none refer_1_month | ungradable none retake_or_refer | none none not_examined
"""
TABLE = [tuple(line.split()) for line in BY_HAND.replace("\n", "|").split("|") if line.strip()]
TABLE += [(second, first, word) for first, second, word in TABLE if first != second]


@pytest.mark.parametrize(("od", "os", "word"), TABLE)
def test_grades_of_both_eyes(od: str, os: str, word: str) -> None:
    found = judged([*fundus("OD", od), *fundus("OS", os)])
    assert found.word == word
    assert found.rules == "ICO-2017 v2"
    assert found.title["en"] == next(level.en for level in ICO.levels if level.word == word)
    assert found.reasons["en"]
    assert len(found.reasons["en"]) == len(found.reasons["zh"])


def test_the_table_is_whole() -> None:
    every = ("0", "1", "2", "3", "4", "ungradable", "none")
    assert sorted((od, os) for od, os, _ in TABLE) == sorted(itertools.product(every, every))


@pytest.mark.parametrize(
    ("finding", "word"),
    [
        ("AMD", "refer_1_month"), ("CSC", "refer_1_month"), ("RP", "refer_6_months"), ("ON", "refer_1_week"),
        ("GLA", "refer_3_months"), ("RVO", "refer_1_month"),
    ],
)  # fmt: skip
def test_other_findings(finding: str, word: str) -> None:
    found = judged([*fundus("OD", 0, **{finding: 1}), *fundus("OS", 1)])
    assert (found.word, found.reasons["en"]) == (
        word,
        (f"right eye, fundus: {words_of('en').say(f'titles.{finding}')}",),
    )


def test_an_eye_that_nobody_knows_is_decided_first_but_counts() -> None:
    fine = [*fundus("OD", 0), *fundus("OS", 0)]
    held = Seen("fundus", "", True, "good", {"DR": Said(value=0)})
    assert judged([*fine, held]).word == "decide_eye"
    proliferative = Seen("fundus", "", True, "good", {"DR": Said(value=4)})
    found = judged([*fine, proliferative])
    assert (found.word, found.reasons["zh"]) == ("refer_1_month", ("眼别未定，眼底：糖尿病视网膜病变 4 级",))


def test_without_a_model_nothing_is_normal() -> None:
    images = [Seen("fundus", eye, False, "good", {"DR": Said(value=0)}) for eye in ("OD", "OS")]  # type: ignore[arg-type]
    some = urgency(merge(images, offers={"fundus": {"DR"}}), rules=ICO)
    assert some.word == "part_return_12_24_months"
    assert "not all was" in some.title["en"]
    assert judged(images).word == "look_yourself"  # the others are offered, and failed
    nobody = [Seen("fundus", eye, False, "good") for eye in ("OD", "OS")]  # type: ignore[arg-type]
    assert urgency(merge(nobody, offers={}), rules=ICO).word == "look_yourself"
    # A front of the eye that no model reads is something that was not answered.
    front = [*fundus("OD", 0), *fundus("OS", 0), Seen("anterior", "OD", False, "good")]
    assert urgency(merge(front, offers={"fundus": ALL["fundus"]}), rules=ICO).word == "complete_exam"
    front.append(Seen("anterior", "OS", False, "good"))
    assert urgency(merge(front, offers={"fundus": ALL["fundus"]}), rules=ICO).word == "part_return_12_24_months"


@pytest.mark.parametrize(
    ("od", "os", "word"),
    [
        (EyeExam(acuity="0.3"), EyeExam(acuity="0.25"), "refer_6_months"),  # the better eye is at the line itself
        (EyeExam(acuity="4.4"), EyeExam(acuity="0.25"), "refer_3_months"),
        (EyeExam(acuity="4.4"), EyeExam(acuity="1.0"), "refer_6_months"),
        (EyeExam(acuity="20/40"), EyeExam(acuity="0.5"), "return_12_24_months"),
        (EyeExam(acuity="光感"), EyeExam(acuity="CF/30cm"), "refer_3_months"),
        (EyeExam(acuity="1.0"), EyeExam(acuity="NLP"), "refer_6_months"),
        (EyeExam(acuity="0.6", notation="logmar"), EyeExam(), "refer_3_months"),  # the only one that is known
        (EyeExam(), EyeExam(), "return_12_24_months"),
        (EyeExam(pressure_mmhg=21), EyeExam(pressure_mmhg=10), "return_12_24_months"),
        (EyeExam(pressure_mmhg=21.5), EyeExam(), "refer_3_months"),
        (EyeExam(pressure_mmhg=40), EyeExam(), "refer_3_months"),
        (EyeExam(), EyeExam(pressure_mmhg=41, acuity="0.1"), "refer_now"),
    ],
)
def test_acuity_and_pressure(od: EyeExam, os: EyeExam, word: str) -> None:
    assert judged([*fundus("OD", 0), *fundus("OS", 0)], od=od, os=os).word == word


@pytest.mark.parametrize(
    ("od", "os", "reasons"),
    [
        (
            EyeExam(pressure_mmhg=44), EyeExam(pressure_mmhg=30),
            ("right eye 44 mmHg: intraocular pressure above 40 mmHg",),
        ),
        (
            EyeExam(pressure_mmhg=22), EyeExam(pressure_mmhg=30),
            (
                "right eye 22 mmHg: intraocular pressure above 21 mmHg",
                "left eye 30 mmHg: intraocular pressure above 21 mmHg",
            ),
        ),
        (
            EyeExam(acuity="0.1"), EyeExam(acuity="0.25"),
            ("left eye 0.25: visual acuity of the better eye below 4.5 (0.3)",),
        ),
    ],
)  # fmt: skip
def test_what_was_measured_is_named_with_its_eye_and_value(od: EyeExam, os: EyeExam, reasons: tuple[str, ...]) -> None:
    found = judged([*fundus("OD", 0), *fundus("OS", 0)], od=od, os=os)
    assert found.reasons["en"] == reasons
    measured = measured_reasons(found.word, found.rules, od=od, os=os)
    assert tuple(each.en for each in measured) == reasons
    assert measured_reasons("refer_1_week", found.rules, od=od, os=os) == []


def worsened(rng: random.Random, images: Sequence[Seen]) -> list[Seen]:
    """The same case with more disease in it, or with an image more that cannot be graded."""
    worse = list(images)
    graded = [number for number, image in enumerate(worse) if image.said]
    if graded and rng.random() < 0.5:
        number = rng.choice(graded)
        image = worse[number]
        name = rng.choice(sorted(image.said))
        value = rng.randint(image.said[name].value, FINDINGS[image.part][name])
        said = {**image.said, name: Said(value=value, score=image.said[name].score)}
        worse[number] = Seen(image.part, image.eye, image.held, image.quality, said, image.areas)
    else:
        part: Part = rng.choice(("fundus", "anterior"))
        held = rng.random() < 0.3
        worse.append(Seen(part, "" if held else rng.choice(EYES), held, "cannot grade: haze"))  # type: ignore[arg-type]
    return worse


def lowered(rules: Rules, judge: Judge, cases: int = 3000) -> int:
    """How often a worse case is called less urgent."""
    rng, count = random.Random(3), 0
    for _ in range(cases):
        images, offers = a_case(rng)
        before = judge(merge(images, offers=offers))
        count += judge(merge(worsened(rng, images), offers=offers)).rank > before.rank
    return count


@pytest.mark.parametrize("name", rule_sets())
def test_more_disease_is_never_less_urgent(name: str) -> None:
    rules = read_rules(name)
    assert lowered(rules, lambda merged: urgency(merged, rules=rules)) == 0


def first_eye_only(merged: Merged) -> Urgency:
    """Mutant: what is wrong is forgotten as soon as something cannot be graded."""
    if "cannot_grade" in merged.unavailable.values():
        return urgency(Merged(unavailable=merged.unavailable), rules=ICO)
    return urgency(merged, rules=ICO)


def test_an_urgency_that_forgets_disease_is_caught() -> None:
    assert lowered(ICO, first_eye_only) > 20


Filling = Callable[[Merged], Merged]


def answered_fine(merged: Merged, eye: str) -> bool:
    """Whether an answer of ours says anything good about an eye."""
    values = {key: {name: each.value for name, each in said.items()} for key, said in merged.said.items()}
    facts = {"values": values, "said": merged.said, "quality": merged.quality, "unavailable": merged.unavailable}
    side, block = {"OD": ("right_eye", "odFundusResult"), "OS": ("left_eye", "osFundusResult")}[eye]
    told = check.answer(Answered("c", Order(door="check", id="1"), 0, **facts))
    diagnosis = screening.answer(Answered("c", Order(door="screening", id="1"), 0, **facts))["ai_diagnosis"][side]
    fine = block in told or told["unavailable"].get(block) != "cannot_grade"
    return fine or "未检出" in diagnosis["conclusion"] or "无法分级" not in diagnosis["conclusion"]


def ungradable_cases(judge: Judge, count: int, *, fill: Filling = lambda merged: merged) -> dict[str, int]:
    """C2: images nobody can grade, each beside a healthy fellow eye, from bytes to urgency and answers."""
    rng = np.random.default_rng(5)
    contract = contract_of()
    kinds = list(UNGRADABLE)
    pictures = [photograph(seed=seed) for seed in range(4)]
    found = {"ungradable": 0, "shown as normal": 0, "answered": 0}
    for number in range(count):
        data = UNGRADABLE[kinds[number % len(kinds)]](pictures[number % 4], rng)
        eye = EYES[int(rng.integers(2))]
        gated: Gated = gate_bytes(data, contract, name=f"{eye}.png")
        side, conflict = eye_of("", gated.eye, gated.conflict)
        image = Seen("fundus", side, bool(conflict), gated.quality, HEALTHY if gated.graded else {})
        fellow = Seen("fundus", "OS" if eye == "OD" else "OD", False, "good", HEALTHY)
        merged = fill(merge([image, fellow], offers=ALL))
        found["ungradable"] += gated.quality.startswith("cannot grade: ")
        found["answered"] += answered_fine(merged, eye)
        found["shown as normal"] += judge(merged).word in FINE
    return found


def ours(merged: Merged) -> Urgency:
    return urgency(merged, rules=ICO)


def test_what_cannot_be_graded_is_never_normal() -> None:
    assert ungradable_cases(ours, 60) == {"ungradable": 60, "shown as normal": 0, "answered": 0}


@pytest.mark.slow
def test_none_of_five_hundred_ungradable_images_is_normal() -> None:
    assert ungradable_cases(ours, 500) == {"ungradable": 500, "shown as normal": 0, "answered": 0}


@pytest.mark.parametrize("share", [0.1, 0.15, 0.2])
def test_what_lies_behind_haze_is_not_called_normal(share: float) -> None:
    # The gate cannot tell such a blur from a cataract's haze, and lets both through as fair.
    gated = gate_bytes(blurred(photograph(seed=2), share), contract_of(), name="OD.png")
    assert gated.quality == "fair: haze"
    clear = Seen("fundus", "OS", False, "good", HEALTHY)
    found = urgency(merge([Seen("fundus", "OD", False, gated.quality, HEALTHY), clear], offers=ALL), rules=ICO)
    assert found.word == ICO.states.partly != ICO.states.normal
    assert found.reasons["en"] == ("right eye, fundus: haze",)


def healthy(merged: Merged) -> Merged:
    """Mutant: what nobody said is zero."""
    return Merged(said={"fundus/OD": HEALTHY, "fundus/OS": HEALTHY}, quality=merged.quality)


def test_who_fills_in_zeros_is_caught() -> None:
    found = ungradable_cases(ours, 20, fill=healthy)
    assert (found["answered"], found["shown as normal"]) == (20, 20)


def test_reasons_are_told_in_words_of_one_language_and_findings_as_reports_call_them() -> None:
    for language in ("en", "zh"):
        words = words_of(language)
        told = {name: each[language] for name, each in reason_words().items()}
        assert told == {**words.known("parts"), **words.known("titles"), "haze": words.known("reasons")["haze"]}
    unavailable = dict.fromkeys(("fundus/OD", "fundus/OS"), "no_image") | {
        "anterior/OD": "cannot_grade", "anterior/OS.cataract": "failed",
    }  # fmt: skip
    for merged in (
        Merged(unavailable=unavailable), Merged(unavailable={"fundus/OS": "eye_held"}),
        Merged(unavailable={"fundus/OD.DR": "failed"}), Merged(said={"fundus/OD": {"DR": Said(value=3)}}),
    ):  # fmt: skip
        found = urgency(merged, rules=ICO)
        assert not [each for each in found.reasons["zh"] if re.search("[A-Za-z_]", each)]
        assert not [each for each in found.reasons["en"] if "_" in each or not each.isascii()]
    assert urgency(Merged(unavailable={"fundus/OD.DR": "failed"}), rules=ICO).reasons["zh"] == (
        "右眼眼底：糖尿病视网膜病变：模型处理该图像失败",
    )
