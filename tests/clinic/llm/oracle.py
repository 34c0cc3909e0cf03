"""A second opinion on drafts, slow and written apart: all sentences that may be said, each put together and looked up.

It shares nothing with ``llm/grammar.py`` and ``llm/lang``: sets of whole phrases instead of patterns, typed a second
time. Who lets the checker say more has to read the phrase here, too.
"""

import re
from functools import cache
from itertools import product

from eyeground.clinic.llm.slots import Section, Slot

SIDES = {"en": {"OD": "right eye", "OS": "left eye"}, "zh": {"OD": "右眼", "OS": "左眼"}}


def _all(*choices: tuple[str, ...] | str) -> set[str]:
    """Everything that the choices make, one after another; a word is no choice."""
    return {"".join(each) for each in product(*((one,) if isinstance(one, str) else one for one in choices))}


def _english(kind: str, part: str | None, side: str) -> tuple[set[str], set[str]]:
    """Phrases before a fact, and those that begin with a disease."""
    the, of_eye = ("", "the "), ("", f" of the {side}", f" in the {side}")
    its, measured = ("", "the ", "its "), ("", "measured ")
    plain = (" ", ": ", " is ", " was ", " is recorded as ", " was recorded as ")
    measures = (*plain, " is measured as ", " was measured as ")
    rates = (*plain, " is rated as ", " was rated as ")
    lists = (": ", " are ", " were ", " are as follows: ")
    near = ("fundus ", "retinal ") if part == "fundus" else ("anterior segment ",)
    whole = ("fundus", "retina") if part == "fundus" else ("anterior segment",)
    pictures = ("image", "images", "photograph", "photographs", "photo", "picture", "imaging")
    if kind == "acuity":
        return _all(its, measured, ("visual acuity", "vision", "acuity"), of_eye, (*measures, " reads ")), set()
    if kind == "pressure":
        told = _all(its, measured, ("intraocular pressure", "iop"), of_eye, measures)
        return told | {"tonometry: ", "tonometry gives "}, set()
    if kind == "quality":
        told = _all(the, near, pictures, " quality", rates)
        told |= _all(the, ("quality", "image quality"), " of ", the, near, pictures, rates)
        told |= _all(the, "image quality of the ", whole, (": ", " is ", " was "))
        told |= _all("the ", near, ("image", "photograph"), " has quality ")
        return told | _all("the ", ("image", "photograph"), " of the ", whole, " has quality "), set()
    if kind == "grade":
        ranks, disease = ("grade", "grading", "stage", "severity"), "diabetic retinopathy"
        called = (": ", " is ", " is recorded as ", " is classified as ", " was classified as ")
        named = (" ", ": ", " is ", " is recorded as ", " is graded as ", " was graded as ")
        alone = _all(disease, named) | _all(disease, " ", ranks, (": ", " is ", " was "))
        return _all(the, ranks, " of ", disease, called), alone
    if kind == "findings":
        told = _all(the, near, "findings", of_eye, (*lists, " "))
        told |= _all(the, "findings of the ", whole, lists)
        return told | _all(the, "findings on the ", near, ("image", "photograph"), lists), set()
    if kind == "features":
        names = ("features", "findings", "appearance")
        return _all(the, names, " of the ", whole, ": ") | _all(the, near, names, ": "), set()
    return _all(the, "impression of the ", whole, ": ") | _all(the, near, "impression: "), set()


