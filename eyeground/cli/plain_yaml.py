"""YAML as people mean it: ratios and class names stay words."""

import re
from typing import Any, ClassVar

import yaml


class PlainLoader(yaml.SafeLoader):
    """YAML 1.2's idea of plain words: ``60:20:20`` and the class ``NO`` are text, ``1e-4`` is a number.

    Example:
        >>> yaml.load("{split: 60:20:20, classes: [NO], lr: 1e-4}", PlainLoader)
        {'split': '60:20:20', 'classes': ['NO'], 'lr': 0.0001}

    References:
        YAML 1.2.2, core schema.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}  # type: ignore[misc] # so the stubs have it


_FLOAT = (
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
):
    PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
PlainLoader.add_implicit_resolver(*_FLOAT)


class PlainDumper(yaml.SafeDumper):
    """Quotes what the plain loader would take for a number, such as the class ``1e5``.

    Example:
        >>> yaml.dump("1e5", Dumper=PlainDumper).strip()
        "'1e5'"

    References:
        Our own.
    """


PlainDumper.add_implicit_resolver(*_FLOAT)
