"""What tells the class although it has nothing to do with the eye: the file, the size, the camera, the source."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyeground.data.exam.case import Case, listed
from eyeground.data.exam.finding import Finding, counted
from eyeground.data.exam.shortcut import Predicted, predict

# On three real sets as they are, the dimensions predict no class beyond 0.64 (lower end 0.59). The size of the file is
# another matter, for it hangs on what is seen: hazy photographs make small ones (0.85 for the cataracts of ODIR).
_LEAST_OF_A_CLASS: Final = 0.70
_LEAST_MACRO: Final = 0.62
_LEAST_OF_CONTENT: Final = 0.95
_FEW_TREES: Final = 10


def find(case: Case) -> Iterator[Finding]:
    """Name shortcuts with their AUROC, and what is mixed in the set.

    Args:
        case: The data set.

    Yields:
        A finding for each feature that alone predicts a class, one for the file's features together, and notes on what
        was looked at and found harmless.

    Example:
        >>> list(find(Case((), (), (), True)))
        []

    References:
        DeGrave et al., "AI for radiographic COVID-19 detection selects shortcuts over signal", Nat Mach Intell
        2021;3:610.
    """
    yield from _strays(case)
    rows = [n for n, sample in enumerate(case.samples) if case.facts[n].sound and sample.label is not None]
    if len(rows) < 20:
        return
    labels = np.array([case.samples[number].label for number in rows], np.int64)
    patients = [case.samples[number].patient for number in rows]
    told: dict[str, Predicted] = {}
    guilty: list[str] = []
    for name, values in _words(case, rows).items():
        if len(set(values)) > 1:
            found = predict(_one_hot(values), labels, patients, trees=_FEW_TREES)
            if found is not None and _strong(found):
                guilty.append(name)
                yield _shortcut(case, rows, name, values, found)
    for name, features in _numbers(case, rows).items():
        found = predict(features, labels, patients)
        if found is None:
            continue
        told[name] = found
        if _strong(found):
            guilty.append(name)
            yield _shortcut(case, rows, name, None, found)
    for name, features in _together(case, rows).items():
        found = predict(features, labels, patients)
        if found is None:
            continue
        best = int(np.argmax(found.auroc))
        of_class = f"{case.classes[found.classes[best]]!r} {_interval(found, best)}"
        content = max(found.low) >= _LEAST_OF_CONTENT
        carried = f"; carried by {listed(guilty)}" if guilty else ""
        yield Finding(
            "shortcut",
            "odd" if content and not guilty else "note",
            f"{name} predict the class with macro AUROC {found.macro:.3f} [{found.macro_low:.3f}-"
            f"{found.macro_high:.3f}], best {of_class}{carried}",
            "a model must do clearly better than this, on a test set where the shortcut does not hold"
            if found.macro_low > _LEAST_MACRO
            else "",
            (),
            _figures(found),
        )
    yield from _mixed(case, rows)


def _words(case: Case, rows: Sequence[int]) -> dict[str, list[str]]:
    """What is known about each image as a word."""
    samples, facts = [case.samples[n] for n in rows], [case.facts[n] for n in rows]
    return {
        "the source": [sample.source for sample in samples],
        "the site": [sample.site for sample in samples],
        "the camera": [sample.camera for sample in samples],
        "the device in the header": [each.device for each in facts],
        "the format": [each.format for each in facts],
        "gray or color": ["gray" if each.gray else "color" for each in facts],
        "the modality": [each.modality for each in facts],
    }


def _numbers(case: Case, rows: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """What is measured on each file without looking at the eye."""
    facts = [case.facts[number] for number in rows]
    wide, high = np.log([max(each.width, 1) for each in facts]), np.log([max(each.height, 1) for each in facts])
    saved = np.array([[each.quantization] for each in facts])
    return {"the dimensions": np.stack([wide, high, wide - high], 1), "the strength of the JPEG compression": saved}


def _together(case: Case, rows: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """The features asked for by name in one classifier, without and with color."""
    facts = [case.facts[number] for number in rows]
    wide, high = np.log([max(each.width, 1) for each in facts]), np.log([max(each.height, 1) for each in facts])
    size = np.log([max(each.size_bytes, 1) for each in facts])
    formats = _one_hot([each.format for each in facts])
    plain = np.column_stack([size, size - wide - high, wide, high, wide - high, formats])
    color = np.array([each.color for each in facts])
    return {
        "file size, format and dimensions": plain,
        "file size, format, dimensions and mean color": np.column_stack([plain, color]),
    }


def _one_hot(values: Sequence[str]) -> NDArray[np.float64]:
    """Words to columns; beyond 64 words the rare ones share a column."""
    kept = [word for word, _ in Counter(values).most_common(64)]
    place = {word: column for column, word in enumerate(kept)}
    table = np.zeros((len(values), len(kept) + 1))
    table[np.arange(len(values)), [place.get(word, len(kept)) for word in values]] = 1
    return table


def _strong(found: Predicted) -> bool:
    """Whether it predicts a class too well to be nothing."""
    return max(found.low) >= _LEAST_OF_A_CLASS or found.macro_low >= _LEAST_MACRO


def _interval(found: Predicted, place: int) -> str:
    """One class's AUROC in words."""
    return f"{found.auroc[place]:.3f} [{found.low[place]:.3f}-{found.high[place]:.3f}]"


