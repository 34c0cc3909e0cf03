"""MESSIDOR-2: pairs of photographs from screening for diabetic retinopathy in France."""

from eyeground.data.public import PublicDataset, TablePart, Tables, icdr_grades, retfound, retfound_steps

DATASET = PublicDataset(
    name="messidor2",
    title="MESSIDOR-2",
    page="https://www.adcis.net/en/third-party/messidor2/",  # RETFound_MAE, BENCHMARK.md
    licence="research and education, on request",  # EyeDataHub: "Research only - requires registration"
    citation="Decencière et al., Feedback on a publicly distributed image database: the Messidor database, "
    "Image Anal Stereol 2014; Abramoff et al., JAMA Ophthalmol 2013, doi 10.1001/jamaophthalmol.2013.1743",
    modality="fundus",
    # The set itself has no grades; these are those of google-brain/messidor2-dr-grades on Kaggle. Two public programs
    # count them alike. Folder names of RETFound's split: dataset card in pth1993/Ophthalmology-Data.
    classes=icdr_grades((1017, 270, 347, 75, 35), ("anodr", "bmilddr", "cmoderatedr", "dseveredr", "eproliferativedr")),
    images=1744,  # with a grade; the set has 1,748
    patients_known=False,  # the pairs stand in a table of their own that neither layout reads
    ordered=True,
    layouts=(
        retfound("MESSIDOR2", "{n}.png", 972, 246, 526),  # the card, and two public inventories
        Tables(
            "as published, with the grades from Kaggle",
            "IMAGES/*.png\nmessidor_data.csv",
            "{n}.png",
            (TablePart("messidor_data.csv", "IMAGES", "image_id", "adjudicated_dr_grade"),),
        ),
    ),
    steps=(
        *retfound_steps("https://drive.google.com/file/d/1vOLBUK9xdzNV8eVkRjVdNrRwhPfaOmda/view"),
        "or, for the full-size images: fill in the request form at https://www.adcis.net/en/third-party/messidor2/ and "
        "unpack the archives that you are sent, so that {folder}/IMAGES holds the photographs",
        "log in at https://www.kaggle.com, download messidor_data.csv from "
        "https://www.kaggle.com/datasets/google-brain/messidor2-dr-grades and put it into {folder}",
    ),
)
