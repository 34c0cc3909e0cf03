"""What a screening would have to answer about a phantom: six diseases, yes or no, and the grade of retinopathy."""

from collections.abc import Mapping
from typing import Final

# The screening's question -> the phantom's disease.
_QUESTIONS: Final[Mapping[str, str]] = {
    "AMD": "drusen",
    "CSC": "csc",
    "RP": "rp",
    "ON": "disc_swelling",
    "GLA": "glaucoma",
    "RVO": "rvo",
}
_GRADES: Final = ("dr1", "dr2", "dr3", "dr4")

COLUMNS: Final = (*_QUESTIONS, "DR")


def screened(disease: str) -> dict[str, int]:
    """Answer a screening's questions about a fundus phantom.

    Args:
        disease: A name of ``eyeground.data.phantom.FUNDUS_DISEASES``.

    Returns:
        Under each name of ``COLUMNS``: 0 or 1, under ``DR`` the grade of retinopathy, 0 to 4. All are 0 for
        ``normal`` and for ``cataract``, which the screening does not ask for.

    Example:
        >>> screened("dr3")
        {'AMD': 0, 'CSC': 0, 'RP': 0, 'ON': 0, 'GLA': 0, 'RVO': 0, 'DR': 3}

    References:
        Grades: Wilkinson et al., "International clinical diabetic retinopathy and diabetic macular edema severity
        scales", Ophthalmology 2003;110:1677. The questions are those of the screening contract, our own.
    """
    answers = {question: int(disease == sought) for question, sought in _QUESTIONS.items()}
    return {**answers, "DR": _GRADES.index(disease) + 1 if disease in _GRADES else 0}
