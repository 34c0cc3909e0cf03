"""L2: a draft that changes a fact never passes; one that changes none mostly does."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from eyeground.clinic.llm import checking
from eyeground.clinic.llm.checking import RULES, faults
from eyeground.clinic.llm.lexicon import lexicon_of
from eyeground.clinic.llm.reasons import reasons
from eyeground.clinic.llm.slots import Plan, Section, Slot
from eyeground.clinic.llm.telling import template_of, texts_of

from ...faults import scoreboard
from .adversaries import CHANGES, LIES, adversaries, thin_adversaries
from .paraphrases import controls
from .plans import full_plan, thin_plan

COUNT = 520  # in each language


def passed(language: str) -> Counter[str]:
    """Lies that the checker lets through, by kind."""
    return Counter(name for name, plan, draft in adversaries(COUNT, language, full_plan) if not faults(plan, draft))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_lie_passes(language: str) -> None:
    told = Counter(name for name, _, _ in adversaries(COUNT, language, full_plan))
    assert set(told) == set(CHANGES)
    assert sum(told.values()) == COUNT >= 500
    assert passed(language) == {}


def lies(language: str, plan: Plan) -> Iterator[tuple[str, dict[str, str]]]:
    """The template with one sentence that says something else, in words that are harmless one by one."""
    words, template = lexicon_of(language), template_of(plan)
    for section in plan.open:
        for slot in section.slots:
            told = words.sentences[slot.kind].format(value=slot.token, part=words.parts[slot.part or "fundus"])
            for lie in LIES[language].get(slot.kind, []):
                changed = template[section.key].replace(told, lie.format(slot.token))
                assert changed != template[section.key]
                yield lie, template | {section.key: changed}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("plan_of", [full_plan, thin_plan])
def test_no_lie_of_harmless_words_passes(plan_of: Callable[[int, str], Plan], language: str) -> None:
    told = [(lie, faults(plan, draft)) for seed in range(4) for plan in [plan_of(seed, language)]
            for lie, draft in lies(language, plan)]  # fmt: skip
    assert [lie for lie, found in told if not found] == []
    assert len({lie for lie, _ in told}) > 35


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_lie_about_a_case_of_which_little_is_known_passes(language: str) -> None:
    told = thin_adversaries(12, language, thin_plan)
    assert len(told) > 400
    assert [(name, draft) for name, plan, draft in told if not faults(plan, draft)] == []


@pytest.mark.parametrize(("language", "most"), [("en", 25), ("zh", 35)])
def test_of_drafts_that_change_nothing_a_good_share_passes(language: str, most: int) -> None:
    """Twelve people's manners, half of them in phrases that are not in the list; it is exactly so many, not some."""
    plan = full_plan(1, language)
    told = [faults(plan, draft) for draft in controls(plan)]
    assert len(told) == 60
    assert sum(not each for each in told) == most


