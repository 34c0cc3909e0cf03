"""The scan before a pickle is opened: every name is found, however it is put together."""

import io

import pytest

from eyeground.model.formats._opcodes import scan
from eyeground.model.formats._unpickler import ALLOWED
from eyeground.model.weights import WeightsRefused
from tests.model import hostile_weights as hostile


def told(pickle: bytes) -> str:
    with pytest.raises(WeightsRefused) as caught:
        scan(io.BytesIO(pickle), ALLOWED)
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (hostile.name("os", "system"), "os.system"),
        (hostile.stack_name("os", "system"), "os.system"),
        (b"Vos\nVsystem\n\x93", "os.system"),
        (hostile.text("os") + b"\x94" + hostile.text("system") + b"\x94\x93", "os.system"),
        (hostile.text("os") + b"\x940h\0" + hostile.text("system") + b"\x93", "os.system"),
        (hostile.text("os") + hostile.text("system") + hostile.text("x") + b"0\x93", "a name put together on the way"),
        (hostile.text("os") + b"2\x93", "a name put together on the way"),
        (b"(ios\nsystem\n", "os.system"),
        (b"\x82\x07", "copyreg extension.7"),
        (b"\x84\x07\0\0\0", "copyreg extension.7"),
        (hostile.name("torch", "load"), "torch.load"),
        (hostile.name("torch._utils", "_rebuild_tensor_v2.__globals__"), "torch._utils._rebuild_tensor_v2.__globals__"),
        (hostile.name("numpy", "load"), "numpy.load"),
        (hostile.name("collections", "UserDict"), "collections.UserDict"),
    ],
)
def test_a_forbidden_name_is_told(body: bytes, named: str) -> None:
    assert told(hostile.pickled(body)).startswith(f"asks for {named}, which no tensor needs")


def test_many_names_are_told_shortly() -> None:
    body = b"".join(hostile.name("evil", f"name{n}") + b"0" for n in range(100))
    assert "evil.name19 and 80 more" in told(hostile.pickled(body + b"N"))


def test_allowed_names_pass_and_the_file_stands_behind_the_pickle() -> None:
    pickle = hostile.pickled(hostile.stack_name("collections", "OrderedDict") + hostile.name("torch", "Size") + b"\x86")
    file = io.BytesIO(pickle + b"more")
    scan(file, ALLOWED)
    assert file.read() == b"more"


@pytest.mark.parametrize("pickle", [b"", b"}", b"\x80\x04}(X\x05\0\0\0ab", b"\x80\x04\xff.", b"cos\nsys"])
def test_what_is_no_whole_pickle(pickle: bytes) -> None:
    assert "is no whole pickle" in told(pickle)


def test_nothing_that_is_allowed_is_a_framework_s_or_a_builtin() -> None:
    ours = "eyeground.model.formats."
    kinds = {value if isinstance(value, type) else type(value) for value in ALLOWED.values()}
    assert {kind.__module__.startswith(ours) for kind in kinds} == {True}
