"""Results that others published, to stand beside ours: as they printed them, nothing computed here."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published row.

    Args:
        dataset: Name of the public set, as on the shelf ``data.datasets``.
        study: Whose numbers they are.
        system: What was trained, and with what.
        profile: The profile in ``evaluate.profiles`` whose conventions they follow.
        test_images: How many images they were measured on; None where the study does not say.
        values: Column of the profile -> value; None where the study prints nan.

    Example:
        >>> published("octid")[0].values["roc_auc"]
        0.9628

    References:
        Our own.
    """

    dataset: str
    study: str
    system: str
    profile: str
    test_images: int | None
    values: Mapping[str, float | None]


# The Paddle study (BUAAzxy/2025BUAA_AIFramework_homework): one seed each, weights RETFound_mae_meh, RETFound's splits;
# area under the ROC curve, average precision, accuracy, macro F1, unweighted kappa.
_PADDLE_STUDY = (
    ("octid", 174, (0.9628, 0.8681, 0.8276, 0.7626, 0.7730), (0.9845, 0.9448, 0.8966, 0.8717, 0.8638)),
    ("retina", 181, (0.8559, 0.7025, 0.6354, 0.5931, 0.4394), (0.8490, 0.6930, 0.6354, 0.5927, 0.4471)),
    ("aptos2019", 1100, (0.9482, 0.7463, 0.8436, 0.7038, 0.7628), (0.9406, 0.7229, 0.8445, 0.6819, 0.7615)),
    ("jsiec", 319, (0.9914, 0.8851, 0.8527, 0.7753, 0.8459), (0.9923, 0.8911, 0.8589, 0.7805, 0.8523)),
)
_PADDLE_COLUMNS = ("roc_auc", "average_precision", "accuracy", "f1", "kappa")

# The OCT study on OCTID. Accuracy, sensitivity, specificity, precision, F1 and MCC leave class 0 out.
_OCT_STUDY = (
    ("no pre-training", (0.803, 0.179, 0.913, None, 0.776, 0.451, None, None)),
    ("ImageNet MAE", (0.969, 0.860, 0.984, 0.897, 0.988, 0.952, 0.876, 0.860)),
    ("RETFound OCT", (0.973, 0.872, 0.987, 0.923, 0.985, 0.953, 0.892, 0.880)),
    # Pre-trained with batch 16 where RETFound's paper used 1,792.
    ("its own MAE", (0.881, 0.548, 0.932, 0.740, 0.915, 0.768, 0.533, 0.527)),
)
_OCT_COLUMNS = ("acc", "sensitivity", "specificity", "precision", "auc_roc", "auc_pr", "f1", "mcc")


def published(dataset: str) -> tuple[Published, ...]:
    """Give what others published on a public set.

    Args:
        dataset: Name of the set on the shelf ``data.datasets``.

    Returns:
        Their rows; none where nothing comparable is known.

    Example:
        >>> [(row.system, row.test_images) for row in published("retina")]
        [('RETFound_mae_meh, torch', 181), ('RETFound_mae_meh, Paddle port', 181)]

    References:
        BUAAzxy/2025BUAA_AIFramework_homework; the OCT study's table on OCTID.
    """
    rows = []
    for name, images, *both in _PADDLE_STUDY:
        if name == dataset:
            for system, values in zip(("torch", "Paddle port"), both, strict=True):
                told = dict(zip(_PADDLE_COLUMNS, values, strict=True))
                rows.append(
                    Published(name, "Paddle study", f"RETFound_mae_meh, {system}", "retfound2025", images, told)
                )
    if dataset == "octid":
        rows += [
            Published(dataset, "OCT study", start, "retfound2023", None, dict(zip(_OCT_COLUMNS, values, strict=True)))
            for start, values in _OCT_STUDY
        ]
    return tuple(rows)