@pytest.mark.slow
def test_no_lie_of_ten_thousand_passes() -> None:
    """L2, with its figures."""
    figures = {}
    for language in ("en", "zh"):
        told = adversaries(10 * COUNT, language, full_plan) + thin_adversaries(40, language, thin_plan)
        through = Counter(name for name, plan, draft in told if not faults(plan, draft))
        plan = full_plan(1, language)
        benign = [not faults(plan, draft) for draft in controls(plan)]
        harmless = [not faults(plan, draft) for _, draft in lies(language, plan)]
        figures[language] = {
            "lies": len(told), "kinds": len(CHANGES), "through": sum(through.values()), "benign": len(benign),
            "benign_through": sum(benign), "harmless_words": len(harmless), "harmless_words_through": sum(harmless),
        }  # fmt: skip
    scoreboard.write("L2", **figures)
    assert all(each["through"] == each["harmless_words_through"] == 0 for each in figures.values())


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("rule", RULES[:2], ids=lambda rule: rule.__name__)
def test_without_either_rule_some_lie_passes(rule: object, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted faults: each rule catches what no other does."""
    monkeypatch.setattr(checking, "RULES", tuple(each for each in RULES if each is not rule))
    assert passed(language)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_that_can_never_be_said_are_found_whatever_the_phrases_are(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault: a list of phrases that lets everything in."""
    monkeypatch.setattr(checking, "RULES", RULES[2:])
    through = passed(language)
    kinds = ("both eyes", "denies the findings", "a finding", "a drug", "certainty", "compares")
    assert [name for name in kinds if through[name]] == []
    assert through


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_template_passes_its_own_check(language: str) -> None:
    sent = {"odFundusFeatures": "a,b", "osFundusDisease": "AMD", "odAnteriorFeatures": "c", "osAnteriorDisease": "d"}
    for plan in (full_plan(1, language), full_plan(2, language), texts_of(sent, language)):
        assert plan.open
        assert faults(plan, template_of(plan)) == []


@pytest.mark.parametrize(
    ("prose", "code"),
    [
        ("Normal pressure: [[OD_PRESSURE]].", "judgement"),
        ("IOP: -[[OD_PRESSURE]].", "phrase"),
        ("IOP: .[[OD_PRESSURE]].", "phrase"),
        ("IOP: [[OD_PRESSURE]]s.", "beside_facts"),
        ("Pressure: [[OD_PRESSURE]].", "phrase"),
        ("The patient is to be reviewed: IOP [[OD_PRESSURE]].", "treatment"),
        ("IOP\0: [[OD_PRESSURE]].", "invisible"),
        ("IOP:\n[[OD_PRESSURE]].", "invisible"),
        ("IOP:\u200b [[OD_PRESSURE]].", "invisible"),
        ("IOP:\u00a0[[OD_PRESSURE]].", "markup"),
        ("Pressure: 1 [[OD_PRESSURE]].", "digits"),
        ("Pressure in the left eye: [[OD_PRESSURE]].", "other_eye"),
        ("Pressure: [[OS_PRESSURE]].", "other_eye"),
        ("Pressure: [[OD_PRESSURE]] [[OD_PRESSURE]].", "repeated_placeholder"),
        ("Pressure: [[OD_GRADE]] [[OD_PRESSURE]].", "unknown_placeholder"),
        ("Pressure: [OD_PRESSURE].", "unknown_placeholder"),
        ("Pressure:", "missing_placeholder"),
        ("Vision: [[OD_PRESSURE]].", "misnamed"),
        ("It is [[OD_PRESSURE]].", "phrase"),
        ("Anterior segment pressure: [[OD_PRESSURE]].", "phrase"),
        ("Pressure: [[OD_PRESSURE]]. The fundus is examined.", "beside_facts"),
        ("Pressure: [[OD_PRESSURE]] with retinopathy.", "beside_facts"),
        ("The vision was measured. IOP: [[OD_PRESSURE]].", "phrase"),
        ("Pressure: [[OD_PRESSURE]]. It is examined.", "beside_facts"),
        ("Pressure: not [[OD_PRESSURE]].", "negation"),
        ("Pressure under timolol: [[OD_PRESSURE]].", "treatment"),
        ("Pressure, definitely: [[OD_PRESSURE]].", "certainty"),
        ("Pressure today: [[OD_PRESSURE]].", "time"),
        ("Pressure of Quillfeather: [[OD_PRESSURE]].", "phrase"),
        ("Pressure 眼压: [[OD_PRESSURE]].", "language"),
        ("**Pressure**: [[OD_PRESSURE]].", "markup"),
        (" " * 10, "nothing"),
        ("Pressure: [[OD_PRESSURE]]" + " the eye" * 200, "too_long"),
    ],
)
def test_what_is_wrong_is_named(prose: str, code: str) -> None:
    plan = Plan("en", (Section("narrative", "OD", "Right eye: ", (Slot("OD", None, "pressure", "17 mmHg"),)),))
    assert code in [each.code for each in faults(plan, {"narrative_OD": prose})]


@pytest.mark.parametrize("prose", [{}, {"narrative_OD": "a", "x": "b"}, {"narrative_OS": "a"}])
def test_other_sections_than_asked_for_are_a_fault(prose: dict[str, str]) -> None:
    plan = Plan("en", (Section("narrative", "OD", "Right eye: ", (Slot("OD", None, "pressure", "17 mmHg"),)),))
    assert [each.code for each in faults(plan, prose)] == ["sections"]


def test_every_fact_names_its_own_part() -> None:
    slots = (Slot("OD", "fundus", "quality", "good"), Slot("OD", "anterior", "quality", "fair"))
    plan = Plan("en", (Section("narrative", "OD", "", slots),))
    told = {
        "Fundus image quality: [[OD_FUNDUS_QUALITY]]. Anterior segment image quality: [[OD_ANTERIOR_QUALITY]].": [],
        "Fundus image quality: [[OD_FUNDUS_QUALITY]]. Quality: [[OD_ANTERIOR_QUALITY]].": ["phrase"],
        "Fundus image quality: [[OD_ANTERIOR_QUALITY]]. Image quality of the retina: [[OD_FUNDUS_QUALITY]].": [
            "wrong_part"
        ],
    }
    for prose, codes in told.items():
        assert [each.code for each in faults(plan, {"narrative_OD": prose})] == codes, prose


@pytest.mark.parametrize(
    ("prose", "codes"),
    [
        ("Fundus findings: {F}. Diabetic retinopathy: {G}.", []),
        ("Fundus findings: {F}; diabetic retinopathy: {G}.", ["phrase"]),
        ("Fundus findings: {F}, the grade of diabetic retinopathy is {G}.", ["phrase"]),
        ("Diabetic retinopathy: {G}; fundus findings: {F}.", []),
        ("Diabetic retinopathy: {G}, fundus findings: {F}.", ["phrase"]),
        ("Diabetic retinopathy: {G} and fundus findings: {F}.", ["phrase"]),
        ("In the right eye, fundus findings: {F}. Diabetic retinopathy is {G}.", []),
        ("In the right eye, diabetic retinopathy is {G}. Fundus findings: {F}.", ["phrase"]),
    ],
)
def test_a_disease_is_never_one_more_of_a_list(prose: str, codes: list[str]) -> None:
    slots = (Slot("OD", "fundus", "grade", "grade 0, none"), Slot("OD", "fundus", "findings", "AI did not detect: AMD"))
    plan = Plan("en", (Section("narrative", "OD", "", slots),))
    told = prose.format(G=slots[0].token, F=slots[1].token)
    assert [each.code for each in faults(plan, {"narrative_OD": told})] == codes


@pytest.mark.parametrize(
    "prose", ["另眼底所见：{}。", "该眼与另眼部眼底所见：{}。", "对侧眼底所见：{}。", "另 眼底所见：{}。"]
)
def test_the_other_eye_is_found_across_words(prose: str) -> None:
    slot = Slot("OD", "fundus", "findings", "AI 检出青光眼")
    plan = Plan("zh", (Section("narrative", "OD", "", (slot,)),))
    codes = [each.code for each in faults(plan, {"narrative_OD": prose.format(slot.token)})]
    assert {"phrase", "other_eye"} <= set(codes)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_reason_has_words(language: str) -> None:
    words = lexicon_of(language)
    assert set(words.refused) <= set(reasons())
    assert all(set(each) == {"en", "zh"} for each in reasons().values())
