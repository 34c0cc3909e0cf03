"""What may stand before, between and behind facts: the patterns of a language, made out for an eye."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from eyeground.clinic.llm.lexicon import Lexicon, lexicon_of
from eyeground.clinic.llm.slots import Kind, Side
from eyeground.clinic.records import Part

_PIECE: Final = re.compile(r"\{(\w+)\}")
_SMALL: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
# In patterns of a language a stop is a stop; all else that has a meaning in them is a choice.
_STOP: Final = str.maketrans({".": r"\."})


@dataclass(frozen=True)
class Fact:
    """Which fact it is, without what it says.

    Args:
        kind: What kind of fact.
        part: Of what of the eye; None where it is the whole eye's.

    Example:
        >>> Fact("acuity", None).part is None
        True

    References:
        Our own.
    """

    kind: Kind
    part: Part | None


def plain(text: str, words: Lexicon) -> str:
    """Write a text as patterns are written: small letters, one kind of comma, blanks as the language counts them.

    Args:
        text: The text.
        words: The language.

    Returns:
        The text, plain. Only the letters A to Z are made small: nothing else may turn into a letter of ours.

    Example:
        >>> plain("视力 : ", lexicon_of("zh"))
        '视力：'

    References:
        Our own.
    """
    text = text.translate(_SMALL).translate(str.maketrans(words.same, words.as_))
    return re.sub(" +", words.gap, text)


def patterns_of(fact: Fact, eye: Side, words: Lexicon) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make out what may stand before a fact.

    Args:
        fact: Which.
        eye: Of which eye.
        words: The language.

    Returns:
        Patterns of phrases, and of those that begin with a disease's name; ``(a|b)`` is a choice in them, and nothing
        else is special.

    Example:
        >>> patterns_of(Fact("diseases", "fundus"), "OD", lexicon_of("zh"))[0][0]
        '眼底印象：'

    References:
        Our own.
    """
    kinds = (words.phrases.get(fact.kind, ()), words.disease.get(fact.kind, ()))
    ordinary, disease = (tuple(_made_out(each, fact.part, eye, words) for each in patterns) for patterns in kinds)
    return ordinary, disease


def stands_right(before: Fact | None, fact: Fact, eye: Side, text: str, words: Lexicon) -> bool:
    """Tell whether what stands before a fact may.

    Args:
        before: The fact before it; None = it is the first.
        fact: The fact.
        eye: Of which eye.
        text: All that stands between the two, as ``plain`` writes it.
        words: The language.

    Returns:
        True where a join and a phrase of the fact, or an opening and a phrase, are all of it.

    Example:
        >>> fact, words = Fact("pressure", None), lexicon_of("en")
        >>> stands_right(None, fact, "OD", "tonometry: ", words), stands_right(None, fact, "OD", "normal: ", words)
        (True, False)

    References:
        Our own.
    """
    return _pattern(before.kind if before else None, fact, eye, words.code).fullmatch(text) is not None


def ends_right(text: str, words: Lexicon) -> bool:
    """Tell whether what stands behind the last fact may.

    Args:
        text: All of it, as ``plain`` writes it.
        words: The language.

    Returns:
        True for a full stop, or nothing.

    Example:
        >>> ends_right(".", lexicon_of("en")), ends_right(", seen.", lexicon_of("en"))
        (True, False)

    References:
        Our own.
    """
    return re.fullmatch(words.joins["end"].translate(_STOP), text.rstrip(" ")) is not None


@cache
def _pattern(before: Kind | None, fact: Fact, eye: Side, language: str) -> re.Pattern[str]:
    """Everything that may stand between two facts."""
    words = lexicon_of(language)
    ways = [
        f"(?:{start})(?:{'|'.join(patterns)})"
        for start, patterns in zip(_starts(before, fact, eye, words), patterns_of(fact, eye, words), strict=True)
        if start is not None and patterns
    ]
    return re.compile("|".join(ways).translate(_STOP) or r"(?!)")


def _starts(before: Kind | None, fact: Fact, eye: Side, words: Lexicon) -> Iterator[str | None]:
    """What may stand before an ordinary phrase, and before one that begins with a disease's name."""
    if before is None:
        opening = f"{words.opening['first']}{words.opening['second']}" if fact.kind in words.opening["kinds"] else ""
        yield _made_out(opening, fact.part, eye, words)
        yield ""
        return
    for table in (words.after, words.before_disease):
        yield "|".join(words.joins[name] for name in table[before])


def _made_out(pattern: str, part: Part | None, eye: Side, words: Lexicon) -> str:
    """A pattern with its pieces in it."""
    pieces = {**words.pieces, "side": words.eye[eye]}
    if part is not None:
        pieces |= {"part": words.pieces[f"part_{part}"], "of_part": words.pieces[f"of_part_{part}"]}
    while _PIECE.search(pattern):
        pattern = _PIECE.sub(lambda found: pieces[found[1]], pattern)
    return pattern