def _chinese(kind: str, part: str | None, side: str) -> tuple[set[str], set[str]]:
    """The same in Chinese."""
    eyes = (side, "该眼", "本眼")
    whose = ("", "其", *_all(("", "患者", "受检者"), eyes, ("", "的")))
    plain = ("", "为", "是", "：", "记录为", "方面，")
    near = ("眼底", "视网膜") if part == "fundus" else ("眼前节", "眼前段")
    got = ("", "测得", "本次检查测得")
    if kind == "acuity":
        return _all(got, whose, "视力", ("", "测量值", "检查"), plain), set()
    if kind == "pressure":
        return _all(got, whose, ("眼压", "眼内压"), ("", "测量值", "测量"), plain), set()
    if kind == "quality":
        pictures = ("图像", "影像", "图片", "照片", "彩照", "照相", "拍摄")
        return _all(whose, near, pictures, ("质量", "的质量"), (*plain, "评定为", "判定为", "属于", "情况：")), set()
    if kind == "grade":
        full = ("糖尿病视网膜病变", "糖尿病性视网膜病变")
        named = _all(full, ("", "为", "：", "记录为", "归为", "情况：", "方面，"))
        ranks = ("分级", "分期", "级别", "评估结果")
        return set(), named | _all(whose, (*full, "糖网"), ranks, ("", "为", "是", "：", "记录为", "评定为"))
    if kind == "findings":
        ends = ("为", "：", "为：", "如下：", "情况：", "方面，")
        return _all(whose, near, ("", "检查", "阅片"), ("所见", "表现"), ends), set()
    if kind == "features":
        return _all(near, ("所见", "表现", "特征"), "："), set()
    return _all(near, "印象："), set()


@cache
def _phrases(language: str, slot_kind: str, part: str | None, eye: str) -> tuple[set[str], set[str]]:
    """What may stand before a fact."""
    make = _english if language == "en" else _chinese
    return make(slot_kind, part, SIDES[language][eye])


@cache
def _openings(language: str, eye: str) -> set[str]:
    """What may stand before the first phrase."""
    side = SIDES[language][eye]
    if language == "zh":
        first = _all(("检查结果", "筛查结果", "综合描述"), "：") | _all(
            ("本次筛查", "本次检查", "经阅片", "经检查"), "，"
        )
        second = _all(side, ("", "检查结果", "检查结果如下", "筛查报告"), "：")
        return _all(("", *first), ("", *second))
    results = ("examination result", "examination results", "screening result")
    first = _all(results, (": ", ", ")) | {"summary: ", "as documented, ", "for this patient, "}
    second = {f"in the {side}, ", f"for the {side}, ", f"{side}: "}
    second |= _all(("", "ophthalmic "), f"examination of the {side}", (": ", " documented the following: "))
    return _all(("", *first), ("", *second))


def _joins(language: str, before: str, is_disease: bool) -> tuple[str, ...]:
    """What may stand between two facts."""
    if before in ("features", "diseases"):
        return (". ",) if language == "en" else ("。",)
    if language == "zh":
        if is_disease and before in ("findings", "grade"):
            return ("。",)
        return ("。", "；") if before == "findings" else ("。", "；", "，")
    if is_disease:
        return (". ",) if before in ("findings", "grade") else (". ", "; ")
    if before in ("acuity", "pressure"):
        return (". ", "; ", ", ", " and ", ", and ", ", while ")
    return (". ", "; ")


def is_sound(section: Section, prose: str, language: str) -> bool:
    """Whether a section says its facts and nothing else."""
    text = "".join(letter.lower() if letter.isascii() else letter for letter in prose)
    if language == "zh":
        text = text.replace(" ", "").replace(":", "：").replace(",", "，").replace(";", "；")
    text = re.sub(" +", " ", text)
    left = {slot.token.lower(): slot for slot in section.slots}
    before: Slot | None = None
    while left:
        at, token = min((text.find(token), token) for token in left if token in text) if _any(left, text) else (-1, "")
        if at < 0:
            return False
        slot, told = left.pop(token), text[:at]
        ordinary, disease = _phrases(language, slot.kind, slot.part, section.eye)
        if before is None:
            opened = slot.kind in ("acuity", "pressure", "quality", "findings")
            starts, alone = (_openings(language, section.eye) if opened else {""}), {""}
        else:
            starts = set(_joins(language, before.kind, is_disease=False))
            alone = set(_joins(language, before.kind, is_disease=True))
        if not (
            any(told.startswith(start) and told[len(start) :] in ordinary for start in starts)
            or any(told.startswith(start) and told[len(start) :] in disease for start in alone)
        ):
            return False
        text, before = text[at + len(token) :], slot
    spelled = all(slot.token in prose for slot in section.slots)
    return spelled and text.rstrip(" ") in (("", ".") if language == "en" else ("", "。"))


def _any(left: dict[str, Slot], text: str) -> bool:
    """Whether one of them is in a text."""
    return any(token in text for token in left)
