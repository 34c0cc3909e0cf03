"""What all routes share."""

from dataclasses import dataclass

from anyio import CapacityLimiter

from eyeground.clinic.attempts import Attempts
from eyeground.clinic.service import Service
from eyeground.clinic.web.counting import Requests
from eyeground.clinic.web.guard import Guard
from eyeground.clinic.web.paging import Pages
from eyeground.clinic.web.sightings import Sightings


@dataclass(frozen=True)
class Desk:
    """What all routes share.

    Args:
        service: Cases, images, accounts.
        sightings: Who has looked at what.
        requests: What is counted.
        pages: Writes pages.
        guard: Tells who asks, for routes that anybody may use.
        attempts: How often somebody has failed to prove who he is.
        admitting: How many messages are taken in at once: each costs several times its length in memory.

    References:
        Our own.
    """

    service: Service
    sightings: Sightings
    requests: Requests
    pages: Pages
    guard: Guard
    attempts: Attempts
    admitting: CapacityLimiter
