"""APTOS 2019: photographs graded for diabetic retinopathy, from rural screening in India."""

from eyeground.data.public import PublicDataset, TablePart, Tables, icdr_grades, retfound, retfound_steps

DATASET = PublicDataset(
    name="aptos2019",
    title="APTOS 2019 Blindness Detection",
    page="https://www.kaggle.com/competitions/aptos2019-blindness-detection/data",  # RETFound_MAE, BENCHMARK.md
    licence="rules of the Kaggle competition",  # EyeDataHub records "Competition rules apply"
    citation="Asia Pacific Tele-Ophthalmology Society, APTOS 2019 Blindness Detection, Kaggle 2019",
    modality="fundus",
    # Counts of train.csv: many public notebooks agree. Folder names of RETFound's split: dataset card of APTOS2019 in
    # pth1993/Ophthalmology-Data and several public loaders.
    classes=icdr_grades(
        (1805, 370, 999, 193, 295), ("anodr", "bmilddr", "cmoderatedr", "dseveredr", "eproliferativedr")
    ),
    images=3662,
    patients_known=False,
    ordered=True,
    layouts=(
        # Three public inventories of the unpacked archive give 2,048 / 514 / 1,100; the card above one more of each.
        retfound("APTOS2019", "{n}.png", 2048, 514, 1100),
        Tables(
            "as on Kaggle",
            "train.csv\ntrain_images/*.png",
            "{n}.png",
            (TablePart("train.csv", "train_images", "id_code", "diagnosis"),),
        ),
    ),
    steps=(
        *retfound_steps("https://drive.google.com/file/d/162YPf4OhMVxj9TrQH0GnJv0n7z7gJWpj/view"),
        "or, for the full-size images: log in at https://www.kaggle.com, open "
        "https://www.kaggle.com/competitions/aptos2019-blindness-detection/data, accept the rules, download "
        "aptos2019-blindness-detection.zip (about 10 GB) and unpack it into {folder}; only train.csv and train_images "
        "are read, because the labels of the test images were never published",
    ),
)
