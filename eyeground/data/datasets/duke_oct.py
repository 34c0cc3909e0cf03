"""Duke OCT (Srinivasan 2014): volumes of 45 people, three conditions."""

from eyeground.data.public import PublicClass, PublicDataset, Volumes

DATASET = PublicDataset(
    name="duke_oct",
    title="Duke OCT (Srinivasan, BOE 2014)",
    page="https://people.duke.edu/~sf59/Srinivasan_BOE_2014_dataset.htm",
    licence="research and education",  # a public description of the page; not read on the page itself
    citation="Srinivasan et al., Fully automated detection of diabetic macular edema and dry age-related macular "
    "degeneration from optical coherence tomography images, Biomed Opt Express 2014;5:3568",
    modality="oct",
    # 15 people of each: the paper's abstract. A volume is one image here; it has 3,231 B-scans in all.
    classes=(
        PublicClass("NORMAL", "Normal", "正常", 15),
        PublicClass("AMD", "Dry age-related macular degeneration", "干性年龄相关性黄斑变性", 15),
        PublicClass("DME", "Diabetic macular edema", "糖尿病性黄斑水肿", 15),
    ),
    images=45,
    patients_known=True,
    layouts=(
        # Folder names: several public loaders.
        Volumes(
            "as published",
            "NORMAL1/TIFFs/8bitTIFFs/*.tif ... AMD15/..., DME15/...",
            "{c}{n}",
            ("",),
            r"(?P<label>NORMAL|AMD|DME)\d+",
            slices="TIFFs/8bitTIFFs",
        ),
    ),
    steps=(
        "open https://people.duke.edu/~sf59/Srinivasan_BOE_2014_dataset.htm and download the archive of the data set",
        "unpack it so that {folder} holds NORMAL1 to NORMAL15, AMD1 to AMD15 and DME1 to DME15, or one folder that "
        "holds them",
    ),
)
