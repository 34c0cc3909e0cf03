"""In what two opinions differ, field by field."""

from collections.abc import Iterator, Mapping

from eyeground.clinic.records import Opinion
from eyeground.clinic.web.shapes import Difference

Leaf = str | int | bool


def differences(sent: Opinion, stored: Opinion) -> list[Difference]:
    """Compare the opinion that was sent with the one that is stored by now.

    Args:
        sent: What a doctor sent, who had seen an older version.
        stored: What is stored now; an empty one where nothing is.

    Returns:
        Every field that is not the same in both, sorted by name; none where they say the same.

    Example:
        >>> [each.model_dump() for each in differences(Opinion(conclusion="a"), Opinion(conclusion="b"))]
        [{'where': 'conclusion', 'sent': 'a', 'stored': 'b'}]

    References:
        Our own.
    """
    mine, theirs = dict(_leaves(sent.model_dump())), dict(_leaves(stored.model_dump()))
    return [
        Difference(where=where, sent=mine.get(where), stored=theirs.get(where))
        for where in sorted(mine.keys() | theirs.keys())
        if mine.get(where) != theirs.get(where)
    ]


def _leaves(told: Mapping[str, object], above: str = "") -> Iterator[tuple[str, Leaf]]:
    """Every value with the names that lead to it."""
    for name, value in told.items():
        where = f"{above}.{name}" if above else name
        if isinstance(value, Mapping):
            yield from _leaves(value, where)
        elif isinstance(value, Leaf):
            yield where, value
