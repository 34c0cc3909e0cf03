"""Drafted texts as they are kept: whether a report needs the AI mark, and what the doctor made of a draft."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.db.opinions import Draft
from eyeground.clinic.db.tables import Review

LLM: Final = "llm"
TEMPLATE: Final = "template"
# A word, a number, a run of blanks, or one character: Chinese has no blanks between words.
_PIECE: Final = re.compile(r"[A-Za-z]+|\d+(?:\.\d+)?|\s+|.", re.DOTALL)
_RUN: Final = 8  # a Chinese character weighs 1, a word or number 2
# Beyond this many pairs of pieces a difference is told line by line, and beyond as many pairs of lines as a whole: the
# exact one takes their product in time.
_MOST_PAIRS: Final = 1_000_000
# So many drafts, the newest, are told word by word; of older ones a look at their texts has to do.
_MOST_TOLD: Final = 4


@dataclass(frozen=True)
class Stretch:
    """A stretch of text that a doctor kept, took out or put in.

    Args:
        kind: What became of it.
        text: The text.

    Example:
        >>> Stretch("added", "left").kind
        'added'

    References:
        Our own.
    """

    kind: Literal["same", "removed", "added"]
    text: str


def by_llm(session: Session, case_id: str, revision: int) -> bool:
    """Tell whether an opinion's text, as it is stored now, holds words that a language model drafted.

    An amendment begins with the text of the revision before, so drafts of that one count. When it is signed the answer
    is kept with it (``Review.drafted_by``); who renders what was signed reads it there.

    Args:
        session: An open transaction.
        case_id: The case.
        revision: Of which opinion.

    Returns:
        True when any of its texts shares a run of words with a language model's draft that was accepted: four words or
        numbers, or eight Chinese characters, whatever stands between them but words. Who writes the same by himself
        after asking for a draft is marked, too.

    References:
        Measures for Labeling AI-Generated Synthetic Content, China, 2025.
    """
    opinion = opinion_of(session, case_id, revision)
    told = (opinion.get(name, "") for name in ("conclusion", "recommendation", "narrative"))
    mine = _runs("\n".join(map(str, (*told, *opinion.get("texts", {}).values()))))
    wanted = select(Draft.texts).where(Draft.case_id == case_id, Draft.revision <= revision, Draft.by == LLM)
    return any(mine & _runs(str(text)) for texts in session.scalars(wanted) for text in texts.values())


def bare(text: str) -> str:
    """Take out of a text all but letters and digits.

    Args:
        text: The text.

    Returns:
        What is left, in small letters: two texts that differ in blanks and punctuation alone are the same.

    Example:
        >>> bare("IOP: 17 mmHg（眼压）")
        'iop17mmhg眼压'

    References:
        Our own.
    """
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())


def _runs(text: str) -> set[tuple[str, ...]]:
    """Every run of words of a text that weighs enough to be somebody's."""
    pieces = [bare(each) for each in _PIECE.findall(unicodedata.normalize("NFKC", text))]
    words = [each for each in pieces if each]
    weights = [2 if each.isascii() else 1 for each in words]
    runs = set()
    for begin in range(len(words)):
        weight, end = 0, begin
        while weight < _RUN and end < len(words):
            weight, end = weight + weights[end], end + 1
        if weight >= _RUN:
            runs.add(tuple(words[begin:end]))
    return runs


def opinion_of(session: Session, case_id: str, revision: int) -> Mapping[str, Any]:
    """Read an opinion as it is stored, signed or not.

    Args:
        session: An open transaction.
        case_id: The case.
        revision: Which.

    Returns:
        A ``records.Opinion`` as plain values; empty where nothing is stored.

    References:
        Our own.
    """
    wanted = select(Review.opinion).filter_by(case_id=case_id, revision=revision)
    return session.scalars(wanted).first() or {}


def drafts_of(session: Session, case_id: str) -> list[dict[str, Any]]:
    """List the drafts of a case, each with what became of it.

    Args:
        session: An open transaction.
        case_id: The case.

    Returns:
        Plain values, the newest first: ``id, revision, language, by, model, texts, rejected, facts_sha256, seconds,
        asked_by, made_at`` and ``difference``: by the text's name the stretches that lead from the draft to what is
        stored for its revision now; empty while nothing is stored, and of all but the newest few.

    References:
        Our own.
    """
    rows = session.scalars(select(Draft).filter_by(case_id=case_id).order_by(Draft.id.desc()))
    told: list[dict[str, Any]] = []
    for row in rows:
        opinion = opinion_of(session, case_id, row.revision)
        stored = {**opinion.get("texts", {}), "narrative": opinion.get("narrative", "")}
        is_new = len(told) < _MOST_TOLD
        names = [name for name in row.texts if is_new and str(stored.get(name, "")).strip()]
        told.append(
            {
                "id": row.id, "revision": row.revision, "language": row.language, "by": row.by, "model": row.model,
                "texts": row.texts, "rejected": row.rejected, "facts_sha256": row.facts_sha256,
                "seconds": row.seconds, "asked_by": row.asked_by, "made_at": row.made_at,
                "difference": {name: [vars(each) for each in changes(row.texts[name], stored[name])] for name in names},
            }
        )  # fmt: skip
    return told


def changes(before: str, after: str) -> list[Stretch]:
    """Say word by word what became of a text.

    Args:
        before: As it was drafted.
        after: As it is now.

    Returns:
        Stretches in order; those that were not added make ``before``, those that were not removed make ``after``.

    Example:
        >>> [(each.kind, each.text) for each in changes("the right eye", "the left eye")]
        [('same', 'the '), ('removed', 'right'), ('added', 'left'), ('same', ' eye')]

    References:
        Python's ``difflib``, after Ratcliff & Obershelp, 1988.
    """
    old, new = _PIECE.findall(before), _PIECE.findall(after)
    if len(old) * len(new) > _MOST_PAIRS:
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if len(old) * len(new) > _MOST_PAIRS:
        old, new = [before], [after]
    return list(_stretches(old, new))


def _stretches(old: list[str], new: list[str]) -> Iterator[Stretch]:
    """What became of the pieces."""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, begin, end, other_begin, other_end in matcher.get_opcodes():
        if kind == "equal":
            yield Stretch("same", "".join(old[begin:end]))
            continue
        if end > begin:
            yield Stretch("removed", "".join(old[begin:end]))
        if other_end > other_begin:
            yield Stretch("added", "".join(new[other_begin:other_end]))
