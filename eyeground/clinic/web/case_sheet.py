"""A case as the case page shows it: everything put into words of the reader's language, and what scripts need."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from eyeground.clinic.contracts import reply_queue
from eyeground.clinic.exchange.report import ANSWERED, ASKED
from eyeground.clinic.findings import EYES, FINDINGS, UNAVAILABLE
from eyeground.clinic.laterality import NOBODY
from eyeground.clinic.levels import first_words, urgent_words
from eyeground.clinic.reading import SAME_PICTURE
from eyeground.clinic.records import EyeExam, Opinion, Part
from eyeground.clinic.report.language import Words
from eyeground.clinic.report.language import words_of as report_words
from eyeground.clinic.report.wording import acuity_words, quality_words
from eyeground.clinic.states import OPEN
from eyeground.clinic.urgency import Rules, titles
from eyeground.clinic.web.paging import Language
from eyeground.explain.regions import TITLES

# Grades have keys of their own; everything else is yes or no.
GRADED: Final = "DR"


def sheet_of(view: Mapping[str, Any], language: Language, *, rules: Rules, role: str) -> dict[str, Any]:
    """Put a case into words.

    Args:
        view: As ``views.case_view`` gives it to this reader.
        language: Which words.
        rules: The rule set, whose instructions recommendations are chosen from.
        role: The reader's.

    Returns:
        What ``case.jinja.html`` uses besides the view itself: words, and ``mine`` (the opinion to go on with), ``last``
        (the last signed one, ``signed`` by eye), ``script`` (what the page's scripts need) and ``may`` (what the reader
        may do now).

    Raises:
        LookupError: If there is no such language.

    References:
        pages.md of the design, section 3.
    """
    words = report_words(language)
    parts: list[Part] = [part for part in FINDINGS if any(each["part"] == part for each in view["images"])]
    draft = next((each for each in view["reviews"] if each["revision"] == view["revision"]), None)
    last = next((each for each in reversed(view["reviews"]) if each["signed_at"]), None)
    open_now = view["state"] in OPEN
    # Whoever has read the case without the models goes on from what he saw.
    first = view["first_read"]["opinion"] if view["first_read"] else {}
    mine = Opinion.model_validate(first if draft is None else {} if draft["signed_at"] else draft["opinion"])
    if view["door"] == "report" and not mine.texts:
        mine = mine.model_copy(update={"texts": dict(view["draft"])})
    may = {
        "write": open_now and role == "doctor",
        "amend": view["state"] == "released" and role == "doctor",
        "link": view["door"] == "screening" and bool(view["order"]["person"]["patient_id"]),
    }
    return {
        "parts": parts,
        "ai": {} if view["blind"] else {key: _ai(view, key, words, language) for key in _keys(parts)},
        "measured": _measured(view, language),
        "urgency": titles(view["urgency"], view["rules"]).get(language, ""),
        "rank": "urgent"
        if view["urgency"] in urgent_words()
        else "first"
        if view["urgency"] in first_words()
        else "calm",
        "presets": [
            each.zh if language == "zh" else each.en for each in rules.levels if each.word not in _no_advice(rules)
        ],
        "conflicts": {
            each["place"]: conflict_words(each["conflict"], language) for each in view["images"] if each["conflict"]
        },
        "titles": words.known("titles"),
        "grades": words.known("grades"),
        "sex": words.say(f"exam.{view['order']['person']['sex']}") if view["order"]["person"]["sex"] else "",
        "asked": {name: view["order"]["texts"][name] for name in ASKED if view["order"]["texts"].get(name)},
        "answered": list(ANSWERED) if view["door"] == "report" else [],
        "draft": draft if draft and not draft["signed_at"] else None,
        "mine": mine.model_dump(),
        "last": last,
        "signed": {key: _signed(key, eye, words) for key, eye in (last["opinion"]["eyes"] if last else {}).items()},
        "may": may,
        "queue": reply_queue(view["queue"]),
        "script": _script(view, parts, mine, may, words)
        | {
            "levels": [
                {"rank": rank, "said": [level.en, level.zh]}
                for rank, level in enumerate(rules.levels)
                if level.word not in _no_advice(rules)
            ]
        },
    }


def conflict_words(conflict: str, language: Language) -> str:
    """Say who contradicts whom about an eye.

    Args:
        conflict: As ``laterality.eye_of`` says it.
        language: Which words.

    Returns:
        The same in that language.

    Example:
        >>> conflict_words("request says OD, file name says OS", "zh")
        '申请为 OD，文件名为 OS'

    References:
        Our own.
    """
    if language == "en":
        return conflict
    for source, named in _SAID_BY.items():
        conflict = conflict.replace(f"{source} says ", f"{named}为 ")
    return _SAID.get(conflict, conflict.replace(", ", "，"))


_SAID: Final = {SAME_PICTURE: "双眼发送了同一张图像", NOBODY: "没有任何信息说明眼别"}
# Everybody who has a say in ``laterality`` and ``reading``.
_SAID_BY: Final = {
    "request": "申请", "image": "图像", "file header": "文件头", "file name": "文件名", "disc position": "视盘位置",
}  # fmt: skip


def _no_advice(rules: Rules) -> tuple[str, ...]:
    """Urgencies that tell a patient nothing to do: they say what nobody knows yet."""
    return rules.states.held, rules.states.failed, rules.states.nothing


def _keys(parts: Sequence[Part]) -> list[str]:
    """Both eyes of these parts."""
    return [f"{part}/{eye}" for part in parts for eye in EYES]


def _ai(view: Mapping[str, Any], key: str, words: Words, language: Language) -> dict[str, Any]:
    """What the models say of an eye, or why they do not."""
    said: Mapping[str, Mapping[str, Any]] = view["answered"]["said"].get(key, {})
    names, missing = words.known("titles"), view["unavailable"]
    yes: list[dict[str, Any]] = []
    no: list[dict[str, Any]] = []
    for name, each in said.items():
        told = {"name": name, "title": names[name], "value": each["value"], "score": each["score"]}
        if name == GRADED:
            told["title"] = words.say(f"grades.{each['value']}")
        (yes if each["value"] or name == GRADED else no).append(told)
    why: dict[str, list[str]] = {}
    for place, word in missing.items():
        if place.startswith(f"{key}."):
            why.setdefault(UNAVAILABLE[word][language], []).append(place.partition(".")[2])
    quality = view["answered"]["quality"].get(key, "")
    return {
        "yes": sorted(yes, key=lambda each: each["name"] != GRADED),
        "no": no,
        "why": _why(view, missing[key], language) if key in missing else "",
        "cannot": missing.get(key) == "cannot_grade",
        "missing": why,
        "quality": quality_words(quality, language) if quality else "",
        "areas": [
            TITLES[each][language] if each in TITLES else each for each in view["answered"]["areas"].get(key, [])
        ],
    }


def _why(view: Mapping[str, Any], word: str, language: Language) -> str:
    """Why there is no answer of an eye; while an image's eye is open, nobody can say that none was sent."""
    return UNAVAILABLE["eye_held" if word == "no_image" and view["held"] else word][language]


