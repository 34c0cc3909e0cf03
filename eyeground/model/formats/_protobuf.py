"""Protobuf messages from a few lines of description, without generated code."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from eyeground.model.weights import WeightsRefused

_TYPES = {
    "bytes": "TYPE_BYTES", "string": "TYPE_STRING", "int32": "TYPE_INT32", "int64": "TYPE_INT64",
    "float": "TYPE_FLOAT", "double": "TYPE_DOUBLE",
}  # fmt: skip

Fields = Mapping[str, tuple[int, str]]


def message_classes(package: str, messages: Mapping[str, Fields]) -> dict[str, Any]:
    """Make message classes.

    Args:
        package: A name that no other package of messages has.
        messages: Name of a message -> name of a field -> its number and type. ``repeated`` before the type makes a
            list; a type that is the name of a message makes a message.

    Returns:
        Name -> class.

    Example:
        >>> made = message_classes("eyeground.example", {"Point": {"x": (1, "repeated int64"), "name": (2, "string")}})
        >>> point = made["Point"].FromString(bytes([8, 5, 8, 7, 18, 1, 97]))
        >>> list(point.x), point.name
        ([5, 7], 'a')

    References:
        protobuf, descriptor.proto.
    """
    # proto3: a text that is no UTF-8 is refused.
    described = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = described.message_type.add(name=name)
        for field, (number, words) in fields.items():
            kind = words.split()[-1]
            added = message.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if words.startswith("repeated ") else added.LABEL_OPTIONAL
            if kind in messages:
                added.type, added.type_name = added.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = getattr(added, _TYPES[kind])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


def parse(message: Any, data: bytes) -> Any:
    """Read a message.

    Args:
        message: Its class.
        data: All its bytes.

    Returns:
        The message.

    Raises:
        WeightsRefused: If the bytes are no such message.

    Example:
        >>> point = message_classes("eyeground.example", {"Point": {"x": (1, "int64")}})["Point"]
        >>> parse(point, bytes([8, 5])).x
        5

    References:
        Our own.
    """
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise WeightsRefused(f"is cut or damaged ({str(error)[:80]}): fetch or copy it again") from None
