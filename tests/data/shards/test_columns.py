"""Columns of a few bytes a row give back what was put in."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.data.shards.columns import Categories, Digests, Texts

CHUNKS = st.lists(st.lists(st.none() | st.text(max_size=5), max_size=6), max_size=4)


@settings(deadline=None)
@given(chunks=CHUNKS)
def test_texts_come_back_and_empty_cells_are_empty(chunks: list[list[str | None]]) -> None:
    wanted = [cell or "" for chunk in chunks for cell in chunk]
    column = pa.chunked_array(chunks, pa.string())
    for kind in (Texts, Categories):
        found = kind(column)
        assert list(found) == wanted
        assert len(found) == len(wanted)
    assert [Texts(column).raw(row) for row in range(len(wanted))] == [text.encode() for text in wanted]
    assert Categories(column).filled.tolist() == [text != "" for text in wanted]


def test_numbers_are_texts_too() -> None:
    assert list(Texts(pa.chunked_array([[3, None]], pa.int32()))) == ["3", ""]


def test_many_words_need_wider_numbers() -> None:
    words = [str(number) for number in range(70_000)]
    assert list(Categories(pa.chunked_array([words]))) == words


@settings(deadline=None)
@given(digests=st.lists(st.binary(min_size=32, max_size=32), max_size=5))
def test_hashes_come_back(digests: list[bytes]) -> None:
    found = Digests(pa.chunked_array([digests[:2], digests[2:]], pa.binary(32)))
    assert list(found) == [digest.hex() for digest in digests]
    assert len(found) == len(digests)


def test_hashes_of_a_part_of_a_column_are_its_own() -> None:
    column = pa.chunked_array([[bytes([number]) * 32 for number in range(4)]], pa.binary(32))
    assert [*Digests(column.slice(1, 2))] == ["01" * 32, "02" * 32]
