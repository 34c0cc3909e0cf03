"""How many images cannot be graded, by site and device."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from eyeground.clinic.statistics.number import Number, wilson

# More lines than this are no longer read; the smallest groups are told together.
MOST_GROUPS: Final = 20


@dataclass(frozen=True)
class Rate:
    """How many images of a group cannot be graded.

    Args:
        site: Whose images; empty of all that are not told one by one.
        device: Camera or scanner; empty where the files do not name it.
        images: How many were looked at.
        ungradable: How many of them cannot be graded.
        share: As a share in [0, 1], with Wilson's interval.
        groups: How many sites and devices are in it; 1 but for the last line.

    Example:
        >>> Rate("here", "", 10, 1, wilson(1, 10)).groups
        1

    References:
        Our own.
    """

    site: str
    device: str
    images: int
    ungradable: int
    share: Number
    groups: int = 1


def rates(counts: Iterable[tuple[str, str, bool, int]]) -> tuple[Rate, ...]:
    """Sum up what could be graded.

    Args:
        counts: Site, device, whether it cannot be graded, and how many images.

    Returns:
        A line for each site and device, the largest first; what is beyond ``MOST_GROUPS`` together in the last.

    Example:
        >>> [found] = rates([("here", "Topcon", True, 1), ("here", "Topcon", False, 3)])
        >>> found.images, found.ungradable, found.share.value
        (4, 1, 0.25)

    References:
        Our own.
    """
    told: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for site, device, bad, count in counts:
        told[site, device][0] += count
        told[site, device][1] += count if bad else 0
    ordered = sorted(told.items(), key=lambda each: (-each[1][0], each[0]))
    single = len(ordered) if len(ordered) <= MOST_GROUPS else MOST_GROUPS - 1
    lines = [Rate(site, device, all_, bad, wilson(bad, all_)) for (site, device), (all_, bad) in ordered[:single]]
    if rest := [numbers for _, numbers in ordered[single:]]:
        images, bad = (sum(column) for column in zip(*rest, strict=True))
        lines.append(Rate("", "", images, bad, wilson(bad, images), len(rest)))
    return tuple(lines)
