"""Retina: photographs of normal eyes, cataract, glaucoma and other retinal disease, of unknown origin."""

from eyeground.data.public import ClassFolders, PublicClass, PublicDataset, retfound, retfound_steps

DATASET = PublicDataset(
    name="retina",
    title="Retina (cataract dataset)",
    page="https://www.kaggle.com/datasets/jr2ngb/cataractdataset",  # RETFound_MAE, BENCHMARK.md
    licence="not stated",
    citation="jr2ngb, Cataract dataset, Kaggle; no paper is known",
    modality="fundus",
    # Counts and RETFound's folder names: dataset card of Retina in pth1993/Ophthalmology-Data. Kaggle's folder names: a
    # public loader of that download.
    classes=(
        PublicClass("1_normal", "Normal", "正常", 300, ("normal", "anormal")),
        PublicClass("2_cataract", "Cataract", "白内障", 100, ("cataract", "bcataract")),
        PublicClass("2_glaucoma", "Glaucoma", "青光眼", 101, ("glaucoma", "cglaucoma")),
        PublicClass(
            "3_retina_disease", "Other retinal disease", "其他视网膜疾病", 100, ("retina_disease", "ddretina_disease")
        ),
    ),
    images=601,
    patients_known=False,
    layouts=(
        retfound(
            "Retina", "{n}.png", 336, 84, 181, by_class=((168, 56, 56, 56), (42, 14, 14, 14), (90, 30, 31, 30))
        ),  # the same card
        ClassFolders("a folder per class", "<class>/*.png", "{n}.png"),
    ),
    steps=(
        *retfound_steps("https://drive.google.com/file/d/1vdmjMRDoUm9yk83HMArLiPcLDk_dm92Q/view"),
        "or, for the images as they are on Kaggle: log in at https://www.kaggle.com, open "
        "https://www.kaggle.com/datasets/jr2ngb/cataractdataset, choose Download, and unpack the archive into {folder}",
    ),
)
