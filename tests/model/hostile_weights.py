"""Hostile weights files, each kind with its name: what the one door for them must survive.

Pickles are written opcode by opcode here. Those that run something write a canary file when a careless program opens
them.
"""

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eyeground.model.formats import mindspore, onnx
from eyeground.model.formats.torch_stream import _MAGIC

Make = Callable[[Path], bytes]


def text(word: str) -> bytes:
    """A text, as protocol 4 pickles it."""
    raw = word.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module: str, attribute: str) -> bytes:
    """STACK_GLOBAL."""
    return text(module) + text(attribute) + b"\x93"


def called(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + b"(" + b"".join(arguments) + b"tR"


def pickled(body: bytes) -> bytes:
    """A whole pickle."""
    return b"\x80\x04" + body + b"."


def shell(canary: Path) -> bytes:
    return text(f"touch {canary}")


def python(canary: Path) -> bytes:
    return text(f"open({str(canary)!r}, 'w').close()")


def table(body: bytes) -> bytes:
    """A state dict with a harmless entry beside the hostile one."""
    return b"}(" + text("weight") + body + b"u"


class Evil:
    """Pickles as a call of os.system."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


# Every one of these writes the canary in a careless program.
RUNS: dict[str, Make] = {
    "os.system by GLOBAL": lambda c: pickled(called(name("os", "system"), shell(c))),
    "posix.system by GLOBAL, in a table": lambda c: pickled(table(called(name("posix", "system"), shell(c)))),
    "os.system by STACK_GLOBAL": lambda c: pickled(called(stack_name("os", "system"), shell(c))),
    "os.system by names from the memo": lambda c: pickled(
        text("system") + b"q\x07" + text("os") + b"q\x050h\x05h\x07\x93" + b"(" + shell(c) + b"tR"
    ),
    "os.system by names below a decoy": lambda c: pickled(
        text("os") + text("system") + stack_name("collections", "OrderedDict") + b"0\x93(" + shell(c) + b"tR"
    ),
    "os.system by INST": lambda c: pickled(b"(" + shell(c) + b"ios\nsystem\n"),
    "os.system by OBJ": lambda c: pickled(b"(" + name("os", "system") + shell(c) + b"o"),
    "builtins.eval by REDUCE": lambda c: pickled(called(name("builtins", "eval"), python(c))),
    "builtins.exec by REDUCE": lambda c: pickled(called(name("builtins", "exec"), python(c))),
    "builtins.getattr of a module": lambda c: pickled(
        called(
            called(name("builtins", "getattr"), called(name("builtins", "__import__"), text("os")), text("system")),
            shell(c),
        )
    ),
    "subprocess.Popen by REDUCE": lambda c: pickled(
        called(name("subprocess", "Popen"), b"(" + text("touch") + text(str(c)) + b"l")
    ),
    "os.system with a text of protocol 0": lambda c: pickled(b"Vos\nVsystem\n\x93(" + shell(c) + b"tR"),
    "a pickle inside a pickle": lambda c: pickled(
        called(name("pickle", "loads"), _bytes(pickled(called(name("os", "system"), shell(c)))))
    ),
    "a numpy array of objects": lambda c: np.array([Evil(c)], dtype=object).dumps(),
}


def _bytes(raw: bytes) -> bytes:
    """BINBYTES."""
    return b"B" + struct.pack("<I", len(raw)) + raw


# Tricks with what is allowed; a careless program may or may not fall for them.
TRICKS: dict[str, Make] = {
    "a dotted name of an allowed class": lambda c: pickled(
        called(
            called(
                stack_name("collections", "OrderedDict.__init__.__class__.__base__.__subclasses__.__class__.__call__"),
                stack_name("os", "system"),
                shell(c),
            )
        )
    ),
    "an extension code": lambda c: pickled(b"\x82\x01(" + shell(c) + b"tR"),
    "the state of a function": lambda c: pickled(
        name("torch._utils", "_rebuild_tensor_v2") + b"(N}(" + text("__code__") + text("x") + b"utb"
    ),
    "the state of a class": lambda c: pickled(name("collections", "OrderedDict") + b"}(" + text("get") + b"K\1ub"),
    "the state of a number type": lambda c: pickled(name("torch", "FloatStorage") + b"}(" + text("kind") + b"K\1ub"),
    "the class of a Namespace": lambda c: pickled(
        name("argparse", "Namespace") + b")\x81}(" + text("__class__") + name("os", "_wrap_close") + b"ub"
    ),
    "an array whose state is a call": lambda c: pickled(
        called(name("numpy", "dtype"), called(name("os", "system"), shell(c)))
    ),
    "numpy objects by dtype": lambda c: pickled(called(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88")),
    "a class of arrays of its own": lambda c: pickled(
        called(name("numpy.core.multiarray", "_reconstruct"), name("collections", "OrderedDict"), b"K\0\x85", b"C\1b")
    ),
    "a persistent id that is no tuple": lambda c: pickled(text("os.system") + b"Q"),
    "a persistent id of a module": lambda c: pickled(
        b"(" + text("module") + name("collections", "OrderedDict") + text("a.py") + text("import os") + b"tQ"
    ),
    "a persistent id with a list for a key": lambda c: pickled(
        b"(" + text("storage") + name("torch", "FloatStorage") + b"]" + text("cpu") + b"K\4tQ"
    ),
    "a memo of four thousand million": lambda c: pickled(b"]r\xff\xff\xff\xef"),
    "no table at all": lambda c: pickled(b"]"),
    "an empty table": lambda c: pickled(b"}"),
    "no end": lambda c: b"\x80\x04}(",
    "an unknown instruction": lambda c: b"\x80\x04\xff.",
}


def doublings(canary: Path) -> bytes:
    """A tuple of tuples of tuples ...: small in memory, but its hash takes 2**64 steps."""
    twice = (b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) + b"0" for n in range(64))
    return pickled(b")q\x000" + b"".join(twice) + b"}h\x40K\1s")


def zipped(pickle: bytes, *more: tuple[str, bytes], folder: str = "archive", packed: bool = False) -> bytes:
    """What torch.save makes of a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{folder}/data.pkl", pickle)
        archive.writestr(f"{folder}/byteorder", b"little")
        for path, content in more:
            archive.writestr(path, content)
        archive.writestr(f"{folder}/version", b"3\n")
    return out.getvalue()


def streamed(pickle: bytes, behind: bytes = b"\x80\x02]q\0.") -> bytes:
    """What torch.save made of a pickle before 1.6."""
    magic = b"\x80\x02\x8a\n" + _MAGIC.to_bytes(10, "little") + b"."
    machine = b"\x80\x02}" + text("little_endian") + b"\x88s."
    return magic + b"\x80\x02M\xe9\x03." + machine + pickle + behind


def bare(pickle: bytes) -> bytes:
    """What paddle.save makes of a pickle."""
    return pickle


CARRIERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "torch zip": (zipped, ".pth"),
    "torch stream": (streamed, ".pt"),
    "paddle": (bare, ".pdparams"),
}


