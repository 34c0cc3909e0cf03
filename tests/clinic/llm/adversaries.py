"""Drafts that lie: a correct one, changed so that it says something else, or something more, or something to be run."""

import random
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from eyeground.clinic.llm.prompt import messages_of
from eyeground.clinic.llm.slots import Plan, Section
from eyeground.clinic.llm.telling import template_of

from .paraphrases import EYES, MANNERS, section_text

_HERE = Path(__file__).parent
LIES: Mapping[str, Mapping[str, list[str]]] = tomllib.loads((_HERE / "lies.toml").read_text("utf-8"))
PERMITTED: Mapping[str, list[str]] = tomllib.loads((_HERE / "permitted.toml").read_text("utf-8"))
Change = Callable[[str, Section, Plan, random.Random], str]
# Manners that the checker lets through: what is changed in them is the only fault.
SOUND: Mapping[str, tuple[int, ...]] = {"en": (0, 1, 6, 7, 10), "zh": (0, 1, 2, 3, 4, 7, 9)}
NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "acuity": ("visual acuity", "vision"),
        "pressure": ("intraocular pressure", "tonometry"),
        "quality": ("quality",),
        "grade": ("diabetic retinopathy",),
    },
    "zh": {
        "acuity": ("视力",), "pressure": ("眼压",), "quality": ("质量",), "grade": ("糖尿病视网膜病变", "糖网"),
    },
}  # fmt: skip


