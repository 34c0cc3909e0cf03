"""Which pairs were planned, and what is refused: against plain searches, for references of any shape."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeground.evaluate.comparison_pairs import pairs_of, reference_problems

NAMES = "abcde"
REFERENCES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES))


def circles(references: dict[str, str]) -> int:
    """The circles of two or more names, by trying every order of every choice of names."""
    found = {
        frozenset(walk)
        for size in range(2, len(NAMES) + 1)
        for walk in permutations(NAMES, size)
        if all(references.get(a) == b for a, b in zip(walk, (*walk[1:], walk[0]), strict=True))
    }
    return len(found)


@given(REFERENCES)
def test_each_circle_and_each_own_reference_is_named_once(references: dict[str, str]) -> None:
    told = reference_problems(NAMES, references)
    assert sum("circle" in problem for problem in told) == circles(references)
    assert sum("its own reference" in problem for problem in told) == sum(a == b for a, b in references.items())
    assert not any("is none of" in problem for problem in told)


@given(REFERENCES, st.permutations(NAMES), st.integers(0, 5))
def test_every_pair_is_there_once_and_the_planned_come_first(
    references: dict[str, str], order: list[str], count: int
) -> None:
    inits = order[:count]
    if reference_problems(NAMES, references):
        return
    pairs = pairs_of(inits, references)
    assert len(pairs) == len({frozenset(pair[:2]) for pair in pairs}) == count * (count - 1) // 2
    assert [planned for *_, planned in pairs] == sorted((planned for *_, planned in pairs), reverse=True)
    for a, b, planned in pairs:
        assert planned == (references.get(a) == b)
        assert planned or (references.get(b) != a and inits.index(b) < inits.index(a))


@pytest.mark.parametrize(
    ("references", "words"),
    [
        ({"x": "a"}, ["'x', which has a reference, is none of 'a' and 'b'"]),
        ({"a": "x"}, ["reference 'x' of 'a' is none of 'a' and 'b'"]),
        ({"x": "y", "a": "a"}, ["'x', which", "reference 'y' of 'x'", "'a' is its own reference"]),
        ({"b": "a"}, []),
    ],
)
def test_what_is_wrong_is_said_together(references: dict[str, str], words: list[str]) -> None:
    told = reference_problems(["a", "b"], references)
    assert len(told) == len(words)
    assert all(word in problem for word, problem in zip(words, told, strict=True))