def tensor_pickle(
    *, size: tuple[int, ...] = (2, 2), stride: tuple[int, ...] = (2, 1), offset: int = 0, count: int = 4, key: str = "0"
) -> bytes:
    """A state dict of one float32 tensor, as torch pickles it."""
    storage = b"(" + text("storage") + name("torch", "FloatStorage") + text(key) + text("cpu") + _number(count) + b"tQ"
    sizes, strides = (b"(" + b"".join(map(_number, numbers)) + b"t" for numbers in (size, stride))
    hooks = called(name("collections", "OrderedDict"))
    tensor = called(
        name("torch._utils", "_rebuild_tensor_v2"), storage, _number(offset), sizes, strides, b"\x89", hooks
    )
    return pickled(table(tensor))


def _number(value: int) -> bytes:
    """A whole number."""
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + raw


# What stands behind the pickle of a stream with one storage: its key.
LISTED = pickled(b"]" + text("0") + b"a")
FOUR = np.arange(4, dtype="<f4").tobytes()


def _shifted(data: bytes) -> bytes:
    """A zip whose directory says that an entry is longer than the file."""
    place = data.rindex(b"archive/data/0") - 46
    return data[: place + 20] + struct.pack("<II", 2**30, 2**30) + data[place + 28 :]


def _overlapping() -> bytes:
    """A zip whose directory points twice at one entry's bytes."""
    data = zipped(tensor_pickle(), ("archive/data/0", FOUR), ("archive/data/1", FOUR))
    first, second = (data.rindex(f"archive/data/{n}".encode()) - 46 for n in (0, 1))
    return data[: second + 42] + data[first + 42 : first + 46] + data[second + 46 :]


def one(*more: tuple[str, bytes], **tensor: Any) -> bytes:
    """A torch file of four numbers, with a tensor that may lie about them."""
    return zipped(tensor_pickle(**tensor), ("archive/data/0", FOUR), *more)


def onnx_file(**tensor: Any) -> bytes:
    """A graph of one initializer."""
    message = onnx._MESSAGES["Model"]()
    message.graph.initializer.add(**{"name": "a", "data_type": 1, "dims": [1], "raw_data": FOUR[:4]} | tensor)
    return b"\x08\x09" + message.SerializeToString()


def mindspore_file(*tags: str, dims: tuple[int, ...] = (1,), kind: str = "Float32") -> bytes:
    """A checkpoint of one number a tag."""
    message = mindspore._MESSAGES["Checkpoint"]()
    for tag in tags:
        message.value.add(tag=tag, tensor={"dims": dims, "tensor_type": kind, "tensor_content": FOUR[:4]})
    return message.SerializeToString()


def safetensors_file(places: dict[str, list[int]], data: bytes) -> bytes:
    header = {key: {"dtype": "F32", "shape": [1], "data_offsets": place} for key, place in places.items()}
    words = json.dumps(header).encode()
    return struct.pack("<Q", len(words)) + words + data


def _evil(canary: Path) -> bytes:
    return RUNS["os.system by GLOBAL"](canary)


