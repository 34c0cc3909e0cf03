"""GOALS: circular B-scans about the optic disc, for pre-training."""

from eyeground.data.public import Images, PublicClass, PublicDataset

DATASET = PublicDataset(
    name="goals",
    title="GOALS (MICCAI 2022)",
    page="https://aistudio.baidu.com/aistudio/competition/detail/230",
    licence="not verified here",  # EyeDataHub records CC BY 4.0; the page could not be read
    citation="Fang et al., Dataset and Evaluation Algorithm Design for GOALS Challenge, OMIA 2022, LNCS 13576",
    modality="oct",
    # The labels 0 and 1 of Train_GC_GT.xlsx: several public loaders. Counts per class: not verified here.
    classes=(
        PublicClass("0", "No glaucoma", "无青光眼", None, ("normal",)),
        PublicClass("1", "Glaucoma", "青光眼", None, ("GC", "glaucoma")),
    ),
    images=300,  # the paper's abstract
    patients_known=False,
    layouts=(
        # The masks of the layers lie beside, in Layer_Masks, and are not images to learn from.
        Images(
            "as published, without labels",
            "Train/Image/*.png\nValidation/Image/*.png\nTest/Image/*.png",
            "{n}.png",
            ("Train/Image", "Validation/Image", "Test/Image"),
        ),
    ),
    steps=(
        "make a free account at https://aistudio.baidu.com, open "
        "https://aistudio.baidu.com/aistudio/competition/detail/230, join the challenge and download its data sets",
        "unpack them so that {folder} holds Train/Image, Validation/Image and Test/Image, as far as you have them",
        "its labels are in a spreadsheet, Train/Train_GC_GT.xlsx, which is not read here: the set serves pre-training",
    ),
)
