"""The shapes of what the web service says, as its OpenAPI document tells them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from eyeground.data.task import Kind
from eyeground.images.refusal import Reason
from eyeground.images.retinal_image import Eye

Language = Literal["en", "zh"]
Refusal = (
    Reason
    | Literal[
        "no_image", "bad_form", "unsupported_media_type", "bad_request", "not_found", "method_not_allowed",
        "upload_too_slow", "hung_up", "waiting_room_full", "too_slow_to_answer", "not_ready", "failed",
    ]
)  # fmt: skip


def _summary_only(schema: dict[str, Any]) -> None:
    """Tell in the OpenAPI document what a shape is, not how Python makes it."""
    schema["description"] = schema["description"].split("\n\nArgs:")[0]


_SHAPE = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), json_schema_extra=_summary_only)


class Problem(BaseModel):
    """Why there is no answer; the same shape for every refusal.

    Args:
        error: A sentence: what is wrong and what to do. It repeats nothing that was sent.
        reason: The same for a program.

    Example:
        >>> Problem(error="The file is empty; send an image.", reason="empty").reason
        'empty'

    References:
        Our own.
    """

    model_config = _SHAPE

    error: str
    reason: Refusal


class Health(BaseModel):
    """The service is as asked.

    Args:
        status: Always ok; anything else is a ``Problem``.

    Example:
        >>> Health().status
        'ok'

    References:
        Our own.
    """

    model_config = _SHAPE

    status: Literal["ok"] = "ok"


class Words(BaseModel):
    """A name or a sentence in each language.

    Args:
        en: In English.
        zh: In Chinese.

    Example:
        >>> Words(en="Cataract", zh="白内障").zh
        '白内障'

    References:
        Our own.
    """

    model_config = _SHAPE

    en: str
    zh: str


class HeadAnswer(BaseModel):
    """What one head says of an image.

    Args:
        head: Its name.
        kind: What it asks for.
        title: What it is called.
        prediction: A class, a grade, yes or no, or a number; null where the image cannot be graded.
        prediction_title: What the prediction is called.
        unit: Unit of a number.
        scores: Class to score, each in [0, 1]; none of a quantity, or where the image cannot be graded.
        set: The classes in the set, the likeliest first; of a calibrated head.
        certain: Whether the model answers alone; of a calibrated head.
        positive: Threshold to whether the image is called positive; of a calibrated head.

    Example:
        >>> HeadAnswer(head="AMD", kind="yes_no", title=Words(en="AMD", zh="AMD"), prediction="no",
        ...            prediction_title=Words(en="No", zh="否"), unit="", scores={"no": 0.9, "yes": 0.1}).certain

    References:
        Our own.
    """

    model_config = _SHAPE

    head: str
    kind: Kind
    title: Words
    prediction: str | float | None
    prediction_title: Words
    unit: str
    scores: dict[str, float]
    set: list[str] | None = None
    certain: bool | None = None
    positive: dict[str, bool] | None = None


class HeatMap(BaseModel):
    """Where the model looked.

    Args:
        method: How the map was made.
        caption: What it is and is not.
        regions: Parts of the eye that stand out; none without evidence.
        png: The picture, base64.

    Example:
        >>> HeatMap(method="occlusion", caption=Words(en="a", zh="b"), regions=[], png="").method
        'occlusion'

    References:
        Our own.
    """

    model_config = _SHAPE

    method: str
    caption: Words
    regions: list[str]
    png: str


class ModelName(BaseModel):
    """Exactly which model answers.

    Args:
        id: Its name.
        weights_sha256: Hash of its weights.
        runtime: Program, version and device in words.
        precision: How it computes.

    Example:
        >>> ModelName(id="00", weights_sha256="00", runtime="torch 2.8 on cpu", precision="fp32").precision
        'fp32'

    References:
        Our own.
    """

    model_config = _SHAPE

    id: str
    weights_sha256: str
    runtime: str
    precision: str


class Prediction(BaseModel):
    """The answer about an image that could be read; where it cannot be graded, quality says why.

    Args:
        file: What the sender calls it, shortened.
        graded: Whether the model was asked.
        quality: ``good``, ``fair: <reasons>`` or ``cannot grade: <reasons>``.
        eye: OD (right), OS (left), or empty where not known.
        eye_conflict: Who contradicts whom about the eye.
        modality: What the file says it is.
        problem: Always empty here: a file that cannot be read is refused.
        heads: What each head says.
        model: Which model answered.
        note: What an answer is and is not.
        heat_map: Where the model looked; null where it was not asked for or cannot be told.

    Example:
        >>> Prediction.model_fields["heat_map"].is_required()
        True

    References:
        Our own.
    """

    model_config = _SHAPE

    file: str
    graded: bool
    quality: str
    eye: Eye
    eye_conflict: str
    modality: str
    problem: str
    heads: list[HeadAnswer]
    model: ModelName
    note: str
    heat_map: HeatMap | None


class ThresholdFacts(BaseModel):
    """A threshold on a head's scores.

    Args:
        name: Its key under ``positive`` of an answer.
        classes: The classes whose scores are added up.
        rule: What was wanted on validation.
        target: How much of it, at least. Unit: fraction, (0, 1].
        value: Sums at or above it are positive; null where none could be chosen.

    Example:
        >>> ThresholdFacts(name="drusen", classes=["drusen"], rule="sensitivity", target=0.9, value=0.25).value
        0.25

    References:
        Our own.
    """

    model_config = _SHAPE

    name: str
    classes: list[str]
    rule: str
    target: float
    value: float | None


class CalibrationFacts(BaseModel):
    """What validation taught about a head's scores.

    Args:
        temperature: By which logits were divided.
        coverage: How often sets are to hold the truth. Unit: fraction, (0, 1).
        thresholds: Thresholds, if there are any.

    Example:
        >>> CalibrationFacts(temperature=1.2, coverage=0.9, thresholds=[]).coverage
        0.9

    References:
        Our own.
    """

    model_config = _SHAPE

    temperature: float
    coverage: float
    thresholds: list[ThresholdFacts]


class ClassFacts(BaseModel):
    """A class that a head can answer.

    Args:
        name: As scores have it.
        title: What it is called.

    Example:
        >>> ClassFacts(name="cataract", title=Words(en="Cataract", zh="白内障")).name
        'cataract'

    References:
        Our own.
    """

    model_config = _SHAPE

    name: str
    title: Words


class HeadFacts(BaseModel):
    """A question that the model answers.

    Args:
        head: Its name.
        kind: What it asks for.
        title: What it is called.
        unit: Unit of a quantity.
        classes: Its classes or grades in order; of a quantity none.
        calibration: Null where there is none.

    Example:
        >>> HeadFacts(head="IOP", kind="quantity", title=Words(en="IOP", zh="眼压"), unit="mmHg", classes=[],
        ...           calibration=None).unit
        'mmHg'

    References:
        Our own.
    """

    model_config = _SHAPE

    head: str
    kind: Kind
    title: Words
    unit: str
    classes: list[ClassFacts]
    calibration: CalibrationFacts | None


class ModelFacts(BaseModel):
    """What a program needs to know of the model before it asks.

    Args:
        model: Which model answers.
        task: What kind of question it was trained for.
        modality: What it was trained on; anything else is not graded. Empty: not known.
        slices: Which scans of a volume are taken.
        preprocessing: What is done to an image.
        calibrated: Whether any head is.
        heat_maps: Whether heat maps are offered.
        max_bytes: Largest upload taken. Unit: bytes.
        heads: The questions.

    Example:
        >>> ModelFacts.model_fields["heads"].is_required()
        True

    References:
        Our own.
    """

    model_config = _SHAPE

    model: ModelName
    task: str
    modality: str
    slices: str
    preprocessing: dict[str, Any]
    calibrated: bool
    heat_maps: bool
    max_bytes: int
    heads: list[HeadFacts]
