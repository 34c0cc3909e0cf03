"""OCTA-500: OCT volumes of 500 eyes with angiography beside them, for pre-training."""

from eyeground.data.public import PublicClass, PublicDataset, Volumes

DATASET = PublicDataset(
    name="octa500",
    title="OCTA-500",
    page="https://ieee-dataport.org/open-access/octa-500",  # the paper's abstract
    licence="research use",  # EyeDataHub: "IEEE DataPort Open Access (research only)"
    citation="Li et al., OCTA-500: A retinal dataset for optical coherence tomography angiography study, "
    "Med Image Anal 2024",
    modality="oct",
    # The words of the column Disease in "Text labels.xlsx", which is not read here. Which words there are beyond these,
    # and how many eyes each has, is not verified here.
    classes=(
        PublicClass("NORMAL", "Normal", "正常"),
        PublicClass("AMD", "Age-related macular degeneration", "年龄相关性黄斑变性"),
        PublicClass("CNV", "Choroidal neovascularization", "脉络膜新生血管"),
        PublicClass("CSC", "Central serous chorioretinopathy", "中心性浆液性脉络膜视网膜病变"),
        PublicClass("DR", "Diabetic retinopathy", "糖尿病视网膜病变"),
        PublicClass("RVO", "Retinal vein occlusion", "视网膜静脉阻塞"),
        PublicClass("OTHERS", "Other disease", "其他疾病"),
    ),
    images=500,  # volumes: 10001-10300 of 6 mm, 10301-10500 of 3 mm
    patients_known=True,
    layouts=(
        Volumes(
            "as published, without labels",
            "OCTA_6mm/OCT/<eye>/<slice>.bmp\nOCTA_3mm/OCT/<eye>/<slice>.bmp",
            "10{n:03}",
            ("OCTA_6mm/OCT", "OCTA_3mm/OCT"),
            r"1\d{4}",
        ),
    ),
    steps=(
        "make a free account at https://ieee-dataport.org, open https://ieee-dataport.org/open-access/octa-500 and "
        "download OCTA_6mm and OCTA_3mm (about 70 GB in all)",
        "the archives are protected: ask for the password at the address that the page names",
        "unpack them so that {folder} holds OCTA_6mm/OCT and OCTA_3mm/OCT; the other folders are not read",
    ),
)
