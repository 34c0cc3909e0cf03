"""JSIEC: a thousand photographs of 39 diseases and conditions, from one center in Shantou."""

from eyeground.data.public import ClassFolders, Download, PublicClass, PublicDataset, retfound, retfound_steps

# The order in which torchvision's ImageFolder sorts these folders, so that class numbers are those of RETFound's own
# runs. Counts per class: not verified here. Names: dataset card of JSIEC in pth1993/Ophthalmology-Data.
_CLASSES = (
    ("0.0.Normal", "Normal", "正常"),
    ("0.1.Tessellated fundus", "Tessellated fundus", "豹纹状眼底"),
    ("0.2.Large optic cup", "Large optic cup", "大视杯"),
    ("0.3.DR1", "Diabetic retinopathy, first degree (DR1)", "糖尿病视网膜病变 DR1"),
    ("1.0.DR2", "Diabetic retinopathy, second degree (DR2)", "糖尿病视网膜病变 DR2"),
    ("1.1.DR3", "Diabetic retinopathy, third degree (DR3)", "糖尿病视网膜病变 DR3"),
    ("10.0.Possible glaucoma", "Possible glaucoma", "疑似青光眼"),
    ("10.1.Optic atrophy", "Optic atrophy", "视神经萎缩"),
    ("11.Severe hypertensive retinopathy", "Severe hypertensive retinopathy", "重度高血压性视网膜病变"),
    ("12.Disc swelling and elevation", "Disc swelling and elevation", "视盘水肿隆起"),
    ("13.Dragged Disc", "Dragged disc", "视盘牵拉移位"),
    ("14.Congenital disc abnormality", "Congenital disc abnormality", "先天性视盘异常"),
    ("15.0.Retinitis pigmentosa", "Retinitis pigmentosa", "视网膜色素变性"),
    ("15.1.Bietti crystalline dystrophy", "Bietti crystalline dystrophy", "Bietti 结晶样视网膜变性"),
    (
        "16.Peripheral retinal degeneration and break",
        "Peripheral retinal degeneration and break",
        "周边视网膜变性与裂孔",
    ),
    ("17.Myelinated nerve fiber", "Myelinated nerve fiber", "有髓神经纤维"),
    ("18.Vitreous particles", "Vitreous particles", "玻璃体颗粒样混浊"),
    ("19.Fundus neoplasm", "Fundus neoplasm", "眼底肿瘤"),
    ("2.0.BRVO", "Branch retinal vein occlusion", "视网膜分支静脉阻塞"),
    ("2.1.CRVO", "Central retinal vein occlusion", "视网膜中央静脉阻塞"),
    ("20.Massive hard exudates", "Massive hard exudates", "大量硬性渗出"),
    ("21.Yellow-white spots-flecks", "Yellow-white spots or flecks", "黄白色斑点"),
    ("22.Cotton-wool spots", "Cotton-wool spots", "棉絮斑"),
    ("23.Vessel tortuosity", "Vessel tortuosity", "血管迂曲"),
    ("24.Chorioretinal atrophy-coloboma", "Chorioretinal atrophy or coloboma", "脉络膜视网膜萎缩或缺损"),
    ("25.Preretinal hemorrhage", "Preretinal hemorrhage", "视网膜前出血"),
    ("26.Fibrosis", "Fibrosis", "纤维化"),
    ("27.Laser Spots", "Laser spots", "激光斑"),
    ("28.Silicon oil in eye", "Silicone oil in the eye", "硅油填充眼"),
    ("29.0.Blur fundus without PDR", "Blurred fundus without proliferative retinopathy", "眼底模糊，无增殖期病变"),
    (
        "29.1.Blur fundus with suspected PDR",
        "Blurred fundus, proliferative retinopathy suspected",
        "眼底模糊，疑似增殖期病变",
    ),
    ("3.RAO", "Retinal artery occlusion", "视网膜动脉阻塞"),
    ("4.Rhegmatogenous RD", "Rhegmatogenous retinal detachment", "孔源性视网膜脱离"),
    ("5.0.CSCR", "Central serous chorioretinopathy", "中心性浆液性脉络膜视网膜病变"),
    ("5.1.VKH disease", "Vogt-Koyanagi-Harada disease", "Vogt-小柳-原田病"),
    ("6.Maculopathy", "Maculopathy", "黄斑病变"),
    ("7.ERM", "Epiretinal membrane", "视网膜前膜"),
    ("8.MH", "Macular hole", "黄斑裂孔"),
    ("9.Pathological myopia", "Pathological myopia", "病理性近视"),
)

DATASET = PublicDataset(
    name="jsiec",
    title="JSIEC, 1000 fundus images with 39 categories",
    page="https://zenodo.org/records/3477553",  # RETFound_MAE, BENCHMARK.md
    licence="other, open; no named licence",  # EyeDataHub's record of the Zenodo page
    citation="Cen et al., Automatic detection of 39 fundus diseases and conditions in retinal photographs using deep "
    "neural networks, Nat Commun 2021, doi 10.1038/s41467-021-25138-w",
    modality="fundus",
    classes=tuple(PublicClass(label, en, zh) for label, en, zh in _CLASSES),
    images=1000,  # the page's own title, and the card
    patients_known=False,
    layouts=(
        # Of test, public inventories count 316, 318 and 319 (the Paddle study); train and val agree.
        retfound("JSIEC", "{n}.JPG", 534, 150, None),
        ClassFolders("a folder per class", "<class>/*.JPG", "{n}.JPG"),
    ),
    # The link as a public download script has it; not tried here.
    downloads=(Download("https://zenodo.org/records/3477553/files/1000images.zip?download=1", "1000images.zip"),),
    steps=retfound_steps("https://drive.google.com/file/d/1q0GFQb-dYwzIx8AwlaFZenUJItix4s8z/view"),
)
