"""What a narrative must hold: sections of one eye each, and the placeholders that stand in them for facts."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from eyeground.clinic.records import Part

Kind = Literal["acuity", "pressure", "quality", "grade", "findings", "features", "diseases"]
Side = Literal["OD", "OS"]
TOKEN: Final = re.compile(r"\[\[([A-Z_]+)\]\]")


@dataclass(frozen=True)
class Slot:
    """A fact, and the placeholder that stands for it.

    Args:
        eye: Whose.
        part: Of what of the eye; None where it is the whole eye's.
        kind: What kind of fact.
        value: The fact in words, as it goes into the text; it never leaves the building.

    Example:
        >>> Slot("OD", "anterior", "findings", "AI detected: cataract").token
        '[[OD_ANTERIOR_FINDINGS]]'

    References:
        Our own.
    """

    eye: Side
    part: Part | None
    kind: Kind
    value: str

    @property
    def name(self) -> str:
        """The placeholder without its brackets."""
        return "_".join(filter(None, (self.eye, (self.part or "").upper(), self.kind.upper())))

    @property
    def token(self) -> str:
        """The placeholder."""
        return f"[[{self.name}]]"


@dataclass(frozen=True)
class Section:
    """What is told of one eye in one text.

    Args:
        text: Which text it belongs to, such as ``"narrative"``.
        eye: Which eye.
        lead: What stands before it in the text, such as ``"Right eye (OD): "``; it is ours, not a model's.
        slots: The facts, in their order; none where ``fixed`` says that there are none.
        fixed: Our own sentence where there is nothing to draft.

    Example:
        >>> Section("narrative", "OD", "Right eye (OD): ", ()).key
        'narrative_OD'

    References:
        Our own.
    """

    text: str
    eye: Side
    lead: str
    slots: tuple[Slot, ...]
    fixed: str = ""

    @property
    def key(self) -> str:
        """Its name in a model's answer."""
        return f"{self.text}_{self.eye}"


@dataclass(frozen=True)
class Plan:
    """What a draft must hold.

    Args:
        language: A code of the shelf ``report/lang``.
        sections: In the order of the text.
        end: What stands at the end of every text; ours, not a model's.

    Example:
        >>> Plan("en", ()).open
        ()

    References:
        Our own.
    """

    language: str
    sections: tuple[Section, ...]
    end: str = ""

    @property
    def open(self) -> tuple[Section, ...]:
        """Sections that a model may write."""
        return tuple(section for section in self.sections if section.slots)

    @property
    def sha256(self) -> str:
        """Hash of all facts."""
        told = [
            (each.key, each.lead, each.fixed, [(slot.name, slot.value) for slot in each.slots])
            for each in self.sections
        ]
        text = json.dumps([self.language, told], ensure_ascii=False).encode("utf-8", "replace")
        return hashlib.sha256(text).hexdigest()


def fill(plan: Plan, prose: Mapping[str, str]) -> dict[str, str]:
    """Put facts where their placeholders stand, and sections together to texts.

    Args:
        plan: What the draft must hold.
        prose: By a section's key what is told, with placeholders; it was checked.

    Returns:
        By name the texts. What a fact says is not read again: a placeholder in it stays what it is.

    Raises:
        KeyError: If a section or a fact is missing.

    Example:
        >>> slot = Slot("OD", None, "pressure", "17 mmHg [[OS_GRADE]]")
        >>> fill(Plan("en", (Section("narrative", "OD", "OD: ", (slot,)),)), {"narrative_OD": "[[OD_PRESSURE]]."})
        {'narrative': 'OD: 17 mmHg [[OS_GRADE]].'}

    References:
        Our own.
    """
    texts: dict[str, list[str]] = {}
    for section in plan.sections:
        told = section.fixed
        if section.slots:
            values = {slot.name: slot.value for slot in section.slots}
            told = TOKEN.sub(lambda found, values=values: values[found[1]], prose[section.key])  # type: ignore[misc]
        texts.setdefault(section.text, []).append(section.lead + told)
    return {name: "\n".join([*lines, *filter(None, (plan.end,))]) for name, lines in texts.items()}


def clauses(plan: Plan, prose: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Say how each fact is told.

    Args:
        plan: What the draft must hold.
        prose: As of ``fill``.

    Returns:
        By a placeholder's name what is said before it, from the sentence or fact before, and the fact.

    Raises:
        KeyError: If a section is missing.

    Example:
        >>> slot = Slot("OD", None, "pressure", "17 mmHg")
        >>> plan = Plan("en", (Section("narrative", "OD", "OD: ", (slot,)),))
        >>> clauses(plan, {"narrative_OD": "IOP: [[OD_PRESSURE]]."})
        {'OD_PRESSURE': ('IOP: ', '17 mmHg')}

    References:
        Our own.
    """
    told: dict[str, tuple[str, str]] = {}
    for section in plan.open:
        values = {slot.name: slot.value for slot in section.slots}
        pieces = TOKEN.split(prose[section.key])
        told |= {
            name: (lead.lstrip(" .,;。，；\n"), values[name])
            for lead, name in zip(pieces[:-1:2], pieces[1::2], strict=True)
        }
    return told
