"""The answers about an eye that a list shows: what is there, the most urgent first."""

from collections.abc import Mapping
from dataclasses import dataclass

from eyeground.clinic.records import Said
from eyeground.clinic.urgency import Rules


@dataclass(frozen=True)
class Lead:
    """An answer about an eye that a list shows.

    Args:
        finding: By the contract's name.
        value: 0 or 1, or a grade.
        score: How sure the model is; None where it does not say.

    Example:
        >>> Lead("DR", 2, 0.81).value
        2

    References:
        Our own.
    """

    finding: str
    value: int
    score: float | None


def leads_of(said: Mapping[str, Said], rules: Rules) -> tuple[Lead, ...]:
    """Choose the answers about an eye that a list shows.

    Args:
        said: What is said of it; at least one answer.
        rules: What is more urgent.

    Returns:
        Every finding that is there, the most urgent first; where none is, retinopathy alone, or else the first that
        was looked for.

    Example:
        >>> from eyeground.clinic.urgency import read_rules
        >>> [each.finding for each in leads_of({"DR": Said(value=1), "ON": Said(value=1)}, read_rules("ico"))]
        ['ON', 'DR']

    References:
        Our own.
    """
    there = [name for name, each in said.items() if each.value]
    ranks = {name: rules.rank(rules.findings[name][said[name].value - 1]) for name in there}
    there.sort(key=lambda name: (ranks[name], name != "DR"))
    names = there or ["DR" if "DR" in said else next(iter(said))]
    return tuple(Lead(name, said[name].value, said[name].score) for name in names)
