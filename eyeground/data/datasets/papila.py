"""PAPILA: both eyes of 244 patients, assessed for glaucoma."""

from eyeground.data.public import (
    ClassFolders,
    Download,
    Images,
    PublicClass,
    PublicDataset,
    retfound,
    retfound_steps,
)

DATASET = PublicDataset(
    name="papila",
    title="PAPILA",
    page="https://figshare.com/articles/dataset/PAPILA/14798004",  # RETFound_MAE, BENCHMARK.md
    licence="CC BY 4.0",  # EyeDataHub's and chaksudb's records of the page agree
    citation="Kovalyk et al., PAPILA: Dataset with fundus images and clinical data of both eyes of the same patient "
    "for glaucoma assessment, Sci Data 2022;9:291",
    modality="fundus",
    # 333 healthy and 155 suspect or glaucomatous eyes: a public check against the paper; how the 155 divide is not
    # verified here. Folder names of RETFound's split: read in its archive by three public projects.
    classes=(
        PublicClass("normal", "No glaucoma", "无青光眼", 333, ("anormal", "healthy")),
        PublicClass("suspect", "Glaucoma suspect", "可疑青光眼", None, ("bsuspectglaucoma", "suspectglaucoma")),
        PublicClass("glaucoma", "Glaucoma", "青光眼", None, ("cglaucoma",)),
    ),
    images=488,
    patients_known=False,  # RETFound's files are not known to keep the patient's number
    layouts=(
        retfound("PAPILA", "{n}.png", 311, 79, 98),  # three public inventories of the unpacked archive
        ClassFolders("a folder per class", "<class>/RET<patient>OD.jpg", "RET{p}OD.jpg", group=r"^RET(\d+)O[DS]"),
        Images(
            "as published, without labels", "FundusImages/*.jpg", "RET{p}OD.jpg", ("FundusImages",), r"^RET(\d+)O[DS]"
        ),
    ),
    downloads=(
        # Link and hash: torch_em's loader of the set; two more projects name the same file. Not tried here.
        Download(
            "https://ndownloader.figshare.com/files/35013982",
            "papila.zip",
            "15b053dff496bc8e53eb8a8d0707ef73ba3d56c988eea92b65832c9c82852a7d",
        ),
    ),
    steps=(
        *retfound_steps("https://drive.google.com/file/d/1JltYs7WRWEU0yyki1CQw5-10HEbqCMBE/view"),
        "the download from figshare keeps its labels in two spreadsheets, ClinicalData/patient_data_od.xlsx and "
        "patient_data_os.xlsx, which are not read here; as it is, it serves pre-training",
        "to fine-tune on it: sort the photographs by the column Diagnosis (0 = normal, 1 = glaucoma, 2 = suspect) into "
        "folders named normal, glaucoma and suspect",
    ),
)