def _figures(found: Predicted) -> dict[str, float]:
    """The numbers for programs."""
    best = int(np.argmax(found.auroc))
    return {
        "auroc_macro": round(found.macro, 4),
        "auroc_macro_low": round(found.macro_low, 4),
        "auroc_macro_high": round(found.macro_high, 4),
        "auroc_best_class": round(found.auroc[best], 4),
        "auroc_best_class_low": round(found.low[best], 4),
        "auroc_best_class_high": round(found.high[best], 4),
    }


def _shortcut(case: Case, rows: Sequence[int], name: str, values: Sequence[str] | None, found: Predicted) -> Finding:
    """Name one shortcut."""
    order = np.argsort(found.auroc)[::-1].tolist()
    strong = [place for place in order if found.low[place] >= _LEAST_OF_A_CLASS] or order[:1]
    classes = [f"{case.classes[found.classes[place]]!r} with AUROC {_interval(found, place)}" for place in strong]
    words = {found.classes[place] for place in strong}
    only = _only(case, rows, values, words) if values is not None else []
    return Finding(
        "shortcut",
        "fault",
        f"{name}, without any picture, tells {'; '.join(classes)} (macro {found.macro:.3f} [{found.macro_low:.3f}-"
        f"{found.macro_high:.3f}]){''.join(f'; {each}' for each in only)}",
        "a model can learn this instead of the disease: bring each class from every source, save all images alike, "
        "and test on a set made otherwise",
        case.files(number for number in rows if case.samples[number].label == found.classes[strong[0]]),
        _figures(found),
    )


def _only(case: Case, rows: Sequence[int], values: Sequence[str], labels: Set[int]) -> list[str]:
    """Classes whose images all have a word that no other class has."""
    holders: dict[str, Counter[str]] = defaultdict(Counter)  # word -> classes
    words: dict[str, set[str]] = defaultdict(set)  # class -> words
    for number, word in zip(rows, values, strict=True):
        holders[word][case.label(number)] += 1
        words[case.label(number)].add(word)
    return [
        f"all {counted(holders[word].total(), 'image')} of {name!r} have {word or 'none'!r} and no other class does"
        for name in (case.classes[label] for label in sorted(labels))
        for word in words[name]
        if len(words[name]) == 1 and len(holders[word]) == 1
    ]


def _strays(case: Case) -> Iterator[Finding]:
    """Images of another modality than nearly all."""
    known = [number for number, facts in enumerate(case.facts) if facts.modality]
    counts = Counter(case.facts[number].modality for number in known)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    for modality, count in sorted(counts.items()):
        if modality != usual:
            numbers = [number for number in known if case.facts[number].modality == modality]
            yield Finding(
                "mixed modalities",
                "odd",
                f"{counted(count, 'image')} looking like {modality} among {counts[usual]:,} of {usual}",
                "train one model for each modality, and move strays out",
                case.files(numbers),
                {"images": count},
            )


def _mixed(case: Case, rows: Sequence[int]) -> Iterator[Finding]:
    """Formats and sizes that are mixed but tell nothing."""
    facts = [case.facts[number] for number in rows]
    tell: dict[str, Callable[[int], str]] = {
        "formats": lambda n: facts[n].format,
        "sizes": lambda n: f"{facts[n].width}x{facts[n].height}",
        "colors": lambda n: "gray" if facts[n].gray else "color",
    }
    for name, word in tell.items():
        counts = Counter(word(number) for number in range(len(facts)))
        if len(counts) > 1:
            told = listed([f"{each} ({count:,})" for each, count in counts.most_common()])
            yield Finding(f"mixed {name}", "note", f"{len(counts):,} {name}: {told}", "")
