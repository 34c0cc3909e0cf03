"""Glaucoma_fundus: photographs of normal eyes, early and advanced glaucoma, from Kim's Eye Hospital."""

from eyeground.data.public import ClassFolders, Download, PublicClass, PublicDataset, retfound, retfound_steps

DATASET = PublicDataset(
    name="glaucoma_fundus",
    title="Machine learn for glaucoma (Kim's Eye Hospital)",
    page="https://dataverse.harvard.edu/dataset.xhtml?persistentId=doi:10.7910/DVN/1YRRAC",  # RETFound_MAE
    licence="CC0 1.0",  # as EyeDataHub records it for this page (July 2026); not read on the page itself
    citation="Ahn et al., A deep learning model for the detection of both advanced and early glaucoma using fundus "
    "photography, PLoS One 2018;13:e0207982",
    modality="fundus",
    # Counts and folder names of the download: a public loader of it. RETFound's folder names: several public loaders.
    classes=(
        PublicClass("normal_control", "Normal control", "正常对照", 788, ("anormal_control",)),
        PublicClass("early_glaucoma", "Early glaucoma", "早期青光眼", 289, ("bearly_glaucoma",)),
        PublicClass("advanced_glaucoma", "Advanced glaucoma", "晚期青光眼", 467, ("cadvanced_glaucoma",)),
    ),
    images=1544,
    patients_known=False,
    ordered=True,
    layouts=(
        retfound("Glaucoma_fundus", "{n}.png", 861, 218, 465),  # two public inventories of the unpacked archive
        ClassFolders("a folder per class", "<class>/*.png", "{n}.png"),
    ),
    # The link as a public download script has it, which also gives MD5 305f29a31a7db2c9bd5536b9c077a09e; not tried.
    downloads=(
        Download(
            "https://dataverse.harvard.edu/api/access/datafile/:persistentId?persistentId=doi:10.7910/DVN/1YRRAC/OGRSQO",
            "glaucoma_fundus.zip",
        ),
    ),
    steps=retfound_steps("https://drive.google.com/file/d/18vSazOYDsUGdZ64gGkTg3E6jiNtcrUrI/view"),
)
