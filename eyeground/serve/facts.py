"""A model and its answers, put into the shapes of the web service."""

import base64
import math
from collections.abc import Mapping
from typing import Any

from eyeground.data.task import Head
from eyeground.evaluate.calibrate import Calibration
from eyeground.serve.answering import Looked
from eyeground.serve.contract import Contract
from eyeground.serve.predictor import NOTE, Answer, Predictor
from eyeground.serve.runtime import RuntimePrecision
from eyeground.serve.shapes import (
    CalibrationFacts,
    ClassFacts,
    HeadFacts,
    HeatMap,
    Language,
    ModelFacts,
    ModelName,
    Prediction,
    ThresholdFacts,
    Words,
)


def model_facts(predictor: Predictor, *, precision: RuntimePrecision, heat_maps: bool, max_bytes: int) -> ModelFacts:
    """Tell what a program needs to know of a model.

    Args:
        predictor: The model.
        precision: How its runtime computes.
        heat_maps: Whether heat maps are offered.
        max_bytes: Largest upload taken. Unit: bytes.

    Returns:
        The facts.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import classification
        >>> from eyeground.model.spec import ModelSpec
        >>> class Even:
        ...     description = "all the same"
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")),
        ...                     False, Preprocessing(image_px=32), "center", "fundus", "00")
        >>> facts = model_facts(Predictor(contract, Even(), id="00"), precision="fp32", heat_maps=False, max_bytes=9)
        >>> [each.name for each in facts.heads[0].classes]
        ['normal', 'drusen']

    References:
        Our own.
    """
    contract = predictor.contract
    told = contract.to_json()
    return ModelFacts(
        model=ModelName(
            id=predictor.id,
            weights_sha256=contract.weights_sha256,
            runtime=predictor.runtime.description,
            precision=precision,
        ),
        task=contract.task.name,
        modality=contract.modality,
        slices=contract.slices,
        preprocessing=told["preprocessing"],
        calibrated=bool(contract.calibrations),
        heat_maps=heat_maps,
        max_bytes=max_bytes,
        heads=[_head(contract, head) for head in contract.task.heads],
    )


def prediction_of(
    answer: Answer, looked: Looked | None, *, facts: ModelFacts, contract: Contract, language: Language
) -> Prediction:
    """Tell what the model says of an image.

    Args:
        answer: The answer.
        looked: Where the model looked, if that is to be told.
        facts: The model.
        contract: The model's.
        language: Of the note.

    Returns:
        All of it.

    Raises:
        ValidationError: If the answer has another shape than the OpenAPI document promises.

    Example:
        >>> import numpy as np
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import classification
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.serve.gate import Gated
        >>> class Even:
        ...     description = "all the same"
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")),
        ...                     False, Preprocessing(image_px=32), "center", "fundus", "00")
        >>> predictor = Predictor(contract, Even(), id="00")
        >>> facts = model_facts(predictor, precision="fp32", heat_maps=False, max_bytes=9)
        >>> (answer,) = predictor.answer([Gated("a.png", "cannot grade: too dark", "", "", "", (), None)])
        >>> prediction_of(answer, None, facts=facts, contract=contract, language="zh").note
        'AI 辅助，非诊断'

    References:
        Our own.
    """
    told: dict[str, Any] = {
        **answer.to_json(contract),
        "model": facts.model,
        "note": NOTE[language],
        "heat_map": None if looked is None else _heat_map(looked),
    }
    return Prediction.model_validate(told)


def _head(contract: Contract, head: Head) -> HeadFacts:
    """A question and its possible answers."""
    made = contract.calibrations.get(head.name)
    return HeadFacts(
        head=head.name,
        kind=head.kind,
        title=_words({language: contract.title(head.name, language) for language in NOTE}),
        unit=head.unit,
        classes=[
            ClassFacts(
                name=name,
                title=_words({language: contract.title(name, language, head=head.name) for language in NOTE}),
            )
            for name in head.classes
        ],
        calibration=None if made is None else _calibration(made),
    )


def _calibration(made: Calibration) -> CalibrationFacts:
    """What was learned, without its intervals."""
    return CalibrationFacts(
        temperature=made.temperature.value,
        coverage=made.sets.coverage,
        thresholds=[
            ThresholdFacts(
                name=column.removeprefix("positive_"),
                classes=[made.classes[k] for k in each.positive.members],
                rule=each.rule,
                target=each.target,
                value=each.value.value if math.isfinite(each.value.value) else None,
            )
            for column, each in zip(made.threshold_columns, made.thresholds, strict=True)
        ],
    )


def _heat_map(looked: Looked) -> HeatMap:
    """The picture as text."""
    return HeatMap(
        method=looked.method,
        caption=_words(looked.caption),
        regions=list(looked.regions),
        png=base64.b64encode(looked.png).decode(),
    )


def _words(told: Mapping[str, str]) -> Words:
    """A name in each language."""
    return Words(**told)
