"""What an opinion lacks, names that there is not, or says otherwise than the models."""

from collections.abc import Mapping, Sequence

from eyeground.clinic.db.tables import Case, Image
from eyeground.clinic.exchange.report import ANSWERED
from eyeground.clinic.findings import EYES, FINDINGS, Merged
from eyeground.clinic.records import EyeReview, Opinion, Said
from eyeground.clinic.report.settled import settled

GRADED = "graded"
UNGRADABLE = "ungradable"


def strange(opinion: Opinion) -> list[str]:
    """List what an opinion names that there is not.

    Args:
        opinion: The opinion.

    Returns:
        A sentence each; nothing of what was sent is repeated.

    Example:
        >>> from eyeground.clinic.records import EyeReview
        >>> strange(Opinion(eyes={"fundus/OD": EyeReview(findings={"DR": 5})}))
        ['fundus/OD: DR is 0 to 4']

    References:
        Our own.
    """
    wrong = []
    for key, eye in opinion.eyes.items():
        part, _, side = key.partition("/")
        known = next((findings for name, findings in FINDINGS.items() if name == part), None)
        if known is None or side not in EYES:
            wrong.append("an eye is named fundus/OD, fundus/OS, anterior/OD or anterior/OS")
            continue
        for name, value in eye.findings.items():
            if name not in known:
                wrong.append(f"{key}: a finding is one of {', '.join(known)}")
            elif not 0 <= value <= known[name]:
                wrong.append(f"{key}: {name} is 0 to {known[name]}")
        if eye.ungradable and eye.findings:
            wrong.append(f"{key}: what cannot be graded has no findings")
    return wrong


def unseen(images: Sequence[Image], opinion: Opinion) -> list[str]:
    """List eyes that lack a verdict, and verdicts that lack an image.

    Args:
        images: The case's.
        opinion: What a doctor says.

    Returns:
        A sentence each.

    Example:
        >>> unseen([Image(part="fundus", eye="OD", place=0)], Opinion())
        ['fundus/OD: give findings, or say that it cannot be graded']

    References:
        Our own.
    """
    keys = dict.fromkeys(f"{image.part}/{image.eye or f'image {image.place}'}" for image in images)
    given = {key for key, eye in opinion.eyes.items() if eye.ungradable or eye.findings}
    missing = [f"{key}: give findings, or say that it cannot be graded" for key in keys if key not in given]
    shown = {f"{image.part}/{image.eye}" for image in images}
    return missing + [f"{key}: there is no image of it" for key in opinion.eyes if key not in shown]


def differing(merged: Merged, unavailable: Mapping[str, str], opinion: Opinion) -> dict[str, tuple[str, ...]]:
    """Say in what a doctor and the models differ.

    Args:
        merged: What the models say.
        unavailable: What has no answer, as the case has it.
        opinion: What the doctor says.

    Returns:
        By ``"<part>/<eye>"`` the findings that differ, what the models call positive and the doctor leaves open among
        them; ``"ungradable"`` where the doctor cannot grade what the models graded, ``"graded"`` where he grades what
        they could not. Eyes in which nothing differs are left out.

    Example:
        >>> from eyeground.clinic.records import EyeReview
        >>> opinion = Opinion(eyes={"fundus/OD": EyeReview(findings={"DR": 2})})
        >>> differing(Merged(), {"fundus/OD": "cannot_grade"}, opinion)
        {'fundus/OD': ('graded',)}

    References:
        Our own.
    """
    found = {}
    for key, eye in opinion.eyes.items():
        said = merged.said.get(key, {})
        other = [name for name, value in eye.findings.items() if name in said and said[name].value != value]
        if eye.findings:  # of an eye of which nothing is said yet nothing is left open
            other += left_open(said, eye)
        if eye.ungradable and said:
            other.append(UNGRADABLE)
        if eye.findings and unavailable.get(key) == "cannot_grade":
            other.append(GRADED)
        if other:
            found[key] = tuple(other)
    return found


def left_open(said: Mapping[str, Said], eye: EyeReview) -> list[str]:
    """List what the models call positive in an eye and the doctor says nothing of: it must not vanish unseen.

    Args:
        said: What the models say of the eye.
        eye: What the doctor says of it.

    Returns:
        The findings; none where he says that nothing can be graded.

    Example:
        >>> left_open({"DR": Said(value=3), "AMD": Said(value=0)}, EyeReview(findings={"RVO": 0}))
        ['DR']

    References:
        Our own.
    """
    if eye.ungradable:
        return []
    return [name for name, each in said.items() if each.value and name not in eye.findings]


def unready(case: Case, images: Sequence[Image], merged: Merged, opinion: Opinion) -> list[str]:
    """List what an opinion lacks before it can be signed.

    Args:
        case: The case.
        images: Its images.
        merged: What the models say of it.
        opinion: What the doctor says.

    Returns:
        A sentence each; none where it can be signed.

    Example:
        >>> unready(Case(door="screening", unavailable={}), [], Merged(), Opinion())
        ['conclusion: is empty']

    References:
        docs/clinic.md.
    """
    missing = unseen(images, opinion)
    differ = differing(merged, case.unavailable, opinion)
    for key, eye in opinion.eyes.items():
        if eye.reason.strip():
            continue
        names = [name for name in differ.get(key, ()) if name in eye.findings]
        opened = [name for name in differ.get(key, ()) if name not in (*names, GRADED, UNGRADABLE)]
        if opened:
            missing.append(f"{key}: the model finds {', '.join(opened)}: judge it, or give the reason")
        if names:
            missing.append(f"{key}: differs from the model in {', '.join(names)}: give the reason")
        if GRADED in differ.get(key, ()):
            missing.append(f"{key}: graded, where the model says that it cannot be: give the reason")
        if eye.ungradable:
            missing.append(f"{key}: cannot be graded: give the reason")
    if case.door == "report":  # it asks for texts, and a draft must not pass as signed
        missing += [f"{name}: is empty" for name in ANSWERED if not settled(opinion.texts.get(name, "")).strip()]
    elif not opinion.conclusion.strip():
        missing.append("conclusion: is empty")
    return missing
