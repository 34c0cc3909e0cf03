"""OCTID: B-scans of four diseases and of healthy eyes, from one clinic."""

from eyeground.data.public import ClassFolders, PublicClass, PublicDataset, retfound, retfound_steps

DATASET = PublicDataset(
    name="octid",
    title="OCTID",
    page="https://borealisdata.ca/dataverse/OCTID",  # RETFound_MAE, BENCHMARK.md
    licence="CC0 1.0",  # as EyeDataHub records it for this page (July 2026); not read on the page itself
    citation="Gholami et al., OCTID: Optical coherence tomography image database, Comput Electr Eng 2020;81:106532",
    modality="oct",
    # Counts: dataset card of OCTID in pth1993/Ophthalmology-Data. Folder names of RETFound's split: the same card and
    # several public loaders. Folder names of the official downloads: a public loader of the five archives.
    classes=(
        PublicClass("Normal", "Normal", "正常", 206, ("ANormal", "Normal-Retinal-OCT-images")),
        PublicClass(
            "AMD",
            "Age-related macular degeneration",
            "年龄相关性黄斑变性",
            55,
            ("ARMD", "AMRD", "Age-related-Macular-Degeneration-Retinal-OCT-images"),
        ),
        PublicClass(
            "CSR",
            "Central serous retinopathy",
            "中心性浆液性视网膜病变",
            102,
            ("CSC", "Central-serous-retinopathy-retinal-OCT-images"),
        ),
        PublicClass(
            "DR",
            "Diabetic retinopathy",
            "糖尿病视网膜病变",
            107,
            ("Diabetic_retinopathy", "Diabetic-Retinopathy-Retinal-OCT-Images"),
        ),
        PublicClass("MH", "Macular hole", "黄斑裂孔", 102, ("Macular_Hole", "Macular-Hole-Retinal-OCT-images")),
    ),
    images=572,
    patients_known=False,
    layouts=(
        # The same card; the totals also stand in an independent inventory of the unpacked archive.
        retfound(
            "OCTID",
            "{n}.jpeg",
            316,
            82,
            174,
            by_class=((115, 30, 56, 59, 56), (29, 8, 15, 15, 15), (62, 17, 31, 33, 31)),
        ),
        ClassFolders("a folder per class", "<class>/*.jpeg", "{n}.jpeg"),
    ),
    steps=(
        *retfound_steps("https://drive.google.com/file/d/1I7nAvbkJG4UF29J3HcyIW53rVEFcKRgm/view"),
        "or, for the images as their authors give them: open https://borealisdata.ca/dataverse/OCTID and download the "
        "five sets of images (normal, age-related macular degeneration, central serous retinopathy, diabetic "
        "retinopathy, macular hole; not the one with segmentations)",
        "unpack each into a folder of its own in {folder}, named Normal, AMD, CSR, DR and MH",
    ),
)
