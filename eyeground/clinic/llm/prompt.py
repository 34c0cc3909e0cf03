"""What a language model is told: our words and placeholders, the same for each patient of whom as much is known."""

import json
from typing import Any, TypedDict

from eyeground.clinic.llm.grammar import Fact, patterns_of
from eyeground.clinic.llm.lexicon import lexicon_of
from eyeground.clinic.llm.slots import Plan
from eyeground.clinic.llm.telling import template_of


class Message(TypedDict):
    """A message of a conversation, as services take it.

    Args:
        role: ``"system"`` or ``"user"``.
        content: The text.

    Example:
        >>> Message(role="user", content="...")["role"]
        'user'

    References:
        https://platform.openai.com/docs/api-reference/chat
    """

    role: str
    content: str


def messages_of(plan: Plan) -> list[Message]:
    """Write what a model is told.

    Args:
        plan: What the draft must hold; of its facts only the placeholders are used.

    Returns:
        The messages.

    Raises:
        LookupError: If no narrative is written in the plan's language.

    Example:
        >>> from eyeground.clinic.llm.slots import Section, Slot
        >>> slot = Slot("OD", None, "pressure", "17 mmHg")
        >>> told = messages_of(Plan("en", (Section("narrative", "OD", "Right eye: ", (slot,)),)))
        >>> "[[OD_PRESSURE]]" in told[1]["content"], "17" in told[1]["content"]
        (True, False)

    References:
        docs/clinic.md.
    """
    words = lexicon_of(plan.language)
    system = words.prompt["told"].strip()
    sections = [
        {
            "key": section.key,
            "eye": words.eye[section.eye],
            "placeholders": [
                {
                    "placeholder": slot.token,
                    "phrases": [
                        phrase
                        for each in patterns_of(Fact(slot.kind, slot.part), section.eye, words)
                        for phrase in each
                    ],
                }
                for slot in section.slots
            ],
        }
        for section in plan.open
    ]
    example = words.prompt["again"].format(example=next(iter(template_of(plan).values())))
    told = json.dumps({"sections": sections}, ensure_ascii=False, indent=1)
    return [Message(role="system", content=f"{system}\n{example}"), Message(role="user", content=told)]


def schema_of(plan: Plan) -> dict[str, Any]:
    """Describe the answer, for services that can be made to keep to it.

    Args:
        plan: What the draft must hold.

    Returns:
        JSON Schema.

    Example:
        >>> schema_of(Plan("en", ()))["additionalProperties"]
        False

    References:
        JSON Schema 2020-12.
    """
    keys = [section.key for section in plan.open]
    return {
        "type": "object",
        "properties": {key: {"type": "string"} for key in keys},
        "required": keys,
        "additionalProperties": False,
    }
