"""A drafted narrative held against what it must hold and may say: whatever is not surely harmless is thrown away."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from eyeground.clinic.findings import EYES
from eyeground.clinic.llm.grammar import Fact, ends_right, plain, stands_right
from eyeground.clinic.llm.lexicon import Lexicon, lexicon_of
from eyeground.clinic.llm.slots import TOKEN, Kind, Plan, Section, Side, Slot
from eyeground.clinic.records import Part

MOST_LETTERS: Final = 1200  # of one section
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_WHOLE: Final = ("acuity", "pressure")  # kinds that are of the whole eye
_MARKS: Final = " ,;:.()[]_，；：。（）"


@dataclass(frozen=True)
class Fault:
    """Why a draft is thrown away.

    Args:
        code: A key of ``reasons.toml``.
        section: In which section; empty = in none.

    Example:
        >>> Fault("digits", "narrative_OD").code
        'digits'

    References:
        Our own.
    """

    code: str
    section: str = ""


def faults(plan: Plan, prose: Mapping[str, str]) -> list[Fault]:
    """Find everything for which a draft has to be thrown away.

    The rule is what may be said, not what may not: a text is let through if it holds each placeholder of its eye once
    and none besides, and if all that stands before, between and behind them is, letter by letter, one of the phrases of
    ``lang/<language>.toml``: a finite list that was read. Words that can never be said are looked for besides, in the
    whole text, so that a phrase that should not be in the list is found.

    Args:
        plan: What the draft must hold.
        prose: By a section's key what the model wrote.

    Returns:
        Each fault once, in the order of the sections; none = it may be shown.

    Raises:
        LookupError: If no narrative is written in the plan's language.

    Example:
        >>> slot = Slot("OD", None, "pressure", "17 mmHg")
        >>> plan = Plan("en", (Section("narrative", "OD", "Right eye: ", (slot,)),))
        >>> faults(plan, {"narrative_OD": "Intraocular pressure: [[OD_PRESSURE]]."})
        []
        >>> [each.code for each in faults(plan, {"narrative_OD": "Normal pressure: [[OD_PRESSURE]]."})]
        ['phrase', 'judgement']

    References:
        Our own.
    """
    if set(prose) != {section.key for section in plan.open}:
        return [Fault("sections")]
    words, found = lexicon_of(plan.language), []
    for section in plan.open:
        codes = list(_unfit(prose[section.key]))
        if not codes:
            codes = [code for rule in RULES for code in rule(section, prose[section.key], words)]
        found += [Fault(code, section.key) for code in dict.fromkeys(codes)]
    return found


def _unfit(prose: str) -> Iterator[str]:
    """Neither nothing nor a novel, and nothing that cannot be seen; else nothing more is asked of it."""
    if not prose.strip():
        yield "nothing"
    if len(prose) > MOST_LETTERS:
        yield "too_long"
    if any(unicodedata.category(letter).startswith("C") for letter in prose):
        yield "invisible"


def _placeholders(section: Section, prose: str, words: Lexicon) -> Iterator[str]:
    """Each of its own once, and none besides."""
    wanted, found = {slot.name for slot in section.slots}, Counter(TOKEN.findall(prose))
    others = [name for name in found if name not in wanted]
    if any(not name.startswith(f"{section.eye}_") and name.partition("_")[0] in EYES for name in others):
        yield "other_eye"
    elif others or set("[]") & set(TOKEN.sub("", prose)):
        yield "unknown_placeholder"
    if wanted - found.keys():
        yield "missing_placeholder"
    if any(count > 1 for count in found.values()):
        yield "repeated_placeholder"


def _phrases(section: Section, prose: str, words: Lexicon) -> Iterator[str]:
    """Before each fact a phrase of its own, and nothing anywhere else."""
    slots: dict[str, Slot] = {slot.name: slot for slot in section.slots}
    *pieces, rest = TOKEN.split(prose)  # words, name, words, name, ..., words
    before: Fact | None = None
    for told, name in zip(pieces[::2], pieces[1::2], strict=True):
        slot = slots.get(name)
        if slot is None:
            before = None
            continue  # a fault already
        fact, text = Fact(slot.kind, slot.part), plain(told, words)
        if not stands_right(before, fact, section.eye, text, words):
            yield _wrong(before, fact, section.eye, text, words)
        before = fact
    if not ends_right(plain(rest, words), words):
        yield "beside_facts"


def _wrong(before: Fact | None, fact: Fact, eye: Side, text: str, words: Lexicon) -> str:
    """What is wrong with what stands before a fact."""
    parts: tuple[Part | None, ...] = (None, "fundus", "anterior")
    others = [Fact(kind, part) for kind in _KINDS for part in parts if (part is None) == (kind in _WHOLE)]
    fitting = [each for each in others if stands_right(before, each, eye, text, words)]
    if any(each.kind == fact.kind for each in fitting):
        return "wrong_part"
    return "misnamed" if fitting else "phrase"


def _words(section: Section, prose: str, words: Lexicon) -> Iterator[str]:
    """Nothing that can never be said, whatever the phrases are."""
    bare = plain(TOKEN.sub("\0", prose), words).lower()
    for name in words.names:
        bare = bare.replace(name, "\0")
    sides = [word for eye, each in words.sides.items() if eye != section.eye for word in each]
    for code, each in (*words.refused.items(), ("other_eye", sides)):
        if any(_stands_in(word, bare) for word in each):
            yield code
    kinds = {unicodedata.category(letter)[0] for letter in bare.replace("\0", "")}
    if "N" in kinds:
        yield "digits"
    if any(letter.isalpha() and (letter.isascii() is (words.gap == "")) for letter in bare):
        yield "language"
    if any(letter not in _MARKS and unicodedata.category(letter)[0] in "MPSZ" for letter in bare):
        yield "markup"


def _stands_in(word: str, text: str) -> bool:
    """Whether a word is in a text; one in Latin letters, as a word."""
    return word in text and (not word.isascii() or bool(re.search(f"(?<![a-z]){re.escape(word)}(?![a-z])", text)))


RULES: Final = (_placeholders, _phrases, _words)
