"""What a comparison says, in plain sentences with their limits: made from its tests by rule, never by a model."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from eyeground.evaluate.narrative import FEW_PATIENTS
from eyeground.evaluate.wording import counted, decimal, listed, shown, titled

LEVEL = 0.05
LOWER_IS_BETTER = frozenset({"ece", "brier", "log_loss", "hamming"})
_WAYS = {"probe": "linear probing", "finetune": "fine-tuning", "knn": "nearest neighbors"}


def way_named(way: str) -> str:
    """Name a way of using an initialization as people do.

    Args:
        way: Such as ``probe`` or ``finetune``.

    Returns:
        Its name; an unknown way keeps its own.

    Example:
        >>> way_named("finetune"), way_named("lora")
        ('fine-tuning', 'lora')

    References:
        Our own.
    """
    return _WAYS.get(way, shown(way, 40))


def labels_named(fraction: float) -> str:
    """Say how many of the labels were used.

    Args:
        fraction: Share of the training labels, (0, 1].

    Returns:
        Such as ``all labels`` or ``5% of the labels``.

    Example:
        >>> labels_named(1.0), labels_named(0.05)
        ('all labels', '5% of the labels')

    References:
        Our own.
    """
    return "all labels" if fraction >= 1 else f"{100 * fraction:g}% of the labels"


def metric_named(metric: str) -> str:
    """Name a metric inside a sentence.

    Args:
        metric: Key such as ``auroc_macro``.

    Returns:
        Its title, in small letters but for abbreviations.

    Example:
        >>> metric_named("auroc_macro"), metric_named("auroc"), metric_named("f1_macro")
        ('macro AUROC', 'AUROC', 'macro F1')

    References:
        Our own.
    """
    title = titled(metric)
    keeps = title.startswith(("Matthews", "Brier")) or not (title[:2].istitle() and title[1:2].isalpha())
    return title if keeps else title[0].lower() + title[1:]


def signed(value: float, digits: int = 3) -> str:
    """Write a difference with its sign.

    Args:
        value: The difference; NaN means undefined.
        digits: Digits after the point.

    Returns:
        Such as ``+0.031``, or an en dash.

    Example:
        >>> signed(0.0312), signed(-0.0312), signed(-0.00001), signed(float("nan"))
        ('+0.031', '−0.031', '0.000', '–')

    References:
        Our own.
    """
    text = decimal(value, digits)
    if not math.isfinite(value) or float(text) == 0:
        return text
    return text.replace("-", "−") if value < 0 else f"+{text}"


def p_named(p: float, *, at_most: bool = False) -> str:
    """Write a p value.

    Args:
        p: In [0, 1]; NaN means that there is none.
        at_most: Whether p is the smallest that can be counted, so that it may be smaller.

    Returns:
        Such as ``p = 0.012`` or ``p < 0.001``.

    Example:
        >>> p_named(0.0123), p_named(0.00002), p_named(0.9997), p_named(float("nan"))
        ('p = 0.012', 'p < 0.001', 'p = 1.000', 'no p value')

    References:
        Our own.
    """
    if math.isnan(p):
        return "no p value"
    return "p < 0.001" if p < 0.001 else f"p {'≤' if at_most else '='} {p:.3f}"


def outcome(test: Mapping[str, Any]) -> str:
    """Say what a paired test shows of its first initialization.

    Args:
        test: A line of ``Comparison.tests``.

    Returns:
        ``better``, ``worse``, ``no difference shown``, or ``not tested``. Never "equal": a test cannot show that.

    Example:
        >>> outcome({"metric": "auroc_macro", "difference": 0.03, "p_holm": 0.01})
        'better'
        >>> outcome({"metric": "ece", "difference": 0.03, "p_holm": 0.01})
        'worse'

    References:
        Altman & Bland, "Absence of evidence is not evidence of absence", BMJ 1995;311:485.
    """
    if math.isnan(test["p_holm"]):
        return "not tested"
    if test["p_holm"] >= LEVEL or test["difference"] == 0:
        return "no difference shown"
    return "better" if (test["difference"] > 0) != (test["metric"] in LOWER_IS_BETTER) else "worse"


def verdict(
    *,
    tests: Sequence[Mapping[str, Any]],
    summary: Sequence[Mapping[str, Any]],
    headline: str,
    floor: float = 0.0,
) -> tuple[str, ...]:
    """Compare every initialization with its reference, in each way, on all labels (or the most that both used).

    Args:
        tests: Lines of ``Comparison.tests``; the planned ones get a sentence, in the order given.
        summary: Lines of ``Comparison.summary``, for the spread over seeds.
        headline: Metric of the paired bootstrap.
        floor: Smallest p value that the bootstrap can give before correction; it is written as "at most".

    Returns:
        One sentence per way and initialization that has a reference.

    Example:
        >>> test = {"way": "probe", "fraction": 1.0, "a": "mae", "b": "random", "planned": True,
        ...         "test": "bootstrap", "metric": "auroc_macro", "difference": 0.01, "low": -0.02, "high": 0.05,
        ...         "p": 0.6, "p_holm": 0.6, "n_patients": 99, "reason": ""}
        >>> print(verdict(tests=[test], summary=[], headline="auroc_macro")[0])
        Linear probing, all labels: no difference could be shown between 'mae' and 'random' in macro AUROC;
        the data are compatible with −0.020 to +0.050 (difference +0.010, p = 0.600; one planned
        pair).

    References:
        Altman & Bland, "Absence of evidence is not evidence of absence", BMJ 1995;311:485.
    """
    lines = [test for test in tests if test["planned"]]
    spreads = {(t["way"], t["fraction"], t["init"]): t for t in summary if t["metric"] == headline}
    areas = {(t["way"], t["fraction"], t["a"], t["b"]): t for t in lines if t["test"] == "delong"}
    lines = [test for test in lines if test["test"] == "bootstrap"]
    counts = Counter((t["way"], t["fraction"]) for t in lines if not math.isnan(t["p"]))
    most: dict[tuple[str, str, str], float] = {}
    for test in lines:
        pair = (test["way"], test["a"], test["b"])
        most[pair] = max(most.get(pair, 0.0), test["fraction"])
    answers = []
    for way in dict.fromkeys(test["way"] for test in lines):
        for test in lines:
            a, b, fraction = test["a"], test["b"], test["fraction"]
            if test["way"] != way or fraction != most[way, a, b]:
                continue
            both = spreads.get((way, fraction, a)), spreads.get((way, fraction, b))
            beside = areas.get((way, fraction, a, b)) if headline == "auroc_macro" else None
            answers.append(_sentence(test, counts[way, fraction], _spread(*both), beside, floor))
    return tuple(answers)


def limits(
    *,
    patients: int,
    patients_known: bool,
    images: int,
    seeds: int,
    floor: float,
    pairs: int,
    planned: int,
    few_labels: bool,
) -> tuple[str, ...]:
    """Say what the uncertainty covers, and what it does not.

    Args:
        patients: Number of test patients.
        patients_known: Whether they are real groups; if not, every image counted as its own.
        images: Number of test images.
        seeds: Least number of seeds of an initialization.
        floor: Smallest p value that the bootstrap can give before correction.
        pairs: Most pairs of one way and label fraction.
        planned: Most planned pairs among them.
        few_labels: Whether parts of the labels were used too.

    Returns:
        Sentences.

    Example:
        >>> limits(patients=120, patients_known=True, images=240, seeds=3, floor=0.001, pairs=3, planned=2,
        ...        few_labels=False)[1]
        'They do not cover chance in training: seeds are averaged, and their spread stands beside the mean as s.d.'

    References:
        Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021; for the correction,
        those of ``comparison_pairs.paired_tests``.
    """
    if patients_known:
        unit = f"{counted(patients, 'patient')} with {counted(images, 'image')}"
        drawn = "all images of a patient together"
    else:
        unit, drawn = counted(images, "image"), "each counted as its own patient, because patients are not known"
    answers = [
        f"Intervals and p values cover which patients happened to be tested: {unit}, drawn again and again, {drawn},"
        " the same draws for every run.",
        "They do not cover chance in training: seeds are averaged, and their spread stands beside the mean as s.d."
        if seeds > 1
        else "They do not cover chance in training: an initialization has one seed only, so its spread is not known,"
        " and another seed may turn a small difference around.",
        "They do not cover other patients, cameras, graders or hospitals than those of this test set, nor"
        f" {'which labels were left out, nor ' if few_labels else ''}other settings of training than those used here.",
        "“No difference shown” never means equal: the interval says which differences the data are compatible with.",
        *_corrections(floor, pairs, planned),
    ]
    if images > patients:
        answers.append(
            "The bootstrap and DeLong's test count patients; McNemar's test counts images as independent, so that its p"
            " is too small."
        )
    if patients < FEW_PATIENTS:
        answers.append(f"With {counted(patients, 'patient')} every interval here is rough.")
    return tuple(answers)


def _corrections(floor: float, pairs: int, planned: int) -> list[str]:
    """How p values are corrected, and how small they can be."""
    least_planned, least = (decimal(min(1.0, floor * max(1, count))) for count in (planned, pairs))
    where = "within each way, label fraction and method"
    single = "Intervals are not adjusted: each holds 95% by itself."
    if not planned:
        told = f"No pair was planned: p values are Holm-adjusted over all pairs ({pairs} at most), {where}; resampling"
        return [f"{told} cannot give an adjusted p below {least}. {single}"]
    answers = [
        f"Planned comparisons, those of an initialization with its stated reference, are Holm-adjusted among themselves"
        f" ({planned} at most), {where}; resampling cannot give an adjusted p below {least_planned}. {single}"
    ]
    if pairs > planned:
        answers.append(
            f"All other pairs are exploratory and Holm-adjusted over all pairs ({pairs} at most), planned ones"
            f" included, {where}; their adjusted p by resampling is never below {least}. The planned and the others"
            " hold 5% for any false finding each by themselves, not both together."
        )
    answers.append(
        "A comparison counts as planned only if its reference was stated before results were seen; Eyeground cannot"
        " check that. (Holm, Scand J Stat 1979;6:65; Bender & Lange, J Clin Epidemiol 2001;54:343; Rothman,"
        " Epidemiology 1990;1:43, would not adjust at all.)"
    )
    return answers


def _sentence(
    test: Mapping[str, Any],
    pairs: int,
    spread: str,
    beside: Mapping[str, Any] | None,
    floor: float,
) -> str:
    """One comparison in words."""
    first, second = listed([test["a"]]), listed([test["b"]])
    way = way_named(test["way"])
    start = f"{way[:1].upper()}{way[1:]}, {labels_named(test['fraction'])}:"
    metric = metric_named(test["metric"])
    says = outcome(test)
    if says == "not tested":
        return f"{start} {first} and {second} cannot be compared in {metric}: {test['reason']}."
    span = f"{signed(test['low'])} to {signed(test['high'])}"
    value = p_named(test["p_holm"], at_most=test["p"] <= floor)
    p = f"Holm-adjusted {value} among {pairs} planned pairs" if pairs > 1 else f"{value}; one planned pair"
    if beside is not None and not math.isnan(beside["p_holm"]):
        p += f"; by DeLong's test {p_named(beside['p_holm'])}"
    if says != "no difference shown":
        size = f"difference {signed(test['difference'])}, 95% interval {span}, {p}{spread}"
        return f"{start} {first} is {says} than {second} in {metric} ({size})."
    text = f"{start} no difference could be shown between {first} and {second} in {metric}; the data are compatible"
    text += f" with {span} (difference {signed(test['difference'])}, {p}{spread})"
    if test["low"] * test["high"] > 0:
        text += (
            ". The interval leaves out 0 by itself, but not after correction for the number of planned pairs: a hint,"
            " at most"
        )
    return f"{text}."


def _spread(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> str:
    """The s.d. over seeds of both, where there is one."""
    if a is None or b is None:
        return ""
    if math.isnan(a["sd"]) or math.isnan(b["sd"]):
        return "; spread over seeds not known"
    return f"; s.d. over seeds {decimal(a['sd'])} and {decimal(b['sd'])}"
