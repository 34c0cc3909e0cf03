"""What a request says, whatever door it came through: one shape, checked."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from eyeground.images.retinal_image import Eye

Door = Literal["screening", "check", "report"]
Part = Literal["fundus", "anterior"]
Method = Literal["", "goldmann", "non_contact", "rebound", "other"]

_SHAPE = ConfigDict(extra="forbid", frozen=True)


class Person(BaseModel):
    """Who is examined; all of it is the patient's business and none of it goes into a log.

    Args:
        patient_id: The site's number of the patient.
        name: As the site writes it.
        age: Unit: years.
        sex: ``"male"``, ``"female"``, ``"other"``, or ``""`` when not told.
        phone: Where the patient is reached.

    Example:
        >>> Person(patient_id="P1").name
        ''

    References:
        Our own.
    """

    model_config = _SHAPE

    patient_id: str = ""
    name: str = ""
    age: int | None = None
    sex: Literal["", "male", "female", "other"] = ""
    phone: str = ""


class EyeExam(BaseModel):
    """What was measured of one eye.

    Args:
        acuity: Visual acuity as it was written, such as ``"0.8"``, ``"4.9"``, ``"20/25"``, ``"CF/30cm"``.
        notation: Its notation, a word of ``eyeground.clinic.acuity``; empty where there is no acuity.
        correction: How the eye was corrected: ``"uncorrected"``, ``"corrected"``, ``"pinhole"`` or ``""``.
        pressure_mmhg: Intraocular pressure. Unit: mmHg.
        pressure_method: How it was measured.
        pressure_time: When, as ISO time; empty when not told.

    Example:
        >>> EyeExam(pressure_mmhg=18).acuity
        ''

    References:
        Our own.
    """

    model_config = _SHAPE

    acuity: str = ""
    notation: str = ""
    correction: Literal["", "uncorrected", "corrected", "pinhole"] = ""
    pressure_mmhg: float | None = None
    pressure_method: Method = ""
    pressure_time: str = ""


class Visit(BaseModel):
    """An earlier visit as the site tells it.

    Args:
        time: ISO time or date; empty when not told.
        notes: Words of the site.
        od: What was measured of the right eye.
        os: What was measured of the left eye.
        results: What was found then, in words by name.

    Example:
        >>> Visit(time="2024-05-11").od.acuity
        ''

    References:
        Our own.
    """

    model_config = _SHAPE

    time: str = ""
    notes: str = ""
    od: EyeExam = EyeExam()
    os: EyeExam = EyeExam()
    results: dict[str, str] = Field(default_factory=dict)


class Picture(BaseModel):
    """An image that a request speaks of, before it is fetched.

    Args:
        part: What of the eye it shows.
        eye: Which eye the request says it is; empty when it does not say.
        path: Where it lies below the image root; empty when its bytes came along.
        data: Its bytes; empty when it has a path.
        name: What the sender calls the file, to tell an eye from; never shown to anybody but doctors.
        field: The contract's own name of the field that speaks of it, for problems.

    Example:
        >>> Picture(part="fundus", eye="OD", path="a/1.jpg").data
        b''

    References:
        Our own.
    """

    model_config = _SHAPE

    part: Part
    eye: Eye = ""
    path: str = ""
    data: bytes = b""
    name: str = ""
    field: str = ""


class Order(BaseModel):
    """What is asked for.

    Args:
        door: The contract it came under, which says what the answer looks like.
        id: The sender's id; with site and queue it names the request for good.
        person: Who is examined.
        od: What was measured of the right eye at this visit.
        os: What was measured of the left eye at this visit.
        visit_time: When; ISO time or date, empty when not told.
        earlier: Earlier visits.
        texts: Texts of a report request, by the contract's own names.
        pictures: Its images.

    Example:
        >>> Order(door="check", id="17").pictures
        ()

    References:
        docs/clinic.md for the contracts.
    """

    model_config = _SHAPE

    door: Door
    id: str
    person: Person = Person()
    od: EyeExam = EyeExam()
    os: EyeExam = EyeExam()
    visit_time: str = ""
    earlier: tuple[Visit, ...] = ()
    texts: dict[str, str] = Field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()


class Said(BaseModel):
    """One answer about one eye, by a model or by a doctor.

    Args:
        value: 0 or 1, or a grade.
        score: How sure the model is, [0, 1]; None of a doctor, or where the model gives none.

    Example:
        >>> Said(value=2, score=0.81).value
        2

    References:
        Our own.
    """

    model_config = _SHAPE

    value: int
    score: float | None = None


class EyeReview(BaseModel):
    """What a doctor says of one part of one eye.

    Args:
        findings: By the contract's names, such as ``{"DR": 2, "AMD": 0}``.
        ungradable: Whether nothing can be said of it; then there are no findings.
        reason: Why it cannot be graded, or why the doctor and the model differ.

    Example:
        >>> EyeReview(findings={"DR": 2}).ungradable
        False

    References:
        Our own.
    """

    model_config = _SHAPE

    findings: dict[str, int] = Field(default_factory=dict)
    ungradable: bool = False
    reason: str = Field("", max_length=500)


class Opinion(BaseModel):
    """What a doctor signs.

    Args:
        eyes: By ``"<part>/<eye>"``, such as ``"fundus/OD"``.
        conclusion: In the doctor's words.
        recommendation: What the patient should do and by when, in the doctor's words.
        narrative: What is seen, told in whole sentences; may begin as a draft that the doctor changed.
        texts: Texts of a report request, by the contract's names.

    Example:
        >>> Opinion(conclusion="No retinopathy").eyes
        {}

    References:
        Our own.
    """

    model_config = _SHAPE

    eyes: dict[str, EyeReview] = Field(default_factory=dict)
    conclusion: str = Field("", max_length=4000)
    recommendation: str = Field("", max_length=4000)
    narrative: str = Field("", max_length=8000)
    texts: dict[str, str] = Field(default_factory=dict)
