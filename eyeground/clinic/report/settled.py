"""Texts of a report request as they are once a doctor has signed them: no longer "to be checked by a doctor"."""

from eyeground.clinic.report.language import languages, words_of


def settled(text: str, *, marked: bool = False) -> str:
    """Take the note out that a draft carries below its sentences.

    Args:
        text: As the doctor signed it.
        marked: Whether a language model's draft keeps a mark, that the doctor has checked it. Without it whoever shows
            the text says so beside it.

    Returns:
        The text; what the doctor wrote stays as it was written.

    Example:
        >>> print(settled("Drusen.\\nDrafted by AI, not a diagnosis; to be checked by a doctor.", marked=True))
        Drusen.
        Drafted by AI, checked by the doctor.

    References:
        docs/clinic.md for the contract.
    """
    for language in languages():
        words = words_of(language)
        text = _instead(text, words.say("draft.note"), "")
        text = _instead(text, words.say("draft.note_by_ai"), words.say("draft.note_checked") if marked else "")
    return text


def _instead(text: str, note: str, other: str) -> str:
    """The text with another note, or none, where it has this one."""
    before, found, after = text.partition(note)
    if not found:
        return text
    return "\n".join(filter(None, (before.rstrip(), other, _instead(after, note, other).strip())))