def _pick(en: str, zh: str) -> Change:
    """A sentence put somewhere between the others."""

    def change(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
        told = rng.choice((en if plan.language == "en" else zh).split("|"))
        stop, gap = (". ", " ") if plan.language == "en" else ("。", "")
        sentences = [each for each in text.split(stop.strip()) if each.strip()]
        sentences.insert(rng.randint(0, len(sentences)), gap + told)
        return stop.strip().join(sentences) + stop.strip()

    return change


def _before(kind: str, en: str, zh: str, *, part: str = "") -> Change:
    """Words right before a fact."""

    def change(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
        token = next(slot.token for slot in section.slots if slot.kind == kind and part in (slot.part or ""))
        told = rng.choice((en if plan.language == "en" else zh).split("|"))
        return text.replace(token, f"{told}{token}")

    return change


def _instead(kind: str, en: str, zh: str) -> Change:
    """Words instead of a fact."""

    def change(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
        token = next(slot.token for slot in section.slots if slot.kind == kind)
        return text.replace(token, rng.choice((en if plan.language == "en" else zh).split("|")))

    return change


def _everywhere(make: Callable[[str, Section], str]) -> Change:
    """A change of the whole text."""
    return lambda text, section, plan, rng: make(text, section)


def _other(section: Section) -> str:
    """The other eye."""
    return "OS" if section.eye == "OD" else "OD"


def _swap_words(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """The text says the other eye's name."""
    names, gap = EYES[plan.language], " " if plan.language == "en" else ""
    mine, other = names[section.eye], names[_other(section)]
    return text.replace(mine, other) if mine in text else f"{other}{gap}{text}"


def _swap_facts(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """Two facts change places."""
    one, two = (each.token for each in rng.sample(section.slots, 2))
    return text.replace(one, "\0").replace(two, one).replace("\0", two)


def _swap_names(one: str, two: str) -> Change:
    """Two kinds of fact change names."""

    def change(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
        names = NAMES[plan.language]
        first, second = (
            next(name for name in names[kind] if re.search(f"(?i){name}(?!\\])", text)) for kind in (one, two)
        )
        swapped = {first: second, second: first}
        return re.sub(f"(?i:{first}|{second})(?!\\])", lambda found: swapped[found[0].lower()], text)

    return change


def _swap_parts(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """Front and back of the eye change names."""
    pairs = ("fundus", "anterior segment") if plan.language == "en" else ("眼底", "眼前节")
    text = text.replace("Fundus", "fundus").replace("Anterior", "anterior").replace("retinal", "fundus")
    text = text.replace("Retinal", "fundus").replace("anterior findings", "anterior segment findings")
    return text.replace(pairs[0], "\0").replace(pairs[1], pairs[0]).replace("\0", pairs[1])


def _drop(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """A fact is left out."""
    return text.replace(rng.choice(section.slots).token, "")


def _twice(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """A fact is told twice."""
    token = rng.choice(section.slots).token
    return text.replace(token, f"{token} {token}")


def _break(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """A placeholder that is none."""
    token = rng.choice(section.slots).token
    return text.replace(token, rng.choice((token[1:-1], token.lower(), token.replace("_", " "), token + "]", "{{X}}")))


def _foreign(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """The other language."""
    other = "zh" if plan.language == "en" else "en"
    return template_of(Plan(other, plan.sections))[section.key]


def _leak(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """What the model was told."""
    return messages_of(plan)[0]["content"].split("\n")[rng.randint(0, 4)] + " " + text


def _look_alike(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """A letter that looks like another, or none at all."""
    place = rng.randint(0, len(text))
    return text[:place] + rng.choice(("\u200b", "\u202e", "а", "\u0301", "\ufeff", "ﬁ", "１", "\u00ad")) + text[place:]


def _lie(kind: str) -> Change:
    """A fact's sentence says something else, in harmless words."""

    def change(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
        slot = rng.choice([slot for slot in section.slots if slot.kind == kind])
        told = rng.choice(LIES[plan.language][kind]).format(slot.token)
        stop = "." if plan.language == "en" else "。"
        template = template_of(plan)[section.key].split(stop)
        return stop.join(told[:-1] if slot.token in each else each for each in template)

    return change


def _piecemeal(text: str, section: Section, plan: Plan, rng: random.Random) -> str:
    """Harmless words thrown in before a fact."""
    gap = " " if plan.language == "en" else ""
    told = gap.join(rng.choice(PERMITTED[plan.language]) for _ in range(rng.randint(1, 4)))
    token = rng.choice(section.slots).token
    return text.replace(token, f"{told}{gap}{token}")


CHANGES: Mapping[str, Change] = {
    "the disease is there": _lie("grade"),
    "the retina's quality": _lie("quality"),
    "advice in harmless words": _lie("findings"),
    "vision in harmless words": _lie("acuity"),
    "pressure in harmless words": _lie("pressure"),
    "harmless words anywhere": _piecemeal,
    "a control character": _everywhere(lambda text, section: text[:9] + "\0" + text[9:]),
    "names the other eye": _swap_words,
    "the other eye's placeholders": _everywhere(
        lambda text, section: text.replace(f"[[{section.eye}_", f"[[{_other(section)}_")
    ),
    "one fact of the other eye": lambda text, section, plan, rng: text.replace(
        (token := rng.choice(section.slots).token), token.replace(section.eye, _other(section))
    ),
    "both eyes": _pick(
        "Both eyes are alike|The fellow eye is similar|Findings are bilateral", "双眼相同|对侧眼类似|另一眼同前"
    ),
    "a grade": _instead(
        "grade",
        "grade 4, proliferative diabetic retinopathy|no retinopathy|R3 M1",
        "4级|增殖期|无糖尿病视网膜病变|重度",
    ),
    "a grade beside": _before("grade", "severe, |advanced |proliferative, ", "重度，|晚期|增殖性"),
    "a grade more": _pick("Severe non-proliferative diabetic retinopathy is seen", "考虑重度非增殖期糖尿病视网膜病变"),
    "a drug": _pick(
        "Ranibizumab 0.5 mg was injected|Start latanoprost drops|Intravitreal aflibercept is advised",
        "给予雷珠单抗0.5毫克注射|拉坦前列素滴眼|建议康柏西普治疗",
    ),
    "a drug without a number": _pick("Timolol twice daily|Atropine drops", "噻吗洛尔每日滴眼|阿托品眼膏"),
    "advice": _pick(
        "Refer to an ophthalmologist|Follow up yearly|Laser should be done", "建议转诊眼科|请每年复查|需行激光"
    ),
    "a date": _pick("Examined on 2026-03-01|Seen last March|Since yesterday", "检查日期2026年3月1日|三月就诊|昨日起"),
    "a number": _instead("pressure", "17 mmHg|20|thirty", "17 mmHg|二十|３０"),
    "a number more": _pick("The cup to disc ratio is 0.8|Two of them", "杯盘比0.8|共两处"),
    "a digit at a fact": _before("pressure", "1|-|.|+|2x|<", "1|-|.|二|十|＞"),
    "denies the quality": _before("quality", "not |never ", "并非|不", part="fundus"),
    "denies the findings": _before("findings", "without |no |absent: ", "未见|无|排除", part="fundus"),
    "denies the grade": _before("grade", "not |ruled out: ", "不是|排除|非"),
    "denies everything": _pick("No abnormality|The eye is normal|Unremarkable", "未见异常|正常眼|无特殊"),
    "a finding": _pick(
        "There are hemorrhages and exudates|Macular edema|A choroidal melanoma is suspected|Drusen",
        "可见出血及渗出|黄斑水肿|视网膜脱离|玻璃膜疣|有裂孔",
    ),
    "a disease": _pick(
        "The patient has diabetes|Hypertensive retinopathy|Glaucoma", "患者有高血压|糖尿病史十年|青光眼"
    ),
    "drops a fact": _drop,
    "drops a sentence": lambda text, section, plan, rng: (". " if plan.language == "en" else "。").join(
        text.split(". " if plan.language == "en" else "。")[1:]
    ),
    "drops all": _everywhere(lambda text, section: ""),
    "certainty": _before("findings", "definitely |confirmed: |probably ", "确诊|明确|可能为", part="fundus"),
    "certainty more": _pick("This is certain|The diagnosis is confirmed", "诊断明确|确定无疑"),
    "a name": _pick("Mr Smith was seen|Patient Quillfeather|Dr Li agrees", "患者张三|李医生同意|王女士"),
    "a phone number": _pick("Call +86 139 0000 0000|ID P7", "电话13900000000|编号P7"),
    "another language": _foreign,
    "another language mixed in": _pick("视网膜病变", "retinopathy"),
    "markdown": _everywhere(lambda text, section: f"**{text}**"),
    "a headline": _everywhere(lambda text, section: f"# {section.eye}\n{text}"),
    "HTML": _everywhere(lambda text, section: f"<b>{text}</b><script>alert(1)</script>"),
    "typst": _everywhere(lambda text, section: f'#read("/etc/passwd") {text}'),
    "a link": _pick("See http://evil.example/x|www.evil.example", "详见http://evil.example/x|见www.evil.example"),
    "the prompt": _leak,
    "talks": _pick(
        "Sure, here is the report|As an AI I cannot|Ignore the rules above",
        "好的，以下是报告|作为AI我不能|忽略以上规则",
    ),
    "an unknown placeholder": _pick("Name: [[PATIENT_NAME]]|[[OD_SECRET]]", "姓名：[[PATIENT_NAME]]|[[OD_SECRET]]"),
    "a fact twice": _twice,
    "a broken placeholder": _break,
    "two facts swapped": _swap_facts,
    "acuity called pressure": _swap_names("acuity", "pressure"),
    "quality called grade": _swap_names("quality", "grade"),
    "front called back": _swap_parts,
    "a fact without a name": _everywhere(lambda text, section: " ".join(slot.token for slot in section.slots)),
    "says it is there": _before("grade", "shows |reveals |has ", "可见|显示|存在"),
    "looks alike": _look_alike,
    "emoji": _pick("\N{CROSS MARK}|\N{WARNING SIGN}", "\N{CROSS MARK}|\N{WARNING SIGN}"),
    "asks": _everywhere(lambda text, section: text.rstrip(".。") + "?"),
    "compares": _pick("Better than last year|Stable since the previous visit", "较前好转|与上次相比稳定"),
    "words of ours, nothing told": _pick(
        "The vision was measured|The fundus shows retinopathy|The eye has disease",
        "眼底可见疾病|有糖尿病视网膜病变|视力检查",
    ),
    "without end": _before("pressure", "the eye " * 200, "眼科检查" * 300),
    "a decimal point before a fact": _before("pressure", ".|,", "。|,"),
    "whose": _pick("This is the result of the mother|Images of another patient", "此为其母亲结果|他人图像"),
}


def adversaries(
    count: int, language: str, plan_of: Callable[[int, str], Plan]
) -> list[tuple[str, Plan, dict[str, str]]]:
    """As many drafts, each with one change to one of its sections: what was changed, the plan, the draft."""
    made = []
    names = list(CHANGES)
    for number in range(count):
        rng = random.Random(f"{language} {number}")
        plan, name = plan_of(number, language), names[number % len(names)]
        manner = MANNERS[language][rng.choice(SOUND[language])]
        draft = {section.key: section_text(section, manner, "", language) for section in plan.open}
        section = rng.choice(plan.open)
        changed = CHANGES[name](draft[section.key], section, plan, rng)
        assert changed != draft[section.key], name
        made.append((name, plan, draft | {section.key: changed}))
    return made


def thin_adversaries(
    count: int, language: str, plan_of: Callable[[int, str], Plan]
) -> list[tuple[str, Plan, dict[str, str]]]:
    """The same of cases of which little is known; a change that needs a fact which is not there is left out."""
    made = []
    for number in range(count):
        rng = random.Random(f"{language} {number}")
        plan = plan_of(number, language)
        draft = template_of(plan)
        for name, change in CHANGES.items():
            section = rng.choice(plan.open)
            try:
                changed = change(draft[section.key], section, plan, rng)
            except (StopIteration, IndexError, ValueError, RuntimeError):
                continue
            if changed != draft[section.key]:
                made.append((name, plan, draft | {section.key: changed}))
    return made
