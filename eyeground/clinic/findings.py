"""The findings that the contracts ask for, and how those of several images become those of an eye."""

from collections.abc import Mapping
from typing import Final

from eyeground.clinic.records import Part

# By the contracts' names; the highest value of each.
FINDINGS: Final[Mapping[Part, Mapping[str, int]]] = {
    "fundus": {"AMD": 1, "CSC": 1, "RP": 1, "ON": 1, "GLA": 1, "RVO": 1, "DR": 4},
    "anterior": {"conjunctivitis": 1, "keratitis": 1, "cataract": 1, "pterygium": 1, "exfoliationSyndrome": 1},
}
EYES: Final = ("OD", "OS")
# Why something was not answered. It is never answered with a zero instead.
UNAVAILABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "no_image": {"en": "no image was sent", "zh": "未发送图像"},
    "cannot_grade": {"en": "the image cannot be graded: retake it or refer", "zh": "图像无法分级：请重拍或转诊"},
    "not_installed": {"en": "no model that answers this is installed", "zh": "未安装可回答此项的模型"},
    "eye_held": {"en": "which eye it shows is contradictory: a doctor decides", "zh": "眼别存在矛盾：由医生确定"},
    "failed": {"en": "the model failed on this image", "zh": "模型处理该图像失败"},
    "not_assessed": {"en": "the doctor gave no verdict on this", "zh": "医生未对此项作出判断"},
}
