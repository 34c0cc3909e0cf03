"""Shapes of what people ask the web service to do with a case."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

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


class DecidedEye(BaseModel):
    """Which eye an image shows.

    Args:
        version: Version of the case that the doctor saw.
        place: The image's place in the request, from 0.
        eye: Which eye it is.

    Example:
        >>> DecidedEye(version=4, place=0, eye="OD").eye
        'OD'

    References:
        Our own.
    """

    model_config = _SHAPE

    version: int
    place: int
    eye: Literal["OD", "OS"]


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
