"""Which files of a folder a runtime opens."""

from collections.abc import Mapping
from pathlib import Path

from eyeground.serve.runtime import RuntimeMissing, RuntimePrecision


def files_in(
    folder: Path,
    offered: Mapping[RuntimePrecision, tuple[str, ...]],
    *,
    program: str,
    precision: RuntimePrecision,
    hint: str = "",
) -> list[Path]:
    """Find a runtime's files.

    Args:
        folder: Where they lie.
        offered: The runtime's ``FILES``.
        program: The runtime.
        precision: How it computes.
        hint: How to install the runtime where it is not.

    Returns:
        The files, in order.

    Raises:
        RuntimeMissing: If the runtime does not compute so, a file is not there, or the runtime is not installed.

    Example:
        >>> files_in(Path("nowhere"), {"fp32": ("model.onnx",)}, program="onnx", precision="fp32")
        Traceback (most recent call last):
        eyeground.serve.runtime.RuntimeMissing: nowhere: holds no model.onnx, which the runtime onnx needs in fp32; ...

    References:
        Our own.
    """
    if precision not in offered:
        raise RuntimeMissing(f"the runtime {program} does not compute in {precision}: it offers {', '.join(offered)}")
    paths = [folder / name for name in offered[precision]]
    if absent := [path.name for path in paths if not path.is_file()]:
        raise RuntimeMissing(
            f"{folder}: holds no {' and no '.join(absent)}, which the runtime {program} needs in {precision}; "
            "export it for this runtime, or choose another"
        )
    if hint:
        raise RuntimeMissing(f"the runtime {program} is not installed: {hint}")
    return paths