def _signed(key: str, eye: Mapping[str, Any], words: Words) -> dict[str, list[str]]:
    """What a doctor said of an eye: what is there, what is not, and what was left open."""
    findings, names = eye["findings"], words.known("titles")
    known = next(listed for part, listed in FINDINGS.items() if key.startswith(part))
    there = [f"{findings[GRADED]} {words.say(f'grades.{findings[GRADED]}')}"] if GRADED in findings else []
    short = {name: name if len(name) < 4 else names[name] for name in known}
    return {
        "there": there + [names[name] for name in known if findings.get(name) and name != GRADED],
        "absent": [short[name] for name in known if findings.get(name) == 0 and name != GRADED],
        "open": [short[name] for name in known if name not in findings],
    }


def _measured(view: Mapping[str, Any], language: Language) -> list[dict[str, str]]:
    """Acuity and pressure, now and earlier."""
    order = view["order"]
    visits = [(order["visit_time"], order["od"], order["os"], True)]
    visits += [(each["time"], each["od"], each["os"], False) for each in order["earlier"]]
    return [
        {
            "time": time[:10],
            "now": "1" if now else "",
            **{
                f"{what}_{eye}": said
                for eye, exam in (("OD", od), ("OS", os))
                for what, said in (
                    ("acuity", acuity_words(EyeExam.model_validate(exam), language) if exam["acuity"] else ""),
                    ("pressure", f"{exam['pressure_mmhg']:g}" if exam["pressure_mmhg"] is not None else ""),
                )
            },
        }
        for time, od, os, now in visits
        if any(exam["acuity"] or exam["pressure_mmhg"] is not None for exam in (od, os))
    ]


def _script(
    view: Mapping[str, Any], parts: Sequence[Part], mine: Opinion, may: Mapping[str, bool], words: Words
) -> dict[str, Any]:
    """What scripts need; nothing that a model said where the reader is to look first."""
    blind = view["blind"]
    return {
        "id": view["id"],
        "patient": view["order"]["person"]["patient_id"],
        "name": view["order"]["person"]["name"],
        "version": view["version"],
        "state": view["state"],
        "working": view["working"],
        "held": view["held"],
        "blind": blind,
        "write": may["write"],
        "report": view["door"] == "report",
        "parts": list(parts),
        "findings": {part: list(FINDINGS[part]) for part in parts},
        "images": _images(view),
        "earlier": [
            {
                "id": each["id"],
                "date": (each["visit_time"] or each["received_at"])[:10],
                "images": [{**image, "case": each["id"]} for image in each["images"] if image["eye"]],
            }
            for each in view["earlier"]
        ],
        "said": {} if blind else view["answered"]["said"],
        "cannot": [] if blind else [key for key in _keys(parts) if view["unavailable"].get(key) == "cannot_grade"],
        "areas": {} if blind else view["answered"]["areas"],
        "opinion": mine.model_dump(),
        "texts": list(ANSWERED) if view["door"] == "report" else [],
        "titles": dict(words.known("titles")),
        "grades": dict(words.known("grades")),
    }


def _images(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What there is to look at."""
    return [
        {
            "case": view["id"],
            "place": each["place"],
            "part": each["part"],
            "eye": each["eye"],
            "slices": each["slices"],
            "heat": [] if view["blind"] else [heat["target"] for heat in each["heat"]],
        }
        for each in view["images"]
    ]
