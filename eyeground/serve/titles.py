"""What heads and classes are called in English and Chinese."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eyeground.data.classes import are_grades
from eyeground.data.task import Task

LANGUAGES = ("en", "zh")
_KNOWN = Path(__file__).with_name("titles.toml")


def titles_of(task: Task, own: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, dict[str, str]]:
    """Find a title for each head and class.

    Args:
        task: What is asked.
        own: A site's titles, which go before ours.

    Returns:
        Name -> language -> title, for what is known. Grades 0 to 4 of a head that is called DR are those of ICDR, under
        ``DR/0`` and so on; other numbers mean nothing by themselves.

    Example:
        >>> from eyeground.data.task import classification
        >>> titles_of(classification(("normal", "cataract")))["cataract"]
        {'en': 'Cataract', 'zh': '白内障'}

    References:
        Wilkinson et al., "Proposed international clinical diabetic retinopathy disease severity scales",
        Ophthalmology 2003;110:1677.
    """
    known = tomllib.loads(_KNOWN.read_text("utf-8")) | {name.casefold(): words for name, words in (own or {}).items()}
    found = {}
    for head in task.heads:
        if head.name.casefold() in known:
            found[head.name] = dict(known[head.name.casefold()])
        for name in head.classes:
            # A class called NO is OCTDL's healthy scan; an answer "no" is another thing.
            word = "normal" if head.kind == "classes" and name.casefold() == "no" else name.casefold()
            if word in known:
                found[name if head.kind == "classes" else f"{head.name}/{name}"] = dict(known[word])
        if head.name.casefold() == "dr" and are_grades(head.classes) and len(head.classes) == 5:
            found |= {f"{head.name}/{name}": dict(known[f"dr{grade}"]) for grade, name in enumerate(head.classes)}
    return found


def read_titles(path: Path) -> dict[str, dict[str, str]]:
    """Read a site's titles.

    Args:
        path: TOML: a table per label with ``en`` and ``zh``.

    Returns:
        Label -> language -> title.

    Raises:
        ValueError: If it cannot be read, or a label lacks a language; all faults at once.

    Example:
        >>> len(read_titles(_KNOWN)["cataract"])
        2

    References:
        TOML 1.0.
    """
    try:
        told: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as titles: {error}") from error
    wrong = [
        f"[{name}] needs {' and '.join(LANGUAGES)}, each a text"
        for name, words in told.items()
        if not isinstance(words, dict)
        or set(words) != set(LANGUAGES)
        or not all(isinstance(word, str) and word.strip() for word in words.values())
    ]
    if wrong:
        raise ValueError(f"{path}: {'; '.join(wrong)}")
    return told


def untitled(task: Task, titles: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    """List the classes that pages will show by their label.

    Args:
        task: What is asked.
        titles: As ``titles_of`` gave them.

    Returns:
        Names of heads of several and of classes without a title.

    Example:
        >>> from eyeground.data.task import classification
        >>> untitled(classification(("normal", "xq")), titles_of(classification(("normal", "xq"))))
        ['xq']

    References:
        Our own.
    """
    named = [] if task.single else [(head.name, head.name) for head in task.heads]
    named += [(name, f"{head.name}/{name}") for head in task.heads for name in head.classes]
    return list(dict.fromkeys(name for name, full in named if not {name, full} & set(titles)))
