"""The columns of a shard: what is known of each image, and its bytes."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from eyeground.data.manifest import Manifest

IMAGE, IMAGE_BYTES = "image", "image.bytes"
_TEXT, _NUMBER = "string", "int32"
# Name -> type, in their order; those of the first line are left away where the data set does not know them.
_OPTIONAL: Final = {"label": _TEXT, "patient": _TEXT, "site": _TEXT, "camera": _TEXT, "split": _TEXT,
                    "source_slice": _NUMBER}  # fmt: skip
_ALWAYS: Final = {"eye": _TEXT, "modality": _TEXT, "source_file": _TEXT, "source_sha256": _TEXT, "sha256": _TEXT,
                  "size_bytes": _NUMBER, "width": _NUMBER, "height": _NUMBER, "source_width": _NUMBER,
                  "source_height": _NUMBER}  # fmt: skip
PLACE: Final = ("shard", "offset")
"""Columns of the table only: the number of the shard, and where in it the image's bytes begin."""
HASHES: Final = ("source_sha256", "sha256")
"""Hexadecimal in the shards; 32 bytes in the table."""
OWN_COLUMNS: Final = frozenset(("id", IMAGE, *_OPTIONAL, *_ALWAYS, *PLACE))


def schema_of(manifest: Manifest, more: Mapping[str, Mapping[str, str]]) -> Any:
    """Settle the columns of a data set's shards.

    Args:
        manifest: The data set.
        more: File to further cells of its row, by column.

    Returns:
        A ``pyarrow.Schema``. Its metadata tell the Hugging Face ``datasets`` that ``image`` is a picture.

    Example:
        >>> schema_of(Manifest((), (), False, False, ()), {}).names[:3]
        ['id', 'image', 'eye']

    References:
        Hugging Face ``datasets``, ``Features`` in the schema's metadata.
    """
    import pyarrow as pa

    known = {name for name in _OPTIONAL if _is_known(manifest, name)}
    further = dict.fromkeys((name for cells in more.values() for name in cells), _TEXT)
    chosen = {name: kind for name, kind in _OPTIONAL.items() if name in known} | _ALWAYS | further
    fields: list[Any] = [pa.field("id", pa.string())]
    fields.append(pa.field(IMAGE, pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
    fields += [pa.field(name, getattr(pa, kind)()) for name, kind in chosen.items()]
    features: dict[str, Any] = {"id": {"dtype": _TEXT, "_type": "Value"}, IMAGE: {"_type": "Image"}}
    features |= {name: {"dtype": kind, "_type": "Value"} for name, kind in chosen.items()}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def leaves_of(schema: Any) -> list[str]:
    """Name the columns as Parquet does, those inside another one by one.

    Args:
        schema: A ``pyarrow.Schema``.

    Returns:
        Names such as ``image.bytes``.

    Example:
        >>> leaves_of(schema_of(Manifest((), (), False, False, ()), {}))[:3]
        ['id', 'image.bytes', 'image.path']

    References:
        Apache Parquet.
    """
    inner: dict[str, Iterable[str]] = {IMAGE: ("image.bytes", "image.path")}
    return [leaf for name in schema.names for leaf in inner.get(name, (name,))]


def _is_known(manifest: Manifest, name: str) -> bool:
    """Tell whether a data set says something in a column."""
    if name == "source_slice":
        return any(sample.slice is not None for sample in manifest.samples)
    if name == "patient":
        # Slices of one volume belong together even where nobody knows the patient.
        return manifest.patients_known or _is_known(manifest, "source_slice")
    return any(getattr(sample, name) not in (None, "") for sample in manifest.samples)
