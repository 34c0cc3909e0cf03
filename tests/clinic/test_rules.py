"""Every rule set of the shelf can be used, and a faulty one is refused with all its faults at once."""

import re
from pathlib import Path

import pytest

from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.urgency import SHELF, RulesRefused, read_rules, rule_sets, titles

ICO = (SHELF / "ico.toml").read_text("utf-8")


@pytest.mark.parametrize("name", rule_sets())
def test_a_rule_set_is_whole(name: str) -> None:
    rules = read_rules(name)
    assert set(rules.findings) == {finding for findings in FINDINGS.values() for finding in findings}
    assert all(re.search("[a-zA-Z]{3}", level.en) and re.search("[一-鿿]{2}", level.zh) for level in rules.levels)
    assert not any(re.search("[一-鿿]", level.en) for level in rules.levels)
    # Its head says what is of the guideline, and what is our own.
    head = (SHELF / f"{name}.toml").read_text("utf-8").split("\n\n")[0]
    assert "Our own choice" in head
    assert rules.source
    assert titles("refer_1_month", rules.title)["zh"] == "1 个月内转诊眼科"


def test_the_intervals_are_the_guidelines() -> None:
    rules = read_rules("ico")
    within = {level.word: (level.within, level.refer) for level in rules.levels}
    assert [within[word] for word in rules.findings["DR"]] == [
        ("12 months", False), ("6 months", True), ("3 months", True), ("1 month", True)
    ]  # fmt: skip
    assert within[rules.states.normal] == ("24 months", False)


def test_words_of_a_set_that_is_gone_are_still_said() -> None:
    assert titles("return_12_months", "ICO-2017 v2")["en"].endswith("examine again in 1 year")
    assert titles("return_12_24_months", "nobody v9")["en"].endswith("examine again in 1 to 2 years")
    assert titles("never_heard", "ICO-2017 v2") == {}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('normal = "return_12_24_months"', 'normal = "return"', "states.normal: 'return' is none of the urgencies"),
        ('ON = ["refer_1_week"]', "", "findings.ON: needs 1 urgencies"),
        ('"refer_3_months", "refer_1_month"]', '"refer_3_months"]', "findings.DR: needs 4 urgencies"),
        ('"refer_3_months", "refer_1_month"]', '"refer_1_month", "refer_3_months"]', "a higher value is less urgent"),
        ("[findings]", '[findings]\nmigraine = ["refer_1_week"]', "findings.migraine: no contract asks for it"),
        ('ungradable = "retake_or_refer"', 'ungradable = "return_12_24_months"', "not more urgent than nothing found"),
        ('partly = "part_return_12_24_months"', 'partly = "return_12_24_months"', "are four urgencies"),
        ('word = "refer_1_week"', 'word = "refer_1_month"', "urgency refer_1_month stands twice"),
        ("version = 2", "version = 0", "version: Input should be greater"),
        ('zh = "急症：今天立即转诊眼科"', "", "urgencies.0.zh: Field required"),
        ("above_mmhg = 21", "above_mmhg = 2100", "pressure.1.above_mmhg"),
        ('eye = "better"', 'eye = "best"', "acuity.0.eye"),
        ("[states]", "[states", "cannot be read as rules"),
    ],
)  # fmt: skip
def test_a_faulty_set_says_what_is_wrong(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in ICO
    (tmp_path / "mine.toml").write_text(ICO.replace(old, new, 1), "utf-8")
    with pytest.raises(RulesRefused, match=re.escape(says)):
        read_rules("mine", folder=tmp_path)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = ICO.replace('ON = ["refer_1_week"]', "").replace('RP = ["refer_6_months"]', 'RP = ["soon"]')
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    with pytest.raises(RulesRefused) as refused:
        read_rules("mine", folder=tmp_path)
    assert "findings.ON" in str(refused.value)
    assert "findings.RP: 'soon'" in str(refused.value)


@pytest.mark.parametrize("name", ["nothing", "../ico", "ico.toml", ""])
def test_what_is_not_on_the_shelf(name: str) -> None:
    with pytest.raises(RulesRefused, match="there are: china, ico"):
        read_rules(name)
