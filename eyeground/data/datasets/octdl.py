"""OCTDL: B-scans of seven conditions, from one clinic and one device."""

from eyeground.data.public import ClassFolders, Download, PublicClass, PublicDataset

DATASET = PublicDataset(
    name="octdl",
    title="OCTDL",
    page="https://data.mendeley.com/datasets/sncdhf53xc/4",
    licence="CC BY 4.0",  # SOURCES.md of the real test sets, and EyeDataHub's record of the page
    citation="Kulyabin et al., OCTDL: Optical Coherence Tomography Dataset for Image-Based Deep Learning Methods, "
    "Sci Data 2024;11:365",
    modality="oct",
    # Counts: dataset card of OCTDL in pth1993/Ophthalmology-Data.
    classes=(
        PublicClass("NO", "Normal", "正常", 332),
        PublicClass("AMD", "Age-related macular degeneration", "年龄相关性黄斑变性", 1231),
        PublicClass("DME", "Diabetic macular edema", "糖尿病性黄斑水肿", 147),
        PublicClass("ERM", "Epiretinal membrane", "视网膜前膜", 155),
        PublicClass("RAO", "Retinal artery occlusion", "视网膜动脉阻塞", 22),
        PublicClass("RVO", "Retinal vein occlusion", "视网膜静脉阻塞", 101),
        PublicClass("VID", "Vitreomacular interface disease", "玻璃体黄斑界面疾病", 76),
    ),
    images=2064,
    patients_known=True,
    # File names are <class>_<patient>_<number>, as the card says and the real test set shows.
    layouts=(
        ClassFolders(
            "a folder per class", "<class>/<class>_<patient>_<n>.jpg", "amd_{p}_{n}.jpg", group=r"^[A-Za-z]+_(\d+)_"
        ),
    ),
    # The link as a public download script has it; not tried here.
    downloads=(
        Download(
            "https://data.mendeley.com/public-files/datasets/sncdhf53xc/files/2721fe0f-7793-4ef5-b2d0-d31a2ebfdeef/"
            "file_downloaded",
            "OCTDL.zip",
        ),
    ),
    steps=(
        "if the download does not work: open https://data.mendeley.com/datasets/sncdhf53xc/4, choose Download all, and "
        "unpack OCTDL.zip into {folder}",
    ),
)
