"""The report as text: whole reports by hand, both languages the same, and nothing that nobody said."""

import re
import tomllib
from dataclasses import replace
from typing import get_args

import pytest

from eyeground.clinic.answered import Answered
from eyeground.clinic.findings import EYES, FINDINGS, UNAVAILABLE
from eyeground.clinic.records import EyeExam, EyeReview, Opinion, Order, Person, Said
from eyeground.clinic.report.language import SHELF, languages, words_of
from eyeground.clinic.report.text import SECTIONS, draft_report, report_text
from eyeground.clinic.report.wording import acuity_words, quality_words
from eyeground.images.quality import Reason
from eyeground.images.refusal import REASONS

ORDER = Order(
    door="screening",
    id="V-17",
    person=Person(patient_id="P1", name="王小明", age=63, sex="male"),
    od=EyeExam(
        acuity="4.9", notation="five_mark", correction="uncorrected", pressure_mmhg=18, pressure_method="non_contact",
        pressure_time="2026-11-28T09:10",
    ),
    os=EyeExam(acuity="手动/20cm", notation="low_vision"),
    visit_time="2026-11-28T09:30:00+08:00",
)  # fmt: skip
SAID = {
    "fundus/OD": {
        "AMD": Said(value=1, score=0.91), "CSC": Said(value=0, score=0.03), "RP": Said(value=0, score=0.01),
        "ON": Said(value=0, score=0.02), "GLA": Said(value=0, score=0.12), "DR": Said(value=2, score=0.81),
    },
    "anterior/OD": {"cataract": Said(value=1)},
}  # fmt: skip
OTHERS = ("conjunctivitis", "keratitis", "pterygium", "exfoliationSyndrome")
UNSIGNED = Answered(
    "c1",
    ORDER,
    0,
    images={"fundus": 2, "anterior": 1},
    values={key: {name: each.value for name, each in said.items()} for key, said in SAID.items()},
    said=SAID,
    quality={"fundus/OD": "good", "fundus/OS": "cannot grade: out of focus", "anterior/OD": "fair: too dark"},
    areas={"fundus/OD": ("macula", "superior arcade")},
    unavailable={
        "fundus/OD.RVO": "not_installed", "fundus/OS": "cannot_grade", "anterior/OS": "no_image",
        **{f"anterior/OD.{name}": "not_installed" for name in OTHERS},
    },
    urgency="refer_1_month",
    rules="ICO-2017 v2",
    models=("screening7 v1",),
)  # fmt: skip
SIGNED = replace(
    UNSIGNED,
    revision=2,
    opinion=Opinion(
        eyes={
            "fundus/OD": EyeReview(findings={"DR": 3, "AMD": 0}),
            "fundus/OS": EyeReview(ungradable=True, reason="白内障"),
        },
        conclusion="右眼重度 NPDR，左眼因白内障无法评估。",
        recommendation="1 个月内至眼科就诊。",
    ),
    doctor_name="李医生",
    signed_at="2026-11-28T02:00:00+00:00",
    values={"fundus/OD": {"DR": 3, "AMD": 0}},
    unavailable={
        **{f"fundus/OD.{name}": "not_assessed" for name in ("CSC", "RP", "ON", "GLA", "RVO")},
        "fundus/OS": "cannot_grade", "anterior/OD": "not_assessed", "anterior/OS": "no_image",
    },
)  # fmt: skip

