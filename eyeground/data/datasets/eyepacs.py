"""EyePACS: the largest public set of graded photographs, both eyes of each patient, for pre-training and tests."""

from eyeground.data.public import Images, PublicDataset, TablePart, Tables, icdr_grades

DATASET = PublicDataset(
    name="eyepacs",
    title="EyePACS (Kaggle Diabetic Retinopathy Detection, training images)",
    page="https://www.kaggle.com/competitions/diabetic-retinopathy-detection/data",
    licence="rules of the Kaggle competition, research use",  # EyeDataHub's record; SOURCES.md of the real test sets
    citation="EyePACS and California Healthcare Foundation, Diabetic Retinopathy Detection, Kaggle 2015",
    modality="fundus",
    # Counts: two public programs and a paper count trainLabels.csv alike.
    classes=icdr_grades((25810, 2443, 5292, 873, 708)),
    images=35126,
    patients_known=True,
    ordered=True,
    layouts=(
        Tables(
            "as on Kaggle",
            "trainLabels.csv\ntrain/<patient>_left.jpeg and _right.jpeg",
            "{p}_left.jpeg",
            (TablePart("trainLabels.csv", "train", "image", "level"),),
            group=r"^(\d+)_(?:left|right)",
        ),
        Images(
            "without labels", "train/<patient>_left.jpeg and _right.jpeg", "{p}_left.jpeg", ("train",),
            r"^(\d+)_(?:left|right)",
        ),
    ),
    steps=(
        "log in at https://www.kaggle.com, open "
        "https://www.kaggle.com/competitions/diabetic-retinopathy-detection/data, accept the rules, and download "
        "train.zip.001 to train.zip.005 and trainLabels.csv.zip",
        "join and unpack them (cat train.zip.* > train.zip; unzip train.zip), so that {folder} holds train and "
        "trainLabels.csv",
    ),
)  # fmt: skip
