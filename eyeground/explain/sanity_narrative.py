"""What tests of heat maps say, in plain sentences and a list of limits: made from facts, by rule."""

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.wording import counted, decimal, listed
from eyeground.explain.sanity import Examination, Examined


def sentences(found: Examination) -> tuple[str, ...]:
    """Say which methods pass, which points best, and whether what was planted is caught.

    Args:
        found: What the tests gave.

    Returns:
        Two or three sentences in plain English.

    Example:
        >>> sentences(Examination((), {}, 0, 0, 224, 2000, 0))[0]
        'No method can serve this network.'

    References:
        Our own.
    """
    real = [each for each in found.methods if not each.planted]
    planted = [each for each in found.methods if each.planted]
    if not real:
        return ("No method can serve this network.",)
    told = [_passing(real), _pointing(real)]
    if planted:
        told.append(_caught(planted))
    return tuple(told)


def limits(found: Examination) -> tuple[str, ...]:
    """Say what a reader must not conclude.

    Args:
        found: What the tests gave.

    Returns:
        Sentences in plain English.

    Example:
        >>> limits(Examination((), {}, 40, 40, 224, 2000, 0))[0].partition(":")[0]
        'A map says where the model looked'

    References:
        Our own; much of it after Arun et al., "Assessing the Trustworthiness of Saliency Maps for Localizing
        Abnormalities in Medical Imaging", Radiol Artif Intell 2021;3:e200267.
    """
    told = [
        "A map says where the model looked: it is no outline of a lesion, and no proof that the model looked for the"
        " right reason.",
        "A method passes on average over these images. A single map may still be wrong, and so may all maps of another"
        " model or another kind of image.",
        "Only the highest point of a map plays the pointing game; of several lesions one hit is enough.",
        "Deletion and insertion show the model blurred pictures that it never learned from. They compare methods on one"
        " model, and nothing passes or fails by them.",
        "Drawn lesions are plainer than those of patients: what passes here may fail there, and what fails here should"
        " not be used there.",
    ]
    if found.tested < found.images:
        told.append(
            f"Weights and curves were tested on {counted(found.tested, 'image')} of {found.images:,}, evenly chosen."
        )
    if any(each.hits.images < found.images for each in found.methods):
        without = found.images - found.methods[0].hits.images
        told.append(f"Of {counted(without, 'image')} no lesion has a place, so they play no pointing game.")
    return tuple(told)


def _passing(methods: list[Examined]) -> str:
    """Which methods pass both tests, and what the others fail."""
    passed = [each.method for each in methods if each.passed]
    failed = [each for each in methods if not each.passed]
    kinds = {
        "the pointing game": [e.method for e in failed if not e.hits.passed and e.weights.passed],
        "the randomized-weights test": [e.method for e in failed if e.hits.passed and not e.weights.passed],
        "both": [e.method for e in failed if not e.hits.passed and not e.weights.passed],
    }
    fails = [f"{listed(names)} fail{'s' * (len(names) == 1)} {what}" for what, names in kinds.items() if names]
    head = (
        f"Of {counted(len(methods), 'method')}, {len(passed) or 'none'} pass{'es' * (len(passed) == 1)} both tests"
        + (f": {listed(passed)}" if passed else "")
    )
    return "; ".join([head, *fails]) + "."


def _pointing(methods: list[Examined]) -> str:
    """Which method's peaks hit most often."""
    known = [each for each in methods if each.hits.rate.defined]
    if not known:
        return f"Nothing can be said about hits: {methods[0].hits.rate.reason}."
    best = max(known, key=lambda each: each.hits.rate.value)
    text = (
        f"The peaks of {listed([best.method])} hit the lesion most often, in {_percent(best.hits.rate)} of "
        f"{counted(best.hits.images, 'image')}, where chance hits {_percent(best.hits.chance)}"
    )
    if best.hits.mismatched.defined:
        text += f", and the same peaks laid on other patients' lesions {_percent(best.hits.mismatched)}"
    return f"{text}."


def _caught(planted: list[Examined]) -> str:
    """Whether the tests see what was broken on purpose."""
    missed = [each.method for each in planted if each.passed]
    if missed:
        return (
            f"{listed(missed)}, broken on purpose, pass{'es' * (len(missed) == 1)}: these tests cannot be trusted here."
        )
    return (
        f"{listed([each.method for each in planted])}, broken on purpose, {'fails' if len(planted) == 1 else 'fail'}."
    )


def _percent(estimate: Estimate) -> str:
    """A share with its interval in words."""
    ends = f" (95% interval {100 * estimate.low:.0f} to {100 * estimate.high:.0f}%)" if estimate.has_interval else ""
    return f"{decimal(100 * estimate.value, 0)}%{ends}"
