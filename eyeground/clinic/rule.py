"""The pieces of a rule set of urgency: levels, states, and limits of what is measured."""

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
SHAPE: Final = ConfigDict(extra="forbid", frozen=True)


class Level(BaseModel):
    """One urgency of a rule set.

    Args:
        word: Its name in answers.
        refer: Whether the patient is to see an ophthalmologist.
        within: By when; empty where no interval is meant.
        en: What a report says.
        zh: The same in Chinese.

    Example:
        >>> Level(word="refer_1_month", refer=True, within="1 month", en="Refer", zh="转诊").word
        'refer_1_month'

    References:
        Our own.
    """

    model_config = SHAPE

    word: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    refer: bool
    within: str
    en: Text
    zh: Text


class States(BaseModel):
    """Urgencies of what is no finding.

    Args:
        held: Which eye an image shows is contradictory.
        failed: A model failed.
        ungradable: No image of an eye can be graded.
        eye_missing: Nothing is found, and of one eye there is no image.
        partly: Nothing is found, and something could not be answered.
        normal: Everything was answered, and nothing is found.
        nothing: There is no image at all.

    Example:
        >>> "ungradable" in States.model_fields
        True

    References:
        Our own.
    """

    model_config = SHAPE

    held: str
    failed: str
    ungradable: str
    eye_missing: str
    partly: str
    normal: str
    nothing: str


class AcuityRule(BaseModel):
    """An acuity that makes a case urgent.

    Args:
        eye: Whether it is the better eye's acuity that counts, or either one's.
        below_five_mark: Every acuity below this line counts, and low vision.
        urgency: A word of the set.
        en: The reason, for reports.
        zh: The same in Chinese.

    Example:
        >>> AcuityRule(eye="better", below_five_mark="4.5", urgency="refer", en="low", zh="低").below_five_mark
        Decimal('4.5')

    References:
        Our own.
    """

    model_config = SHAPE

    eye: Literal["better", "either"]
    below_five_mark: Decimal = Field(ge=3, le=Decimal("5.3"))
    urgency: str
    en: Text
    zh: Text


class PressureRule(BaseModel):
    """An intraocular pressure that makes a case urgent.

    Args:
        above_mmhg: Every pressure above counts. Unit: mmHg.
        urgency: A word of the set.
        en: The reason, for reports.
        zh: The same in Chinese.

    Example:
        >>> PressureRule(above_mmhg=21, urgency="refer", en="high", zh="高").above_mmhg
        21.0

    References:
        Our own.
    """

    model_config = SHAPE

    above_mmhg: float = Field(ge=10, le=80)
    urgency: str
    en: Text
    zh: Text
