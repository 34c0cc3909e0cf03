"""A model card made from what a bundle holds: what it is for, what it was measured to do, and its limits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eyeground.serve.contract import Contract
from eyeground.serve.titles import untitled

_MODALITIES = {
    "fundus": "color fundus photographs",
    "oct": "OCT B-scans",
    "anterior": "photographs of the front of the eye",
    "": "images of a kind that the run does not tell",
}


def render_card(contract: Contract, record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Write the model card of a bundle.

    Args:
        contract: The model's.
        record: What will be ``bundle.json``.
        metrics: The run's ``metrics.json``; empty where it has none.

    Returns:
        Markdown.

    References:
        Mitchell et al., "Model Cards for Model Reporting", FAccT 2019.
    """
    filled = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701 - Markdown; what could break a table is taken out by the filter
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filled.filters["cell"] = _cell
    rows = []
    for head in contract.task.heads:
        for name in head.classes or ("",):
            shown = name or head.name
            rows.append({
                "head": head.name,
                "label": name or f"a number, {head.unit}".rstrip(", "),
                "en": contract.title(shown, "en", head=head.name),
                "zh": contract.title(shown, "zh", head=head.name),
            })  # fmt: skip
    template = filled.get_template("card.jinja.md")
    return template.render(
        record=record,
        contract=contract,
        rows=rows,
        untitled=untitled(contract.task, contract.titles),
        modality=_MODALITIES[contract.modality],
        metrics=[
            (name, _estimate(told))
            for name, told in metrics.get("headline", {}).items()
            if not name.endswith("_present")
        ],
        test={name: metrics.get(name) for name in ("n", "patients", "patients_known")},
        calibrations={
            name: {
                "temperature": made.temperature.value,
                "coverage": made.sets.coverage,
                "thresholds": [
                    (column.removeprefix("positive_"), each.rule, each.target, each.value.value)
                    for column, each in zip(made.threshold_columns, made.thresholds, strict=True)
                    if each.value.defined
                ],
            }
            for name, made in contract.calibrations.items()
        },
    )


def _cell(word: object) -> str:
    """A word that cannot break out of its place in a table."""
    plain = str(word).replace("|", "/").replace("`", "'").replace("&", "&amp;").replace("<", "&lt;")
    return " ".join(plain.split())


def _estimate(told: Mapping[str, Any]) -> str:
    """A number with its interval, or why there is none."""
    if told.get("value") is None:
        return f"undefined: {told.get('reason', '')}"
    if told.get("low") is None:
        return f"{told['value']:.3f}"
    return f"{told['value']:.3f} [{told['low']:.3f}-{told['high']:.3f}]"