# Whole files: the ending of the name, words of the refusal, the content.
FILES: dict[str, tuple[str, str, Make]] = {
    "a second data.pkl elsewhere": (".pth", "outside the folder", lambda c: one(("evil/data.pkl", _evil(c)))),
    # zipfile warns of writing a name twice.
    "a second data.pkl": (
        ".pth", "two entries", lambda c: one(("archive/dat2.pkl", _evil(c))).replace(b"dat2.pkl", b"data.pkl")
    ),
    "a packed bomb": (
        ".pth", "packed", lambda c: zipped(tensor_pickle(), ("archive/data/0", bytes(2**24)), packed=True)
    ),
    "a path that climbs": (".pth", "outside the folder", lambda c: one(("archive/../../canary", FOUR))),
    "an absolute path": (".pth", "outside the folder", lambda c: one((str(c), FOUR))),
    "an entry longer than the file": (".pth", "ends before its entry", lambda c: _shifted(one())),
    "entries inside each other": (".pth", "inside each other", lambda c: _overlapping()),
    "a strange entry": (".pth", "does not write: it holds evil.py", lambda c: one(("archive/evil.py", b"import os"))),
    "a TorchScript archive": (".pt", "holds code", lambda c: one(("archive/code/a.py", b"import os"))),
    "a storage that is not there": (".pth", "which it has not", lambda c: zipped(tensor_pickle())),
    "a storage that climbs": (".pth", "which it has not", lambda c: one(key="../data.pkl")),
    "a storage shorter than said": (".pth", "which it has not", lambda c: one(count=5)),
    "an offset behind the end": (".pth", "looks outside its 4 numbers", lambda c: one(offset=1)),
    "a negative offset": (".pth", "cannot be", lambda c: one(offset=-1)),
    "a negative stride": (".pth", "cannot be", lambda c: one(stride=(-2, 1), offset=2)),
    "a stride too far": (".pth", "looks outside its 4 numbers", lambda c: one(stride=(3, 1))),
    "a negative count": (".pth", "points to numbers in a way", lambda c: one(count=-4)),
    "a huge shape of one number": (".pth", "far more than the file", lambda c: one(size=(2**40, 2**40), stride=(0, 0))),
    "a thousand dimensions": (".pth", "cannot be", lambda c: one(size=(1,) * 1000, stride=(1,) * 1000)),
    "more sides than strides": (".pth", "cannot be", lambda c: one(size=(2, 2, 1))),
    "a big-endian archive": (".pth", "big-endian", lambda c: one().replace(b"little", b"bigbig")),
    "a stream without its storage": (".pt", "ends before its storage", lambda c: streamed(tensor_pickle(), LISTED)),
    "a stream that lists no storage": (".pt", "does not list", lambda c: streamed(tensor_pickle())),
    "a tar archive": (".pth", "tar archive", lambda c: b"sys_info".ljust(257, b"\0") + b"ustar\x0000"),
    "a page of the web": (".pth", "a web page", lambda c: b"<!doctype html><p>Please sign in"),
    "nothing": (".pth", "is empty", lambda c: b""),
    "zeros": (".pth", "zeros only", lambda c: bytes(4096)),
    "a wrong magic": (".pth", "is no weights file", lambda c: b"PK\x05\x06" + one()[4:]),
    "a pickle called .bin": (".bin", "call it .pdparams", lambda c: pickled(b"}")),
    "a pickle that goes on": (".pdparams", "behind its end", lambda c: pickled(b"}") + pickled(b"}")),
    "ONNX with its numbers elsewhere": (".onnx", "a second file", lambda c: onnx_file(data_location=1)),
    "an ONNX tensor larger than its bytes": (".onnx", "far more than the file", lambda c: onnx_file(dims=[2**40])),
    "an ONNX tensor that lies a little": (".onnx", "in 4 bytes", lambda c: onnx_file(dims=[2])),
    "an ONNX tensor with a negative side": (".onnx", "cannot be", lambda c: onnx_file(dims=[-1])),
    "an ONNX tensor of texts": (".onnx", "ONNX type 8", lambda c: onnx_file(data_type=8)),
    "a MindSpore tensor of lies": (".ckpt", "in 4 bytes", lambda c: mindspore_file("a", dims=(7,))),
    "a huge MindSpore tensor": (".ckpt", "far more than the file", lambda c: mindspore_file("a", dims=(2**40,))),
    "a MindSpore tensor twice": (".ckpt", "two tensors of one name", lambda c: mindspore_file("a", "b", "a")),
    "a MindSpore type of its own": (".ckpt", "type Evil", lambda c: mindspore_file("a", kind="Evil")),
    "a wrong checksum": (".ckpt", "its checksum is another", lambda c: mindspore_file("a") + b"crc_num" + bytes(10)),
    "a name that is no name": (".ckpt", "cannot be", lambda c: mindspore_file("__metadata__")),
    "a header longer than the file": (".safetensors", "not a whole safe", lambda c: struct.pack("<Q", 2**31) + b"{}"),
    "safetensors that overlap": (
        ".safetensors", "not a whole safe", lambda c: safetensors_file({"a": [0, 4], "b": [0, 4]}, bytes(4))
    ),
}  # fmt: skip
