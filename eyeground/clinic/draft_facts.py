"""What a case's narrative is drafted from, and whether a narrative still tells what a draft told of other facts."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answering import answer_of
from eyeground.clinic.db.opinions import Draft
from eyeground.clinic.db.tables import Case
from eyeground.clinic.drafts import bare
from eyeground.clinic.findings import EYES
from eyeground.clinic.llm.slots import Plan
from eyeground.clinic.llm.telling import narrative_of
from eyeground.clinic.records import Opinion
from eyeground.clinic.report.language import languages, words_of

# So many letters of what a fact is called go with it where it is looked for: enough to tell the sentence by, few enough
# that a sentence begun anew is still the draft's.
_LABEL: Final = 4
_SHOWN: Final = 90  # letters of a sentence that a refusal names


@dataclass(frozen=True)
class _Told:
    """How a draft told a fact."""

    language: str
    name: str
    lead: str
    value: str

    @property
    def eye(self) -> str:
        """Whose."""
        return self.name.partition("_")[0]

    def said_of(self, value: str) -> str:
        """The same said of another value, as it is looked for."""
        return bare(self.lead)[-_LABEL:] + bare(value)


def narrative_plan(session: Session, case: Case, opinion: Opinion | None, language: str) -> Plan:
    """Say what a case's narrative holds.

    Args:
        session: An open transaction.
        case: The case.
        opinion: What the doctor says so far; None = nothing.
        language: A code of the shelf ``report/lang``.

    Returns:
        The plan.

    Raises:
        LookupError: If there is no such language.

    References:
        ``eyeground.clinic.llm.telling.narrative_of``.
    """
    return narrative_of(answer_of(session, case, revision=0), opinion, language)


def outdated(session: Session, case: Case, opinion: Opinion) -> list[str]:
    """List what a narrative took from a draft and does not hold of the opinion that it stands in.

    Args:
        session: An open transaction.
        case: The case.
        opinion: What is about to be signed.

    Returns:
        What is wrong, in one sentence that names all such; empty where nothing is. What a doctor wrote himself is not
        read: only what a draft told, word for word, of the same eye.

    References:
        docs/clinic.md.
    """
    if not opinion.narrative.strip():
        return []
    wanted = select(Draft).where(Draft.case_id == case.id, Draft.revision <= case.revision).order_by(Draft.id)
    told = [
        _Told(row.language, name, lead, value)
        for row in session.scalars(wanted)
        for name, (lead, value) in row.told.items()
    ]
    now: dict[tuple[str, str], str] = {}
    for language in dict.fromkeys(each.language for each in told):
        plan = narrative_plan(session, case, opinion, language)
        now |= {(language, slot.name): slot.value for section in plan.sections for slot in section.slots}
    found = list(dict.fromkeys(_stale(told, now, opinion.narrative)))
    if not found:
        return []
    named = " / ".join(found)
    return [f"narrative: the draft was made from other findings: draft again, or rewrite these sentences: {named}"]


def _stale(told: Sequence[_Told], now: Mapping[tuple[str, str], str], narrative: str) -> Iterator[str]:
    """Sentences of drafts that stand in a narrative and do not hold."""
    for eyes, text in _by_eye(narrative):
        holding: dict[str, int] = {}  # sentence -> of how many of these eyes it holds
        wrong: dict[str, _Told] = {}
        mine = [each for each in told if each.eye in eyes]
        for each in mine:
            value = now.get((each.language, each.name))
            if value != each.value:
                wrong.setdefault(each.said_of(each.value), each)
        for eye in eyes:
            right = {
                each.said_of(now[each.language, each.name])
                for each in mine
                if each.eye == eye and (each.language, each.name) in now
            }
            for sentence in right:
                holding[sentence] = holding.get(sentence, 0) + 1
        found = _longest({*holding, *wrong}).findall(text)
        for sentence in wrong:
            if found.count(sentence) > holding.get(sentence, 0):
                yield f"{wrong[sentence].eye} {_shown(wrong[sentence])}"


def _longest(sentences: Iterable[str]) -> re.Pattern[str]:
    """Pattern of the longest of them at a place: one may begin as another does."""
    each = "|".join(re.escape(one) for one in sorted(sentences, key=len, reverse=True))
    return re.compile(each or r"(?!)")


def _by_eye(narrative: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """What a narrative tells of each eye, and before it names one; bare."""
    names = {bare(words_of(code).say(f"eyes.{eye}")): eye for code in languages() for eye in EYES}
    pieces = re.split(f"({'|'.join(map(re.escape, names))})", bare(narrative))
    yield EYES, pieces[0]
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        yield (names[name],), text


def _shown(told: _Told) -> str:
    """A sentence as a refusal names it: semicolons part refusals, and reasons in braces are somebody's own words."""
    text = re.split(r"[(（]", f"{told.lead}{told.value}".replace(";", ","))[0].rstrip()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