GOLDEN_ZH = """眼科筛查报告
AI 辅助，非诊断

【检查信息】
姓名：王小明
性别：男
年龄：63 岁
患者编号：P1
申请编号：V-17
检查时间：2026-11-28 09:30:00+08:00
图像：眼底 2 张，眼前节 1 张

【视力与眼压】
右眼（OD）：视力 4.9（五分记录，裸眼）；眼压 18 mmHg（非接触眼压计，2026-11-28 09:10）
左眼（OS）：视力 手动/20cm；眼压 未提供

【图像质量】
右眼（OD）眼底：良好
左眼（OS）眼底：无法分级（对焦不清）
右眼（OD）眼前节：尚可（过暗）

【各眼所见】
以下为 AI 输出，未经医生签署。
右眼（OD）眼底：
  视盘：AI 未检出青光眼、视神经病变。
  黄斑：AI 检出年龄相关性黄斑变性；AI 未检出中心性浆液性脉络膜视网膜病变。
  血管：未评估：视网膜静脉阻塞（未安装可回答此项的模型）。
  视网膜：AI 检出中度非增殖期糖尿病视网膜病变；AI 未检出视网膜色素变性。
左眼（OS）眼底：图像无法分级：请重拍或转诊。
右眼（OD）眼前节：AI 检出白内障；未评估：结膜炎、角膜炎、翼状胬肉、剥脱综合征（未安装可回答此项的模型）。
左眼（OS）眼前节：未发送图像。

【AI 辅助分析】
模型：screening7 v1
右眼（OD）眼底：年龄相关性黄斑变性 阳性（0.91）；中心性浆液性脉络膜视网膜病变 阴性（0.03）；视网膜色素变性 \
阴性（0.01）；视神经病变 阴性（0.02）；青光眼 阴性（0.12）；糖尿病视网膜病变 2 级（0.81）。
右眼（OD）眼前节：白内障 阳性。
括号内数字为模型得分：是非项为阳性概率，分级项为所给级别的概率。
关注区域（右眼（OD）眼底）：黄斑、上方血管弓（模型关注的位置，非病灶边界）

【糖尿病视网膜病变分级（ICDR）】
右眼（OD）：2 级，中度非增殖期糖尿病视网膜病变
左眼（OS）：未分级（图像无法分级：请重拍或转诊）

【医生结论】
本报告尚未经医生签署。

【建议】
紧急程度：1 个月内转诊眼科（依据规则 ICO-2017 v2）

【局限性说明】
AI 辅助，非诊断。
未检出不排除其他疾病。
仅评估所列项目；未评估的项目不代表正常。
无法分级的眼不代表正常：请重拍或转诊。
如有不适，无论本报告结果如何，请到眼科就诊。本报告不作为处方。

【签署】
医生：未签署
"""

GOLDEN_EN_SIGNED = """【Findings by eye】
As judged by the doctor.
Right eye (OD) fundus:
  Optic disc: not assessed: glaucoma, optic neuropathy (the doctor gave no verdict on this).
  Macula: not seen: age-related macular degeneration; not assessed: central serous chorioretinopathy (the doctor gave \
no verdict on this).
  Vessels: not assessed: retinal vein occlusion (the doctor gave no verdict on this).
  Retina: seen: severe non-proliferative diabetic retinopathy; not assessed: retinitis pigmentosa (the doctor gave no \
verdict on this).
Left eye (OS) fundus: the image cannot be graded: retake it or refer (reason: 白内障).
Right eye (OD) anterior segment: the doctor gave no verdict on this.
Left eye (OS) anterior segment: no image was sent.

【AI assistance】
Model: screening7 v1
Right eye (OD) fundus: age-related macular degeneration positive (0.91); central serous chorioretinopathy negative \
(0.03); retinitis pigmentosa negative (0.01); optic neuropathy negative (0.02); glaucoma negative (0.12); diabetic \
retinopathy grade 2 (0.81).
Right eye (OD) anterior segment: cataract positive.
Numbers in brackets are the model's scores: of yes or no the probability of yes, of a grade that of the grade given.
Regions of attention (Right eye (OD) fundus): macula, superior arcade (where the model looked, not a lesion boundary)

【Grade of diabetic retinopathy (ICDR)】
Right eye (OD): grade 3, severe non-proliferative diabetic retinopathy
Left eye (OS): not graded (the image cannot be graded: retake it or refer)

【Doctor's conclusion】
右眼重度 NPDR，左眼因白内障无法评估。

【Recommendation】
1 个月内至眼科就诊。
Urgency: Refer to an ophthalmologist within 1 month (by the rules ICO-2017 v2)

【Limits】
AI decision support, not a diagnosis.
Not detected does not exclude other disease.
Only the findings listed were assessed; what was not assessed is not normal.
An eye that cannot be graded is not normal: retake the image or refer.
With symptoms, see an ophthalmologist whatever this report says. It is no prescription.

【Signature】
Doctor: 李医生
Time: 2026-11-28 02:00 UTC
Version: 2 (amended)
"""


