"""The life of a case: which step may follow which, and who may take it. Nothing here knows a database."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

State = Literal["received", "gated", "inferred", "in_review", "signed", "released", "amended"]
Step = Literal["gate", "infer", "present", "reread", "sign", "release", "release_unsigned", "amend"]
Role = Literal["service", "doctor", "operator", "admin", "site"]
Release = Literal["signed", "unsigned"]
STATES: Final[tuple[State, ...]] = get_args(State)
STEPS: Final[tuple[Step, ...]] = get_args(Step)
# Where a doctor may write.
OPEN: Final[tuple[State, ...]] = ("in_review", "amended")

_AFTER: Final[Mapping[State, Mapping[Step, State]]] = {
    "received": {"gate": "gated"},
    "gated": {"infer": "inferred"},
    "inferred": {"present": "in_review", "release_unsigned": "released"},
    # A doctor has said which eye a picture shows: what was concluded per eye is concluded anew.
    "in_review": {"sign": "signed", "reread": "received"},
    "signed": {"release": "released"},
    "released": {"amend": "amended"},
    "amended": {"sign": "signed"},
}
_WHO: Final[Mapping[Step, tuple[Role, ...]]] = {
    "gate": ("service",),
    "infer": ("service",),
    "present": ("service",),
    "release": ("service",),
    "release_unsigned": ("service",),
    "reread": ("doctor", "operator", "admin"),
    "sign": ("doctor",),
    "amend": ("doctor",),
}


class Forbidden(ValueError):
    """A step that may not be taken: not by this person, or not in this service."""


class OutOfTurn(Forbidden):
    """A step that does not follow: the case stands elsewhere."""


def after(state: State, step: Step, *, role: Role, release: Release = "signed") -> State:
    """Take a step.

    Args:
        state: Where the case is.
        step: What is to happen.
        role: Who does it.
        release: Whether results go out only when signed (``"signed"``), or at once (``"unsigned"``).

    Returns:
        Where the case is then.

    Raises:
        Forbidden: If the role may not take it, or the service only releases what is signed.
        OutOfTurn: If the step does not follow.

    Example:
        >>> after("in_review", "sign", role="doctor")
        'signed'
        >>> after("inferred", "release_unsigned", role="service")
        Traceback (most recent call last):
        eyeground.clinic.states.Forbidden: this service releases nothing before a doctor has signed it

    References:
        docs/clinic.md for the picture.
    """
    if step == "release_unsigned" and release != "unsigned":
        raise Forbidden("this service releases nothing before a doctor has signed it")
    if role not in _WHO[step]:
        raise Forbidden(f"{step} is a matter of {' or '.join(_WHO[step])}, not of {role}")
    if step not in _AFTER[state]:
        offers = ", ".join(_AFTER[state])
        raise OutOfTurn(f"the case is {state.replace('_', ' ')}: {step} does not follow; what does: {offers}")
    return _AFTER[state][step]
