"""IDRiD: photographs graded for diabetic retinopathy, from a clinic in Nanded."""

from eyeground.data.public import (
    PublicDataset,
    PublishedSplit,
    TablePart,
    Tables,
    icdr_grades,
    retfound,
    retfound_steps,
)

DATASET = PublicDataset(
    name="idrid",
    title="Indian Diabetic Retinopathy Image Dataset (disease grading)",
    page="https://ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid",  # RETFound_MAE
    licence="CC BY 4.0",  # two public descriptions of the download name it
    citation="Porwal et al., Indian Diabetic Retinopathy Image Dataset (IDRiD), Data 2018;3:25",
    modality="fundus",
    # Counts of both tables together, and of the training table: two public programs that count them agree (168 = 134
    # + 34 and so on). Folder names of RETFound's split: several public loaders.
    classes=icdr_grades((168, 25, 168, 93, 62), ("anoDR", "bmildDR", "cmoderateDR", "dsevereDR", "eproDR")),
    images=516,  # https://idrid.grand-challenge.org/Data/
    patients_known=False,
    ordered=True,
    layouts=(
        retfound("IDRiD_data", "IDRiD_{n}.png", 329, 84, 103),  # two public inventories of the unpacked archive
        Tables(
            "as published",
            "1. Original Images/a. Training Set/*.jpg\n1. Original Images/b. Testing Set/*.jpg\n"
            "2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv\n"
            "2. Groundtruths/b. IDRiD_Disease Grading_Testing Labels.csv",
            "IDRiD_{n}.jpg",
            (
                TablePart(
                    "2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv",
                    "1. Original Images/a. Training Set",
                    "Image name",
                    "Retinopathy grade",
                    split="train",
                ),
                TablePart(
                    "2. Groundtruths/b. IDRiD_Disease Grading_Testing Labels.csv",
                    "1. Original Images/b. Testing Set",
                    "Image name",
                    "Retinopathy grade",
                    split="test",
                ),
            ),
            splits=(
                PublishedSplit("train", 413, (134, 20, 136, 74, 49)),
                PublishedSplit("test", 103, (34, 5, 32, 19, 13)),
            ),
        ),
    ),
    steps=(
        *retfound_steps("https://drive.google.com/file/d/1c6zexA705z-ANEBNXJOBsk6uCvRnzmr3/view"),
        "or, for the full-size images: make a free account at https://ieee-dataport.org, open "
        "https://ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid and download "
        "B. Disease Grading.zip",
        "unpack it into {folder}",
    ),
)
