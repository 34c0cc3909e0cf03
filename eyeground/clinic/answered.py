"""What is known of a case when its answer goes out, whatever contract the answer is written under."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from eyeground.clinic.records import Opinion, Order, Said


@dataclass(frozen=True)
class Answered:
    """What is known of a case when its answer goes out.

    Args:
        case_id: The case.
        order: What was asked.
        revision: Which signed opinion; 0 = none, released unsigned.
        images: How many images of each part there are.
        values: What holds, by ``"<part>/<eye>"`` and finding: the doctor's word where one signed, else the models'.
        said: What the models said, likewise.
        quality: Verdict on the images, by ``"<part>/<eye>"``.
        areas: Regions of attention, likewise; names of ``eyeground.explain.regions.TITLES``.
        unavailable: What could not be answered: ``"<part>/<eye>"`` or ``"<part>/<eye>.<finding>"`` -> a word of
            ``findings.UNAVAILABLE``.
        opinion: What the doctor signed; None where nobody did.
        doctor_name: As it stands on the report.
        signed_at: UTC, ISO; empty where nobody signed.
        urgency: A word of the rule set, such as ``"refer_3_months"``.
        rules: Rule set and version.
        models: Titles of the models that were asked.
        drafted_by_ai: Whether what a doctor signed, in whole sentences, began as a language model's draft.

    Example:
        >>> Answered("0a", Order(door="check", id="17"), 0).signed
        False

    References:
        Our own.
    """

    case_id: str
    order: Order
    revision: int
    images: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    said: Mapping[str, Mapping[str, Said]] = field(default_factory=dict)
    quality: Mapping[str, str] = field(default_factory=dict)
    areas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    opinion: Opinion | None = None
    doctor_name: str = ""
    signed_at: str = ""
    urgency: str = ""
    rules: str = ""
    models: tuple[str, ...] = ()
    drafted_by_ai: bool = False

    @property
    def signed(self) -> bool:
        """Whether a doctor has signed it."""
        return self.opinion is not None and bool(self.signed_at)
