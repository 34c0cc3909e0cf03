"""Tables of labels: CSV in the encodings that hospitals write, and Parquet."""

import csv
import difflib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyeground.data.problem import DataProblems, Problem

_DELIMITERS = ",;\t"


@dataclass(frozen=True, eq=False)
class Table:
    """A table that has been opened; its rows are read when asked for.

    Args:
        path: The file.
        columns: Names of the columns, stripped.
        text: Content of a CSV file; None for Parquet.
        delimiter: What separates the cells of a CSV file.
        encoding: How the text was decoded, ``""`` for Parquet.

    Example:
        >>> Table(Path("a.csv"), ("file",), "file\\nx.png\\n").rows(["file"])
        [(2, ['x.png'])]

    References:
        RFC 4180 (CSV).
    """

    path: Path
    columns: tuple[str, ...]
    text: str | None = None
    delimiter: str = ","
    encoding: str = ""

    def rows(self, wanted: Sequence[str], *, strip: bool = True) -> list[tuple[int, list[str]]]:
        """Read some columns.

        Args:
            wanted: Names of columns that exist.
            strip: Whether to cut spaces around a CSV cell.

        Returns:
            For each row that is not blank, its place (see ``Problem.row``) and its cells as text, in the order
            wanted. An empty, null or NaN cell is ``""``; a whole number stored as a float is written without a point.

        Raises:
            DataProblems: If rows have another number of cells than the header, or cannot be read.
        """
        places = [self.columns.index(name) for name in wanted]
        if self.text is None:
            return self._parquet_rows(places)
        found: list[tuple[int, list[str]]] = []
        problems: list[Problem] = []
        width = len(self.columns)
        for line, cells in _records(self.text, self.delimiter, self.path.name, problems):
            if line == 0 or not any(cell.strip() for cell in cells):
                continue
            if len(cells) != width:
                what = f"has {len(cells)} cells, the header {width}; look for a missing or unquoted {self.delimiter!r}"
                problems.append(Problem(what, self.path.name, line))
                continue
            found.append((line, [cells[place].strip() if strip else cells[place] for place in places]))
        if problems:
            raise DataProblems(problems)
        return found

    def _parquet_rows(self, places: list[int]) -> list[tuple[int, list[str]]]:
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self.path) as file:
                names = [file.schema_arrow.names[place] for place in places]
                # Only the columns wanted: public sets keep the images' bytes in another column of the same file.
                columns = file.read(columns=list(dict.fromkeys(names)))
        except Exception as error:  # pyarrow raises many classes on damaged files
            raise DataProblems([Problem(_damaged(error), self.path.name)]) from error
        cells = [[_as_text(value) for value in columns.column(name).to_pylist()] for name in names]
        return [(row, list(values)) for row, values in enumerate(zip(*cells, strict=True), start=1)]


def open_table(path: Path) -> Table:
    """Open a CSV (also ``;`` or tab separated) or Parquet table and read its column names.

    CSV text may be UTF-8 with or without a mark, UTF-16 with a mark, or GB18030.

    Args:
        path: The file. Parquet is told by its content.

    Returns:
        The table.

    Raises:
        DataProblems: If it is missing, empty, in no known encoding, a spreadsheet, damaged, or its column names are
            missing or stand twice.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "t.csv").write_text("id_code;diagnosis\\na;0\\n")
        ...     open_table(Path(folder, "t.csv")).columns
        ('id_code', 'diagnosis')

    References:
        Our own.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4)
            parquet = data == b"PAR1"
            data = b"" if parquet else data + file.read()
    except OSError as error:
        raise DataProblems([Problem(f"the table cannot be read ({error.strerror})", str(path))]) from error
    if parquet:
        return _open_parquet(path)
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataProblems([Problem("is a spreadsheet; save it as CSV (UTF-8) and name that file", path.name)])
    text, encoding = _decoded(data, path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=header.count)
    problems: list[Problem] = []
    names = next((cells for line, cells in _records(text, delimiter, path.name, problems) if line == 0), [])
    columns = tuple(name.strip() for name in names)
    _check_names(columns, path)
    return Table(path, columns, text, delimiter, encoding)


def nearest(name: str, choices: Sequence[str]) -> str:
    """Suggest the choice most like a name, as the end of a sentence.

    Args:
        name: What was asked for.
        choices: What there is.

    Returns:
        ``"; did you mean 'x'?"``, or ``""`` if nothing is alike.

    Example:
        >>> nearest("lable", ["file", "label"])
        "; did you mean 'label'?"

    References:
        Our own.
    """
    by_case = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(name.casefold(), list(by_case), n=1)
    return f"; did you mean {by_case[close[0]]!r}?" if close else ""


def _records(text: str, delimiter: str, name: str, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line it begins on; 0 marks the header, the first record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = True
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append(
                Problem(f"cannot be read as CSV ({error}); look for a quote that is not closed", name, line)
            )
            return
        if header and any(cell.strip() for cell in cells):
            header = False
            yield 0, cells
        elif not header:
            yield line, cells


def _open_parquet(path: Path) -> Table:
    """Read the column names of a Parquet file."""
    import pyarrow.parquet

    try:
        columns = tuple(str(name).strip() for name in pyarrow.parquet.read_schema(path).names)
    except Exception as error:  # pyarrow raises many classes on damaged files
        raise DataProblems([Problem(_damaged(error), path.name)]) from error
    _check_names(columns, path)
    return Table(path, columns)


def _decoded(data: bytes, path: Path) -> tuple[str, str]:
    """Decode the text of a table."""
    if not data.strip():
        raise DataProblems([Problem("the table is empty", path.name)])
    encodings = ["utf-16"] if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            row = data[: error.start].count(b"\n") + 1
            continue
        if "\0" in text:
            raise DataProblems([Problem("holds zero bytes, so it is no text; save it as CSV (UTF-8)", path.name)])
        return text, encoding
    what = f"is in no known encoding ({', '.join(encodings)}); save it as UTF-8"
    raise DataProblems([Problem(what, path.name, row)])


def _check_names(columns: tuple[str, ...], path: Path) -> None:
    """Refuse headers that do not name each column once."""
    problems = []
    if not any(columns):
        problems.append(Problem("the table has no column names in its first line", path.name))
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    problems += [Problem(f"the column {name!r} stands twice in the header; rename one", path.name) for name in twice]
    if problems:
        raise DataProblems(problems)


def _as_text(value: Any) -> str:
    """Write a Parquet value the way a CSV would."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _damaged(error: Exception) -> str:
    """Say that a Parquet file cannot be read."""
    return f"the Parquet table cannot be read ({' '.join(str(error).split())}); write it again"
