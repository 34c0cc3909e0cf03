"""Images that cannot be graded, by site and device."""

from eyeground.clinic.statistics.rates import MOST_GROUPS, rates


def test_groups_are_summed_and_the_largest_comes_first() -> None:
    found = rates([("a", "x", False, 3), ("a", "x", True, 1), ("b", "x", False, 9), ("a", "", True, 2)])
    assert [(each.site, each.device, each.images, each.ungradable, each.share.value) for each in found] == [
        ("b", "x", 9, 0, 0.0), ("a", "x", 4, 1, 0.25), ("a", "", 2, 2, 1.0),
    ]  # fmt: skip


def test_what_is_too_much_to_read_is_told_together_and_nothing_is_lost() -> None:
    counts = [("a", f"camera {number:03}", number % 2 == 0, number + 1) for number in range(100)]
    found = rates(counts)
    assert len(found) == MOST_GROUPS
    assert sum(each.images for each in found) == sum(count for *_, count in counts)
    assert (found[-1].groups, found[-1].device, found[-1].site) == (100 - MOST_GROUPS + 1, "", "")
    assert [each.groups for each in found[:-1]] == [1] * (MOST_GROUPS - 1)
