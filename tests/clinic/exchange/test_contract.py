"""Strict JSON in, the same bytes out."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeground.clinic.exchange.contract import dumps, parse
from eyeground.clinic.refusal import Refused

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)


def depth(value: object) -> int:
    """Levels of lists and objects."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(OBJECTS)
def test_what_is_written_is_read_again(told: dict[str, object]) -> None:
    if depth(told) > 12:
        with pytest.raises(Refused, match="nested too deeply"):
            parse(dumps(told))
    else:
        assert parse(dumps(told)) == told


@given(OBJECTS)
def test_the_order_of_keys_does_not_matter(told: dict[str, object]) -> None:
    assert dumps(told) == dumps(dict(reversed(told.items())))


@given(OBJECTS, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_of_any_writer_is_read(told: dict[str, object], indent: int | str | None, ascii_only: bool) -> None:
    if depth(told) <= 12:
        assert parse(json.dumps(told, indent=indent, ensure_ascii=ascii_only).encode()) == told


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        found = type(parse(body)).__name__
    except Refused as refused:
        found = refused.code
    assert found in {"dict", "not_utf8", "not_json", "not_an_object", "out_of_range", "too_deep", "repeated_key"}


@given(OBJECTS)
def test_a_text_full_of_brackets_and_commas_is_one_value(told: dict[str, object]) -> None:
    quoted = json.dumps(told) * 3 + '[{\\"' * 50
    assert parse(dumps({"a": quoted})) == {"a": quoted}


def test_an_answer_is_these_bytes() -> None:
    told = {"b": [1.5, None, True], "a": '右眼\n"', "c": {"y": 0, "x": -3}}
    assert dumps(told) == '{"a":"右眼\\n\\"","b":[1.5,null,true],"c":{"x":-3,"y":0}}'.encode()


def test_half_a_character_cannot_stop_an_answer() -> None:
    assert dumps({"a": "x\ud800y"}) == b'{"a":"x?y"}'


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_none_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"a": number})


@pytest.mark.parametrize(("levels", "taken"), [(12, True), (13, False)])
def test_the_depth_that_is_let_in(levels: int, taken: bool) -> None:
    body = b'{"a":' * (levels - 1) + b"[]" + b"}" * (levels - 1)
    if taken:
        assert depth(parse(body)) == levels
    else:
        with pytest.raises(Refused, match="nested too deeply"):
            parse(body)


@pytest.mark.parametrize(("size", "taken"), [(10, True), (9, False)])
def test_the_length_that_is_let_in(size: int, taken: bool) -> None:
    if taken:
        assert parse(b'{"a": 123}', max_bytes=size) == {"a": 123}
    else:
        with pytest.raises(Refused, match="larger than this service takes"):
            parse(b'{"a": 123}', max_bytes=size)


@pytest.mark.parametrize(
    "body", [b'{"a":"' + b'\\"' * 2**21, b'"' * 2**21, b"\\" * 2**21, b'{"a":"' + b"x" * 2**21, b'"\\' * 2**20]
)
def test_texts_that_never_end_are_refused_in_linear_time(body: bytes) -> None:
    # A search that starts anew at every quotation mark would take hours.
    with pytest.raises(Refused, match="not valid JSON"):
        parse(body)
