"""GPUs by name: what their vendor promises, and the share of it that is assumed (pure)."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

GIB = 2**30


class GpuUnknown(ValueError):
    """A GPU that is not in the table: says which there are."""


@dataclass(frozen=True)
class Gpu:
    """What one GPU gives a training, after the shares of ``devices.toml``.

    Args:
        name: As in the table.
        memory_bytes: What tensors may take. Unit: bytes.
        bf16_flops_per_s: Matrix rate in bf16 or fp16. Unit: floating-point operations/s.
        fp32_flops_per_s: Matrix rate in fp32. Unit: floating-point operations/s.
        bytes_per_s: Rate of its memory. Unit: bytes/s.
        link_bytes_per_s: Rate to its neighbors, in one direction. Unit: bytes/s.
        launch_s: Time of the smallest operation. Unit: s.

    Example:
        >>> round(gpus()["A100-40"].flops_per_s("bfloat16") / 1e12, 1)
        187.2

    References:
        The data sheets named in ``devices.toml``.
    """

    name: str
    memory_bytes: float
    bf16_flops_per_s: float
    fp32_flops_per_s: float
    bytes_per_s: float
    link_bytes_per_s: float
    launch_s: float

    def flops_per_s(self, dtype: str) -> float:
        """The matrix rate for a type of number.

        Args:
            dtype: As torch writes it.

        Returns:
            Floating-point operations/s.
        """
        return self.bf16_flops_per_s if dtype in ("bfloat16", "float16") else self.fp32_flops_per_s


@cache
def gpus() -> Mapping[str, Gpu]:
    """Read the table.

    Returns:
        Name -> GPU.

    Example:
        >>> "H200" in gpus()
        True

    References:
        ``devices.toml``.
    """
    told = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    share = told["assumed"]
    return MappingProxyType(
        {
            name: Gpu(
                name,
                memory_bytes=(each["memory"] - share["context"]) * GIB / (1 + share["fragmentation"]),
                bf16_flops_per_s=each["bf16"] * 1e12 * share["compute"],
                fp32_flops_per_s=each["fp32"] * 1e12 * share["compute"],
                bytes_per_s=each["bandwidth"] * 1e9 * share["bandwidth"],
                link_bytes_per_s=each["link"] * 1e9 * share["link"],
                launch_s=share["launch_s"],
            )
            for name, each in told["gpus"].items()
        }
    )


def read_gpus(words: str) -> tuple[int, Gpu]:
    """Understand a number of GPUs and their name.

    Args:
        words: Such as ``8xH200``, or ``L4`` for one.

    Returns:
        How many, and which.

    Raises:
        GpuUnknown: If the words are not so, or the table has no such GPU; the nearest is named.

    Example:
        >>> count, gpu = read_gpus("8xh200")
        >>> count, gpu.name
        (8, 'H200')

    References:
        Our own.
    """
    found = re.fullmatch(r"(?:(\d+) ?[x×*] ?)?([A-Za-z][\w-]*)", words.strip())
    if not found or (found[1] and not 0 < int(found[1]) <= 100_000):
        raise GpuUnknown(f"--gpus {words!r} is not understood: write a number, an x and a name, such as 8xH200 or 1xL4")
    name = found[2].upper()
    if name not in gpus():
        near = difflib.get_close_matches(name, gpus(), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise GpuUnknown(
            f"--gpus {words!r}: no GPU called {found[2]!r} is in the table{hint} It has {', '.join(gpus())}"
        )
    return int(found[1] or 1), gpus()[name]
