"""What may be said in a language: one TOML file a language."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

SHELF: Final = Path(__file__).with_name("lang")
_Words = Mapping[str, tuple[str, ...]]
_LISTS: Final = ("phrases", "after", "before_disease", "refused", "sides")


@dataclass(frozen=True)
class Lexicon:
    """What a narrative may say in one language.

    Args:
        code: The language.
        gap: What runs of blanks count as.
        note: What stands below a text that a model has drafted.
        same: Signs that count as others.
        as_: Those others, in the same order.
        eye: What each eye is called in phrases.
        parts: What parts of the eye are called in the template.
        sentences: The template's sentence for each kind of fact.
        pieces: Patterns that phrases are put together from.
        phrases: Patterns of what may stand before each kind of fact.
        disease: Such as begin with a disease's name.
        names: Those names.
        joins: What joins a fact to the one before, and what ends a text.
        after: By a kind of fact, what may join a phrase to it.
        before_disease: The same of a phrase that begins with a disease's name.
        opening: What may stand before the first phrase, and before which kinds.
        refused: Words that may never be written, by the reason.
        sides: Words that name each eye.
        prompt: What a model is told.

    Example:
        >>> lexicon_of("en").sentences["acuity"]
        'Visual acuity: {value}.'

    References:
        Our own.
    """

    code: str
    gap: str
    note: str
    same: str
    as_: str
    eye: Mapping[str, str]
    parts: Mapping[str, str]
    sentences: Mapping[str, str]
    pieces: Mapping[str, str]
    phrases: _Words
    disease: _Words
    names: tuple[str, ...]
    joins: Mapping[str, str]
    after: _Words
    before_disease: _Words
    opening: Mapping[str, str | list[str]]
    refused: _Words
    sides: _Words
    prompt: Mapping[str, str]


@cache
def lexicon_of(language: str) -> Lexicon:
    """Open a language.

    Args:
        language: A code of the shelf ``llm/lang``.

    Returns:
        What may be said in it.

    Raises:
        LookupError: If the shelf has no such language.

    Example:
        >>> lexicon_of("zh").parts["fundus"]
        '眼底'

    References:
        Our own.
    """
    if language not in {path.stem for path in SHELF.glob("*.toml")}:
        raise LookupError("no narrative is written in that language")
    told = tomllib.loads((SHELF / f"{language}.toml").read_text("utf-8"))
    for name in _LISTS:
        told[name] = {key: tuple(words) for key, words in told[name].items()}
    disease, as_ = told.pop("disease"), told.pop("as")
    names = tuple(disease.pop("names"))
    phrases = {key: tuple(each) for key, each in disease.items()}
    return Lexicon(code=language, disease=phrases, names=names, as_=as_, **told)
