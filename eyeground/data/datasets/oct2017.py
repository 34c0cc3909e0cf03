"""OCT2017 (Kermany): the largest public set of labelled B-scans, for pre-training and tests."""

from eyeground.data.public import ClassFolders, Download, PublicClass, PublicDataset, PublishedSplit

DATASET = PublicDataset(
    name="oct2017",
    title="Kermany OCT2017, version 2",
    page="https://data.mendeley.com/datasets/rscbjbr9sj/2",
    licence="CC BY 4.0",  # three public descriptions of the page agree
    citation="Kermany et al., Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning, "
    "Cell 2018;172:1122",
    modality="oct",
    # 37,205 / 11,348 / 8,616 / 26,315 in train and 250 of each in test and val together: a public description; the
    # sums, 83,484 and 1,000, stand in another one.
    classes=(
        PublicClass("NORMAL", "Normal", "正常", 26565),
        PublicClass("DRUSEN", "Drusen", "玻璃膜疣", 8866),
        PublicClass("CNV", "Choroidal neovascularization", "脉络膜新生血管", 37455),
        PublicClass("DME", "Diabetic macular edema", "糖尿病性黄斑水肿", 11598),
    ),
    images=84484,
    patients_known=True,
    layouts=(
        ClassFolders(
            "as published",
            "OCT2017/train|test/<class>/<class>-<patient>-<n>.jpeg (Kaggle's copy has val too)",
            "CNV-{p}-{n}.jpeg",
            (
                PublishedSplit("train", None),  # 83,484 on Mendeley; not the same in every copy
                PublishedSplit("test", None),
            ),
            group=r"^[A-Z]+-(\d+)-",
            # 566 of the 633 patients of test also stand in train: a public count. So it is split anew by patient.
            resplit=True,
        ),
        ClassFolders(
            "a folder per class", "<class>/<class>-<patient>-<n>.jpeg", "CNV-{p}-{n}.jpeg", group=r"^[A-Z]+-(\d+)-"
        ),
    ),
    # Link and size: six public projects name it. Not tried here.
    downloads=(
        Download(
            "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/5699a1d8-d1b6-45db-bb92-b61051445347/"
            "file_downloaded",
            "OCT2017.tar.gz",
            size_bytes=5_793_183_169,
        ),
    ),
    steps=(
        "if the download does not work: open https://data.mendeley.com/datasets/rscbjbr9sj/2, download OCT2017.tar.gz "
        "and unpack it into {folder}",
    ),
)
