"""What urgencies of the rule sets on the shelf mean for lists: who is referred, and what is to be done first."""

from functools import cache

from eyeground.clinic.urgency import Rules, read_rules, rule_sets


@cache
def rules_of(title: str) -> Rules:
    """Find the rule set that gave an urgency.

    Args:
        title: As ``Rules.title``.

    Returns:
        That set; where it is no longer on the shelf in that version, the first.

    Example:
        >>> rules_of("China v2").name
        'China'

    References:
        Our own.
    """
    return min((read_rules(name) for name in rule_sets()), key=lambda each: each.title != title)


@cache
def urgent_words() -> tuple[str, ...]:
    """List the words of all rule sets that ask for an ophthalmologist.

    Returns:
        Sorted words; the sets of the shelf mean the same by the same word.

    Example:
        >>> "refer_1_week" in urgent_words()
        True

    References:
        Our own.
    """
    levels = [level for name in rule_sets() for level in read_rules(name).levels]
    return tuple(sorted({level.word for level in levels if level.refer}))


@cache
def first_words() -> tuple[str, ...]:
    """List the words of all rule sets under which nothing is known until a doctor has decided an eye or looked himself.

    Returns:
        Sorted words. They ask for no ophthalmologist, and are no reassurance either.

    Example:
        >>> first_words()
        ('decide_eye', 'look_yourself')

    References:
        The rule sets' ``states``.
    """
    sets = [read_rules(name) for name in rule_sets()]
    words = {word for rules in sets for word in (rules.states.held, rules.states.failed)}
    return tuple(sorted(words - set(urgent_words())))
