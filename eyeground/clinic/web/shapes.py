"""Shapes of what the web service answers, so that its OpenAPI document is complete; those of cases are elsewhere."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from eyeground.clinic.states import State

_SHAPE = ConfigDict(extra="forbid", frozen=True)


class ProblemShape(BaseModel):
    """One thing that is wrong with what was sent.

    Args:
        code: A key of ``refusals.toml``.
        where: Names of our own fields that lead to it.
        en: What is wrong and what to do, in English.
        zh: The same in Chinese.

    Example:
        >>> ProblemShape(code="not_json", where="", en="not valid JSON", zh="不是有效的 JSON").code
        'not_json'

    References:
        Our own.
    """

    model_config = _SHAPE

    code: str
    where: str
    en: str
    zh: str


class Difference(BaseModel):
    """A field in which two opinions differ.

    Args:
        where: Names that lead to it, such as ``eyes.fundus/OD.findings.DR``.
        sent: What was sent; null where it holds nothing.
        stored: What is stored by now; null where it holds nothing.

    Example:
        >>> Difference(where="conclusion", sent="a", stored=None).stored

    References:
        Our own.
    """

    model_config = _SHAPE

    where: str
    sent: str | int | bool | None
    stored: str | int | bool | None


class RefusalShape(BaseModel):
    """Why a request was not carried out.

    Args:
        error: A sentence: what is wrong and what to do.
        reason: A word for programs.
        problems: Everything that is wrong with what was sent.
        version: Of a case that was changed meanwhile: its version now.
        differences: Likewise: in what the opinion that was sent differs from the one that is stored now.

    Example:
        >>> RefusalShape(error="no such case", reason="not_found").model_dump(exclude_unset=True)
        {'error': 'no such case', 'reason': 'not_found'}

    References:
        Our own.
    """

    model_config = _SHAPE

    error: str
    reason: str
    problems: list[ProblemShape] = Field(default_factory=list)
    version: int | None = None
    differences: list[Difference] = Field(default_factory=list)


class Taken(BaseModel):
    """A request that is taken for good; it reads the same however often it is sent.

    Args:
        message_id: The sender's id.
        case_id: The case it became.
        site: Whose it is.
        received_at: UTC, ISO.
        address: Where its answer will be.

    Example:
        >>> Taken.model_fields["address"].is_required()
        True

    References:
        Our own.
    """

    model_config = _SHAPE

    message_id: str
    case_id: str
    site: str
    received_at: str
    address: str


class Progress(BaseModel):
    """Where a request is.

    Args:
        message_id: The sender's id.
        case_id: The case it became.
        state: Where the case is.
        answer: The last answer that went out, byte for byte as over a queue; null while there is none.

    Example:
        >>> Progress(message_id="m1", case_id="0a", state="received", answer=None).answer

    References:
        Our own.
    """

    model_config = _SHAPE

    message_id: str
    case_id: str
    state: State
    answer: dict[str, Any] | None


class Changed(BaseModel):
    """A case that was changed.

    Args:
        version: What the next change has to name.
        state: Where the case is now.

    Example:
        >>> Changed(version=5, state="signed").version
        5

    References:
        Our own.
    """

    model_config = _SHAPE

    version: int
    state: State


class LetterShape(BaseModel):
    """A message that was not taken, or a case that could not be worked on; without the message itself.

    Args:
        id: Number.
        queue: Where it came from.
        site: Who sent it.
        code: Why.
        problems: All of it.
        case_id: The case that could not be worked on; empty of a message.
        arrived_at: UTC, ISO.
        replayed_at: UTC, ISO; empty while nobody has.
        outcome: What became of the replay.

    Example:
        >>> LetterShape.model_fields["code"].annotation
        <class 'str'>

    References:
        ``eyeground.clinic.dead_letters.Letter``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)

    id: int
    queue: str
    site: str
    code: str
    problems: list[ProblemShape]
    case_id: str
    arrived_at: str
    replayed_at: str
    outcome: str


class Letters(BaseModel):
    """Dead letters.

    Args:
        letters: The oldest first.
        more: Whether there are more.

    Example:
        >>> Letters(letters=[], more=False).letters
        []

    References:
        Our own.
    """

    model_config = _SHAPE

    letters: list[LetterShape]
    more: bool