def test_an_unsigned_report_in_chinese() -> None:
    assert report_text(UNSIGNED, "zh") == GOLDEN_ZH


def test_a_signed_report_in_english() -> None:
    text = report_text(SIGNED, "en")
    assert text[text.index("【Findings by eye】") :] == GOLDEN_EN_SIGNED
    assert text.startswith(
        "Eye screening report\nAI decision support, not a diagnosis\n\n【Examination】\nName: 王小明\nSex: male\n"
        "Age: 63 years\nPatient number: P1\n"
    )
    assert (
        "Right eye (OD): visual acuity 4.9 (five-mark, uncorrected); intraocular pressure 18 mmHg (non-contact, "
        "2026-11-28 09:10)\nLeft eye (OS): visual acuity HM/20cm; intraocular pressure not given\n"
    ) in text


def test_the_doctors_word_stands_before_the_models() -> None:
    text = report_text(SIGNED, "zh")
    assert "以下为医生判断。" in text
    assert "考虑重度非增殖期糖尿病视网膜病变" in text
    assert "右眼（OD）：3 级" in text
    assert "未评估：青光眼、视神经病变（医生未对此项作出判断）" in text
    assert "（原因：白内障）" in text
    assert text.endswith("医生：李医生\n时间：2026-11-28 02:00 UTC\n版本：2（修订）\n")
    # What the model said is told as what the model said.
    assert "糖尿病视网膜病变 2 级（0.81）" in text


@pytest.mark.parametrize("language", languages())
def test_every_report_holds_every_section_and_its_limits(language: str) -> None:
    words = words_of(language)
    for answered in (UNSIGNED, SIGNED, Answered("e", Order(door="check", id="1"), 0)):
        text = report_text(answered, language)
        heads = re.findall("^【(.*)】$", text, re.MULTILINE)
        assert heads == [words.say(f"sections.{section}") for section in SECTIONS]
        assert text.splitlines()[1] == words.say("mark")
        assert text.count(words.say("mark")) == 2
        assert words.say("limits.other_disease") in text
        assert report_text(answered, language) == text


def test_an_empty_case_says_that_nothing_is_known() -> None:
    text = report_text(Answered("e", Order(door="check", id="1"), 0), "zh")
    assert text.count("未发送图像") == 6  # four parts of eyes, and two grades
    assert "未使用 AI。" in text
    assert "AI 未检出" not in text
    assert "无可评估的图像。" in text
    assert "紧急程度：由医生决定" in text


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("word", UNAVAILABLE)
def test_what_is_unavailable_is_never_called_absent(language: str, word: str) -> None:
    keys = [f"{part}/{eye}" for part in FINDINGS for eye in EYES]
    whole = replace(UNSIGNED, values={}, said={}, unavailable=dict.fromkeys(keys, word))
    text = report_text(whole, language)
    assert text.count(UNAVAILABLE[word][language]) >= 6
    assert words_of(language).say("findings.not_detected") not in text


def test_english_is_never_half_translated() -> None:
    plain = replace(UNSIGNED, order=ORDER.model_copy(update={"person": Person(patient_id="P1", name="Wang")}))
    assert re.findall("[一-鿿]", report_text(plain, "en")) == []
    # In Chinese the only Latin words are names of scales, of models and of people, and abbreviations.
    latin = set(re.findall("[A-Za-z]{3,}", report_text(UNSIGNED, "zh")))
    assert latin == {"mmHg", "ICDR", "ICO", "screening"}


def test_every_language_has_the_same_words() -> None:
    told = {code: tomllib.loads((SHELF / f"{code}.toml").read_text("utf-8")) for code in languages()}
    shapes = {
        code: {
            (table, key, tuple(sorted(re.findall(r"{(\w+)}", word))))
            for table, words in each.items()
            for key, word in (words.items() if isinstance(words, dict) else {"": words}.items())
        }
        for code, each in told.items()
    }
    assert set(shapes) == {"en", "zh"}
    assert shapes["en"] == shapes["zh"]
    assert len(shapes["en"]) > 130
    assert all(word for each in told.values() for words in each.values() for word in words)


