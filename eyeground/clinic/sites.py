"""What a site is called, and whom its patients call: the same on reports, patients' pages and in exports."""

from dataclasses import dataclass

from eyeground.clinic.settings import Settings


@dataclass(frozen=True)
class Site:
    """A site as patients know it.

    Args:
        title: What it is called.
        contact: Whom to call; empty where that is not known.

    Example:
        >>> Site("Town Hospital").contact
        ''

    References:
        Our own.
    """

    title: str
    contact: str = ""


def site_of(name: str, settings: Settings) -> Site:
    """Say what a site is called.

    Args:
        name: Its name, as cases have it.
        settings: The service's, which tell title and contact of its own site alone.

    Returns:
        The service's own site with both; another one by its name, and never with a telephone that is not its own.

    Example:
        >>> own = Settings(home="x", secret="a phrase of your own, and long", site="here", site_title="Town Hospital")
        >>> site_of("here", own).title, site_of("elsewhere", own).title
        ('Town Hospital', 'elsewhere')

    References:
        Our own.
    """
    return Site(settings.title, settings.contact) if name == settings.site else Site(name)
