"""ODIR-5K: both eyes of thousands of patients, many cameras, eight groups of diseases."""

from eyeground.data.public import ClassFolders, PublicClass, PublicDataset, TablePart, Tables

DATASET = PublicDataset(
    name="odir5k",
    title="ODIR-5K (Ocular Disease Intelligent Recognition)",
    page="https://odir2019.grand-challenge.org/dataset/",
    licence="not stated",
    citation="Li et al., A Benchmark of Ocular Disease Intelligent Recognition: One Shot for Multi-disease Detection, "
    "Bench 2020, arXiv:2102.07978",
    modality="fundus",
    # The label of an eye, as Kaggle's full_df.csv has it. Counts per class: not verified here.
    classes=(
        PublicClass("N", "Normal", "正常", None, ("['N']", "normal")),
        PublicClass("D", "Diabetic retinopathy", "糖尿病视网膜病变", None, ("['D']", "diabetes")),
        PublicClass("G", "Glaucoma", "青光眼", None, ("['G']", "glaucoma")),
        PublicClass("C", "Cataract", "白内障", None, ("['C']", "cataract")),
        PublicClass("A", "Age-related macular degeneration", "年龄相关性黄斑变性", None, ("['A']", "amd")),
        PublicClass("H", "Hypertensive retinopathy", "高血压性视网膜病变", None, ("['H']", "hypertension")),
        PublicClass("M", "Pathological myopia", "病理性近视", None, ("['M']", "myopia")),
        PublicClass("O", "Other disease or abnormality", "其他疾病或异常", None, ("['O']", "other")),
    ),
    images=6392,  # with a label of their own: dataset card of ODIR5k in pth1993/Ophthalmology-Data
    patients_known=True,
    layouts=(
        Tables(
            "as on Kaggle",
            "full_df.csv\npreprocessed_images/<patient>_left.jpg and _right.jpg",
            "{p}_left.jpg",
            (TablePart("full_df.csv", "preprocessed_images", "filename", "labels", patient="ID"),),
        ),
        ClassFolders(
            "a folder per class",
            "<class>/<patient>_left.jpg and _right.jpg",
            "{p}_left.jpg",
            group=r"^(\d+)_(?:left|right)",
        ),
    ),
    steps=(
        "log in at https://www.kaggle.com, open "
        "https://www.kaggle.com/datasets/andrewmvd/ocular-disease-recognition-odir5k, choose Download (about 2 GB) and "
        "unpack the archive into {folder}",
    ),
)