@pytest.mark.parametrize("language", languages())
def test_every_reason_of_the_gate_has_words(language: str) -> None:
    other = words_of(language).say("quality.other")
    for reason in (*get_args(Reason), *(each for each in REASONS if each != "no_such_slice"), "failed"):
        assert other not in quality_words(f"cannot grade: {reason}", language), reason
    assert other in quality_words("cannot grade: the retina is on fire", language)
    assert quality_words("fair: haze, too dark", "zh") == "尚可（图像朦胧、过暗）"


@pytest.mark.parametrize(
    ("exam", "en", "zh"),
    [
        (EyeExam(acuity="20/25-1", correction="pinhole"), "20/25-1 (Snellen, pinhole)",
         "20/25-1（Snellen 分数，小孔）"),
        (EyeExam(acuity="0.3", notation="logmar"), "0.3 (logMAR)", "0.3（logMAR）"),
        (EyeExam(acuity="logMAR -0.10"), "-0.1 (logMAR)", "-0.1（logMAR）"),
        (EyeExam(acuity="0.8", correction="corrected"), "0.8 (decimal, corrected)", "0.8（小数记录，矫正）"),
        (EyeExam(acuity="CF/30cm"), "CF/30cm", "指数/30cm"),
        (EyeExam(acuity="指数1米", correction="corrected"), "CF/1m (corrected)", "指数/1m（矫正）"),
        (EyeExam(acuity="无光感"), "NLP", "无光感"),
        (EyeExam(), "not given", "未提供"),
    ],
)  # fmt: skip
def test_acuities_are_said_as_they_are_written(exam: EyeExam, en: str, zh: str) -> None:
    assert (acuity_words(exam, "en"), acuity_words(exam, "zh")) == (en, zh)


def test_a_name_begins_no_section_of_its_own() -> None:
    order = ORDER.model_copy(update={"person": Person(patient_id="P\n【签署】\n医生：无", name="a\r\nb")})
    text = report_text(replace(UNSIGNED, order=order), "zh")
    assert len(re.findall("^【", text, re.MULTILINE)) == len(SECTIONS)
    assert "姓名：a b\n" in text


def test_a_draft_says_what_was_sent() -> None:
    texts = {
        "odFundusFeatures": "视盘边界清,黄斑区可见玻璃膜疣，  A/V=2:3, 视盘边界清",
        "osFundusDisease": "amd, DR;轻度白内障",
        "odAnteriorDisease": "Cataract",
        "osAnteriorFeatures": " , ",
    }
    assert draft_report(texts, "zh") == {
        "anteriorReport": "右眼（OD）：未提供眼前节所见。\n左眼（OS）：未提供眼前节所见。\n"
        "AI 辅助，非诊断；请由医生审核。",
        "anteriorInterpret": "右眼（OD）印象：白内障。\n左眼（OS）：未提供眼前节疾病信息。\n"
        "AI 辅助，非诊断；请由医生审核。",
        "fundusReport": "右眼（OD）：视盘边界清，黄斑区可见玻璃膜疣，A/V=2:3。\n左眼（OS）：未提供眼底所见。\n"
        "AI 辅助，非诊断；请由医生审核。",
        "fundusInterpret": "右眼（OD）：未提供眼底疾病信息。\n"
        "左眼（OS）印象：年龄相关性黄斑变性、糖尿病视网膜病变、轻度白内障。\n"
        "AI 辅助，非诊断；请由医生审核。",
    }
    assert draft_report({"odFundusDisease": "RVO, glaucoma suspect"}, "en")["fundusInterpret"] == (
        "Right eye (OD), impression: retinal vein occlusion, glaucoma suspect.\n"
        "Left eye (OS): no fundus disease was given.\nAI decision support, not a diagnosis; to be checked by a doctor."
    )


@pytest.mark.parametrize("language", languages())
def test_a_draft_of_nothing_calls_nothing_normal(language: str) -> None:
    drafts = draft_report({}, language)
    assert set(drafts) == {"anteriorReport", "anteriorInterpret", "fundusReport", "fundusInterpret"}
    assert not re.search("正常|未见|normal|no abnormal", "".join(drafts.values()))


def test_a_language_that_is_not_there() -> None:
    with pytest.raises(LookupError, match="there are: en, zh"):
        report_text(UNSIGNED, "../en")
