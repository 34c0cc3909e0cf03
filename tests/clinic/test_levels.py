"""What urgencies mean for lists."""

from eyeground.clinic.levels import first_words, rules_of, urgent_words
from eyeground.clinic.urgency import read_rules, rule_sets


def test_the_sets_of_the_shelf_mean_the_same_by_a_word() -> None:
    words = set(urgent_words())
    for name in rule_sets():
        for level in read_rules(name).levels:
            assert level.refer == (level.word in words)
    assert rules_of("China v2").title == "China v2"
    assert rules_of("gone v9").title == read_rules(rule_sets()[0]).title


def test_what_nobody_knows_is_neither_referred_nor_reassuring() -> None:
    assert not set(first_words()) & set(urgent_words())
    for name in rule_sets():
        states = read_rules(name).states
        assert {states.held, states.failed} <= set(first_words())
        assert states.normal not in first_words()
