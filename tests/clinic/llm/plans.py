"""Cases as narratives are planned from: made up of everything that can be known of one."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eyeground.clinic.answered import Answered
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.llm.slots import Plan
from eyeground.clinic.llm.telling import narrative_of
from eyeground.clinic.records import EyeExam, EyeReview, Opinion, Order, Said

QUALITIES = ("good", "fair: haze", "cannot grade: out of focus", "fair: too dark, field cut off")


def full_case(seed: int) -> tuple[Answered, Opinion | None]:
    """A case of which everything is known, of both eyes and both parts; now and then with a doctor's word."""
    rng = random.Random(seed)
    values, said, quality = {}, {}, {}
    for part, findings in FINDINGS.items():
        for eye in ("OD", "OS"):
            key = f"{part}/{eye}"
            values[key] = {name: rng.randint(0, most) for name, most in findings.items()}
            said[key] = {name: Said(value=value, score=rng.random()) for name, value in values[key].items()}
            quality[key] = rng.choice(QUALITIES)
    exams = [
        EyeExam(acuity=f"{rng.randint(1, 15) / 10}", notation="decimal", pressure_mmhg=rng.randint(8, 40)) for _ in "12"
    ]
    order = Order(door="screening", id=f"m{seed}", od=exams[0], os=exams[1])
    opinion = None
    if rng.random() < 0.5:
        opinion = Opinion(eyes={"fundus/OD": EyeReview(findings={"DR": rng.randint(0, 4), "AMD": 1})})
    answered = Answered("0a", order, 0, {"fundus": 2, "anterior": 2}, values, said, quality, models=("m",))
    return answered, opinion


def thin_case(seed: int) -> tuple[Answered, Opinion | None]:
    """A case of which little is known: one eye, the fundus alone, nothing measured, or images that cannot be graded."""
    answered, opinion = full_case(seed)
    gone = (("anterior",), ("OS",), ("OD", "anterior"), ("fundus/OS", "anterior/OD"))[seed % 4]

    def left(told: Mapping[str, Any]) -> dict[str, Any]:
        return {key: each for key, each in told.items() if not any(word in key for word in gone)}

    values, quality, unavailable = left(answered.values), left(answered.quality), {}
    if seed % 3 == 0:
        values, quality = {}, dict.fromkeys(quality, "cannot grade: haze")
        unavailable = dict.fromkeys(quality, "cannot_grade")
    order = Order(door="screening", id=f"m{seed}", od=answered.order.od if seed % 2 else EyeExam())
    return replace(answered, order=order, values=values, quality=quality, unavailable=unavailable), opinion


def thin_plan(seed: int, language: str) -> Plan:
    """The plan of such a case: one to seven facts of an eye."""
    return narrative_of(*thin_case(seed), language)


def full_plan(seed: int, language: str) -> Plan:
    """The plan of such a case: seven facts of each eye."""
    return narrative_of(*full_case(seed), language)
