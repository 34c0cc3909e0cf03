"""Why an image file was not let in: a closed list of reasons."""

from typing import Literal, get_args

Reason = Literal[
    "unreadable", "empty", "too_large", "not_an_image", "format_not_allowed", "too_many_pixels", "animated",
    "truncated", "broken", "not_finite", "no_such_slice", "too_slow", "too_much_memory", "crashed",
]  # fmt: skip
REASONS: tuple[Reason, ...] = get_args(Reason)


class ImageRefused(ValueError):
    """An image file that was not let in.

    Args:
        reason: Which of the closed list of refusals it is.
        source: Where the bytes came from.
        sentence: What is wrong and what to do.

    Example:
        >>> str(ImageRefused("empty", "a.png", "the file is empty; copy it again"))
        'a.png: the file is empty; copy it again'

    References:
        Our own.
    """

    def __init__(self, reason: Reason, source: str, sentence: str) -> None:
        super().__init__(reason, source, sentence)
        self.reason: Reason = reason
        self.source = source
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.source}: {self.sentence}"
