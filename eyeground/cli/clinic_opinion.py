"""A doctor's opinion, made of what was typed and what the models say."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from eyeground.cli.config import ConfigError
from eyeground.clinic.exchange.report import ANSWERED
from eyeground.clinic.findings import FINDINGS, UNAVAILABLE
from eyeground.clinic.records import EyeReview, Opinion

_KEY = re.compile(r"(fundus|anterior)/(OD|OS)")
_SET = re.compile(r"((?:fundus|anterior)/(?:OD|OS))\.([A-Za-z]+)=([0-9]+)")
_EYE = re.compile(r"([0-9]+)=(OD|OS)")


def opinion_of(
    view: Mapping[str, Any],
    *,
    accept: bool = False,
    sets: Sequence[str] = (),
    ungradable: Sequence[str] = (),
    reasons: Sequence[str] = (),
    texts: Sequence[str] = (),
    conclusion: str = "",
    recommendation: str = "",
) -> Opinion:
    """Put an opinion together: the draft that is there, then the models' answers if wanted, then what was typed.

    Args:
        view: The case, as ``eyeground.clinic.views.case_view`` shows it.
        accept: Take the models' answers for every eye; what they could not grade is called ungradable.
        sets: ``fundus/OD.DR=2``.
        ungradable: ``fundus/OS``.
        reasons: ``fundus/OS=WORDS``, or words alone for every eye named in this call.
        texts: ``NAME=WORDS`` of a report request.
        conclusion: Replaces the draft's; empty = left.
        recommendation: Likewise.

    Returns:
        The opinion.

    Raises:
        ConfigError: If something typed cannot be read; all is named.

    Example:
        >>> view = {"revision": 1, "reviews": [], "unavailable": {}, "answered": {"values": {}, "quality": {}}}
        >>> opinion_of(view, sets=["fundus/OD.DR=2"], conclusion="Retinopathy").eyes["fundus/OD"].findings
        {'DR': 2}

    References:
        docs/clinic.md.
    """
    drafts = [each for each in view["reviews"] if each["revision"] == view["revision"]]
    old = Opinion.model_validate(drafts[0]["opinion"] if drafts else {})
    eyes = dict(old.eyes)
    if accept:
        eyes |= _accepted(view)
    wrong: list[str] = []
    named: list[str] = []
    for word in sets:
        found = _SET.fullmatch(word)
        if found is None:
            wrong.append(f"--set {word}: write it as fundus/OD.DR=2; findings: {_known()}")
            continue
        key, name, value = found.groups()
        before = eyes.get(key, EyeReview())
        eyes[key] = EyeReview(findings={**before.findings, name: int(value)}, reason=before.reason)
        named.append(key)
    for key in ungradable:
        if not _KEY.fullmatch(key):
            wrong.append(f"--ungradable {key}: an eye is fundus/OD, fundus/OS, anterior/OD or anterior/OS")
            continue
        eyes[key] = EyeReview(ungradable=True, reason=eyes.get(key, EyeReview()).reason)
        named.append(key)
    for word in reasons:
        key, _, words = word.partition("=")
        one = bool(_KEY.fullmatch(key))
        if not one and not named:
            wrong.append(f"--reason: say for which eye, as in fundus/OD={word[:40]}")
        for each in [key] if one else named:
            eyes[each] = eyes.get(each, EyeReview()).model_copy(update={"reason": words if one else word})
    filled = dict(old.texts)
    for word in texts:
        name, mark, words = word.partition("=")
        if not mark or name not in ANSWERED:
            wrong.append(f"--text: write it as NAME=WORDS, with a name of {', '.join(ANSWERED)}")
        filled[name] = words
    if texts and view["door"] != "report":
        wrong.append("--text: only a report request has such texts; say --conclusion and --recommendation")
    for option, typed in (
        ("--conclusion", (conclusion,)), ("--recommendation", (recommendation,)), ("--text", texts),
        ("--reason", reasons),
    ):  # fmt: skip
        if any(map(unclean, typed)):
            wrong.append(f"{option}: holds control characters, or bytes that are no UTF-8: type it anew")
    if wrong:
        raise ConfigError("\n".join(wrong))
    try:
        return Opinion(
            eyes=eyes,
            conclusion=conclusion or old.conclusion,
            recommendation=recommendation or old.recommendation,
            narrative=old.narrative,
            texts=filled,
        )
    except ValueError:
        raise ConfigError("--conclusion, --recommendation: 4000 characters at most") from None


def unclean(words: str) -> bool:
    """Say whether words cannot be kept, or would move a reader's cursor.

    Args:
        words: As they were typed.

    Returns:
        Whether they hold control characters other than line ends and tabs, or half a character.

    Example:
        >>> unclean("one\\ntwo"), unclean("\\x1b[2J"), unclean("\\udcff")
        (False, True, True)

    References:
        Unicode, general categories Cc and Cs.
    """
    return any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t" for letter in words)


def eye_of_place(word: str) -> tuple[int, Any]:
    """Read which eye an image shows.

    Args:
        word: ``PLACE=OD`` or ``PLACE=OS``; places are counted from 0.

    Returns:
        Place and eye.

    Raises:
        ConfigError: If it cannot be read.

    Example:
        >>> eye_of_place("1=OS")
        (1, 'OS')

    References:
        Our own.
    """
    found = _EYE.fullmatch(word)
    if found is None:
        raise ConfigError(f"--eye {word}: write it as 0=OD, with the number that 'eyeground clinic review CASE' shows")
    return int(found[1]), found[2]


def _accepted(view: Mapping[str, Any]) -> dict[str, EyeReview]:
    """What the models say, as a doctor's own word."""
    eyes = {key: EyeReview(findings=values) for key, values in view["answered"]["values"].items() if values}
    for key, why in view["unavailable"].items():
        if "." not in key and why in ("cannot_grade", "failed") and "?" not in key:
            verdict = view["answered"]["quality"].get(key, "") if why == "cannot_grade" else ""
            eyes[key] = EyeReview(ungradable=True, reason=verdict or UNAVAILABLE[why]["en"])
    return eyes


def _known() -> str:
    """The findings that there are."""
    return "; ".join(f"{part}: {', '.join(findings)}" for part, findings in FINDINGS.items())
