"""The columns of a shard follow what the data set knows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eyeground.data.manifest import Manifest
from eyeground.data.sample import Sample
from eyeground.data.shards.schema import OWN_COLUMNS, leaves_of, schema_of

SAMPLE = Sample("a.png", Path("d"), None, ":a.png")


@pytest.mark.parametrize(
    ("changed", "columns"),
    [
        ({}, set()),
        ({"label": 0}, {"label"}),
        ({"site": "A", "camera": "B", "split": "test"}, {"site", "camera", "split"}),
        ({"slice": 3}, {"source_slice", "patient"}),
    ],
)
def test_a_column_that_nobody_fills_is_left_away(changed: dict[str, object], columns: set[str]) -> None:
    bare = set(schema_of(Manifest((SAMPLE,), ("x",), False, False, ()), {}).names)
    manifest = Manifest((replace(SAMPLE, **changed),), ("x",), False, False, ())  # type: ignore[arg-type]
    found = schema_of(manifest, {})
    assert set(found.names) - bare == columns
    assert set(found.names) <= OWN_COLUMNS


def test_every_column_is_told_to_the_hub_s_library() -> None:
    found = schema_of(Manifest((SAMPLE,), (), False, True, ()), {"a.png": {"GLA": "1"}})
    features = json.loads(found.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == found.names
    assert features["image"] == {"_type": "Image"}
    assert features["GLA"] == {"dtype": "string", "_type": "Value"}
    assert found.names[-1] == "GLA"
    assert leaves_of(found)[:3] == ["id", "image.bytes", "image.path"]
