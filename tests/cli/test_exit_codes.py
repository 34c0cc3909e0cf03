"""Failures that a user can act on have a kind, others have none."""

import pytest

from eyeground.cli.exit_codes import kind_of


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8 TiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_full_memory_has_one_name(error: Exception) -> None:
    assert kind_of(error) == "OutOfMemoryError"
    assert kind_of(RuntimeError("shape")) is None
