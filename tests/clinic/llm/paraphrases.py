"""Narratives that change nothing, as different people would dictate them."""

import tomllib
from pathlib import Path

from eyeground.clinic.llm.slots import Plan, Section

_TOLD = tomllib.loads(Path(__file__).with_name("paraphrases.toml").read_text("utf-8"))
EYES: dict[str, dict[str, str]] = {language: each["eyes"] for language, each in _TOLD.items()}
MANNERS: dict[str, list[str]] = {language: each["manners"] for language, each in _TOLD.items()}
OPENINGS: dict[str, list[str]] = {language: each["openings"] for language, each in _TOLD.items()}


def section_text(section: Section, manner: str, opening: str, language: str) -> str:
    """A manner with a section's placeholders in it."""
    tokens = {("a_" if slot.part == "anterior" else "") + slot.kind: slot.token for slot in section.slots}
    text = manner.format(eye=EYES[language][section.eye], **tokens)
    if opening and language == "en":
        text = text[0].lower() + text[1:]
    return opening + text


def controls(plan: Plan) -> list[dict[str, str]]:
    """Sixty drafts of a full plan that change nothing."""
    language = plan.language
    return [
        {section.key: section_text(section, manner, opening, language) for section in plan.open}
        for manner in MANNERS[language]
        for opening in OPENINGS[language]
    ]
