"""Shapes of what people ask the web service to do with a case."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eyeground.clinic.records import Opinion

_SHAPE = ConfigDict(extra="forbid", frozen=True)


class SavedOpinion(BaseModel):
    """An opinion to be kept as a draft.

    Args:
        version: Version of the case that the doctor saw.
        opinion: What the doctor thinks so far.

    Example:
        >>> SavedOpinion(version=4, opinion=Opinion()).version
        4

    References:
        Our own.
    """

    model_config = _SHAPE

    version: int
    opinion: Opinion


class SignedOpinion(BaseModel):
    """An opinion to be signed.

    Args:
        version: Version of the case that the doctor saw.
        opinion: What is signed; null or missing = the draft as it was saved.

    Example:
        >>> SignedOpinion(version=4).opinion

    References:
        Our own.
    """

    model_config = _SHAPE

    version: int
    opinion: Opinion | None = None


class ImageEye(BaseModel):
    """Which eye an image shows.

    Args:
        place: The image's place in the request, from 0.
        eye: Which eye it is.

    Example:
        >>> ImageEye(place=0, eye="OD").eye
        'OD'

    References:
        Our own.
    """

    model_config = _SHAPE

    place: int
    eye: Literal["OD", "OS"]


class DecidedEyes(BaseModel):
    """Which eyes images show.

    Args:
        version: Version of the case that the doctor saw.
        eyes: Of each image that is decided, each once.

    Raises:
        ValueError: If an image stands twice.

    Example:
        >>> DecidedEyes(version=4, eyes=[ImageEye(place=0, eye="OD")]).by_place
        {0: 'OD'}

    References:
        Our own.
    """

    model_config = _SHAPE

    version: int
    eyes: list[ImageEye] = Field(min_length=1, max_length=200)

    @property
    def by_place(self) -> dict[int, Literal["OD", "OS"]]:
        """Eyes by place."""
        return {each.place: each.eye for each in self.eyes}

    @model_validator(mode="after")
    def _once(self) -> "DecidedEyes":
        """Two words about one image would let the last one win."""
        if len(self.by_place) != len(self.eyes):
            raise ValueError("an image stands twice")
        return self


class Amendment(BaseModel):
    """Why a report that is out is opened again.

    Args:
        version: Version of the case that the doctor saw.
        reason: In the doctor's words.

    Example:
        >>> Amendment(version=7, reason="wrong eye").reason
        'wrong eye'

    References:
        Our own.
    """

    model_config = _SHAPE

    version: int
    reason: str = Field(max_length=500)


class SeenVersion(BaseModel):
    """A case as somebody saw it.

    Args:
        version: Its version then.

    Example:
        >>> SeenVersion(version=4).version
        4

    References:
        Our own.
    """

    model_config = _SHAPE

    version: int


class PatientCode(BaseModel):
    """What a patient has: a link, and the code that came another way.

    Args:
        token: The last part of the link's address.
        code: Six digits.

    Example:
        >>> PatientCode(token="a", code="012345").code
        '012345'

    References:
        Our own.
    """

    model_config = _SHAPE

    token: str = Field(max_length=64)
    code: str = Field(max_length=16)


class WantedDraft(BaseModel):
    """Texts that are to be drafted.

    Args:
        version: Version of the case that the doctor saw.
        language: Of the texts.

    Example:
        >>> WantedDraft(version=4, language="zh").language
        'zh'

    References:
        Our own.
    """

    model_config = _SHAPE

    version: int
    language: Literal["zh", "en"]
