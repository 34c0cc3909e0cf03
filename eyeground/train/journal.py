"""What happened in a run: JSON lines that survive a crash, and the same curves for TensorBoard."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Depend on the machine's speed, not on the run: left out when two runs are compared.
TIMING_KEYS = ("seconds", "images_per_s", "time")


class Journal:
    """Append-only record of a run, one JSON object a line.

    Args:
        path: The file, ``journal.jsonl``.
        tensorboard: Folder for TensorBoard's event files; None = none.

    Example:
        >>> import tempfile
        >>> journal = Journal(Path(tempfile.mkdtemp()) / "journal.jsonl")
        >>> journal.write("step", step=1, loss=0.5)
        >>> list(read_journal(journal.path))
        [{'event': 'step', 'step': 1, 'loss': 0.5}]

    References:
        JSON lines.
    """

    def __init__(self, path: Path, *, tensorboard: Path | None = None) -> None:
        self.path = path
        self._folder = tensorboard
        self._board: Any = None

    def write(self, event: str, **values: Any) -> None:
        """Append one line and push it to the disk's cache, so that a killed process loses none.

        Args:
            event: What happened: ``start``, ``step``, ``epoch``, ``resume``.
            values: Numbers and words; NaN is written as null.
        """
        line = json.dumps({"event": event, **_plain(values)}, ensure_ascii=False, allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self._folder is not None and event in ("step", "epoch") and "step" in values:
            self._draw(event, values)

    def size_bytes(self) -> int:
        """Length so far, to be stored in a checkpoint. Unit: bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, size_bytes: int) -> None:
        """Forget what a resumed run will write again.

        Args:
            size_bytes: Length to go back to, as the checkpoint stored it.
        """
        if self.size_bytes() > size_bytes:
            with self.path.open("r+b") as file:
                file.truncate(size_bytes)

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._board is not None and _is_writing(self._board):
            self._board.close()
        self._board = None

    def _draw(self, event: str, values: Mapping[str, Any]) -> None:
        """Send the numbers to TensorBoard."""
        if self._board is None:
            from tensorboardX import SummaryWriter

            # Events after this step belong to an earlier, interrupted try: TensorBoard hides them.
            self._board = SummaryWriter(logdir=str(self._folder), purge_step=int(values["step"]))
        if not _is_writing(self._board):
            self._folder = None
            return
        numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
        numbers |= {f"scores/{key}": value for key, value in values.get("scores", {}).items()}
        for key, value in numbers.items():
            if key not in ("step", "epoch") and value is not None and math.isfinite(value):
                self._board.add_scalar(f"{event}/{key}", value, int(values["step"]))


def _is_writing(board: Any) -> bool:
    """Tell whether TensorBoard's writer thread lives: a full disk kills it, and feeding it would block for ever."""
    worker = getattr(getattr(board.file_writer, "event_writer", None), "_worker", None)
    return worker is None or bool(worker.is_alive())


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Read a journal, passing over a last line that a crash cut short.

    Args:
        path: The file.

    Yields:
        One object per line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "journal.jsonl"
        >>> _ = path.write_text('{"event": "start"}\\n{"event": "st')
        >>> list(read_journal(path))
        [{'event': 'start'}]

    References:
        Our own.
    """
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def _plain(value: Any) -> Any:
    """Turn NaN into null, all the way down."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
