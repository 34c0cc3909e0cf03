"""Columns of a large table, a few bytes a row: a million rows are no million objects, and a cell takes no library."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Texts:
    """Texts that differ from row to row, one behind the other; of an empty cell ``""``.

    Args:
        column: A ``pyarrow`` column of strings.

    Example:
        >>> import pyarrow
        >>> list(Texts(pyarrow.chunked_array([["a", None], ["bc"]])))
        ['a', '', 'bc']

    References:
        Apache Arrow columnar format, variable-size binary layout.
    """

    def __init__(self, column: Any) -> None:
        import pyarrow as pa

        array = column.cast(pa.large_string()).fill_null("").combine_chunks()
        _, ends, data = array.buffers()
        self._ends: NDArray[np.int64] = np.frombuffer(ends, np.int64, len(array) + 1, array.offset * 8)
        self._data = memoryview(data if data is not None else b"")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        return self.raw(row).decode()

    def raw(self, row: int) -> bytes:
        """Give a cell as it is stored.

        Args:
            row: Which, from 0.

        Returns:
            The text in UTF-8.
        """
        return bytes(self._data[int(self._ends[row]) : int(self._ends[row + 1])])


class Categories:
    """Texts of which there are few, such as labels, each once in ``words``; of an empty cell ``""``.

    Args:
        column: A ``pyarrow`` column of strings.

    Example:
        >>> import pyarrow
        >>> column = Categories(pyarrow.chunked_array([["OD", "OS"], [None, "OS"]]))
        >>> list(column), column.filled.tolist()
        (['OD', 'OS', '', 'OS'], [True, True, False, True])

    References:
        Apache Arrow columnar format, dictionary-encoded layout.
    """

    def __init__(self, column: Any) -> None:
        coded = column.fill_null("").combine_chunks().dictionary_encode()
        self.words: list[str] = coded.dictionary.to_pylist() if len(coded) else []
        codes: NDArray[Any] = coded.indices.to_numpy() if len(coded) else np.zeros(0, np.int8)
        self._codes = codes.astype(np.min_scalar_type(max(1, len(self.words))))

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, row: int) -> str:
        return self.words[int(self._codes[row])]

    @property
    def filled(self) -> NDArray[np.bool_]:
        """Which cells are not empty, shape (N,)."""
        filled: NDArray[np.bool_] = np.array([word != "" for word in self.words], bool)
        return filled.take(self._codes)


class Digests:
    """SHA-256 hashes, 32 bytes each.

    Args:
        column: A ``pyarrow`` column of binaries of 32 bytes.

    Example:
        >>> import pyarrow
        >>> Digests(pyarrow.chunked_array([[bytes(32)]], pyarrow.binary(32)))[0][:4]
        '0000'

    References:
        FIPS 180-4.
    """

    def __init__(self, column: Any) -> None:
        array = column.combine_chunks()
        data = array.buffers()[1] if len(array) else b""
        self._data: NDArray[np.uint8] = np.frombuffer(data, np.uint8, len(array) * 32, array.offset * 32).reshape(
            -1, 32
        )

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, row: int) -> str:
        return bytes(self._data[row]).hex()
