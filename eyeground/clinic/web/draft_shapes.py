"""Shapes of drafts, as the web service answers them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

_SHAPE = ConfigDict(extra="forbid", frozen=True)


class RejectionShape(BaseModel):
    """Why what a language model wrote, or did not, was not used.

    Args:
        code: A key of ``llm/reasons.toml``.
        section: In which section, such as ``narrative_OD``; empty = in none.
        en: The reason in English.
        zh: The same in Chinese.

    Example:
        >>> RejectionShape(code="digits", section="", en="it holds a number", zh="含有数字").code
        'digits'

    References:
        Our own.
    """

    model_config = _SHAPE

    code: str
    section: str
    en: str
    zh: str


class DraftShape(BaseModel):
    """A draft.

    Args:
        id: Its number; 0 = it was not kept, for the case was changed while it was written.
        revision: For which opinion.
        language: Of its texts.
        by: Who wrote it.
        model: Provider and model that were asked; empty where none was.
        texts: ``narrative``, or the four texts of a report request.
        rejected: Why what a model wrote was not used.
        facts_sha256: Hash of the facts it was drafted from.
        seconds: How long it took.
        made_at: UTC, ISO.

    Example:
        >>> "rejected" in DraftShape.model_fields
        True

    References:
        ``eyeground.clinic.drafting.Drafted``.
    """

    model_config = _SHAPE

    id: int
    revision: int
    language: str
    by: Literal["llm", "template"]
    model: str
    texts: dict[str, str]
    rejected: tuple[RejectionShape, ...]
    facts_sha256: str
    seconds: float
    made_at: str


class DraftReply(BaseModel):
    """A draft, beside what the template says.

    Args:
        draft: The draft.
        template: The template's texts; those of the draft where the template wrote it.

    Example:
        >>> sorted(DraftReply.model_fields)
        ['draft', 'template']

    References:
        Our own.
    """

    model_config = _SHAPE

    draft: DraftShape
    template: dict[str, str]


class StretchShape(BaseModel):
    """A stretch of text that was kept, taken out or put in.

    Args:
        kind: What became of it.
        text: The text.

    Example:
        >>> StretchShape(kind="added", text="left").text
        'left'

    References:
        ``eyeground.clinic.drafts.Stretch``.
    """

    model_config = _SHAPE

    kind: Literal["same", "removed", "added"]
    text: str


class KeptDraft(DraftShape):
    """A draft, and what became of it.

    Args:
        asked_by: Account that asked for it.
        difference: By the text's name, word by word from the draft to what is stored for its revision now.

    Example:
        >>> KeptDraft.model_fields["difference"].is_required()
        True

    References:
        ``eyeground.clinic.drafts.drafts_of``.
    """

    asked_by: str
    difference: dict[str, list[StretchShape]]


class KeptDrafts(BaseModel):
    """The drafts of a case.

    Args:
        drafts: The newest first.

    Example:
        >>> KeptDrafts(drafts=[]).drafts
        []

    References:
        Our own.
    """

    model_config = _SHAPE

    drafts: list[KeptDraft]
