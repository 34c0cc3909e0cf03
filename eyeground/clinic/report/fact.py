"""The facts a report is made of, one by one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One fact with what it is called.

    Args:
        key: Its name for programs, the same in every language.
        label: Its name for people.
        text: What is said.

    Example:
        >>> Line("age", "Age", "63 years").text
        '63 years'

    References:
        Our own.
    """

    key: str
    label: str
    text: str


@dataclass(frozen=True)
class EyeFacts:
    """What the table of both eyes says of one.

    Args:
        eye: ``"OD"`` or ``"OS"``.
        title: What it is called.
        acuity: Visual acuity with notation and correction.
        pressure: Intraocular pressure with method and time.
        quality: Verdict on the images, a line per part that was looked at.
        grade: Grade of retinopathy, or why there is none.

    Example:
        >>> EyeFacts("OD", "Right eye (OD)", "0.8 (decimal)", "18 mmHg", (), "grade 2").eye
        'OD'

    References:
        Our own.
    """

    eye: str
    title: str
    acuity: str
    pressure: str
    quality: tuple[Line, ...]
    grade: str


@dataclass(frozen=True)
class PlaceFacts:
    """What is seen in one part of one eye.

    Args:
        key: ``"fundus/OD"`` and so on.
        label: What it is called.
        told: What is said of the whole part; empty where it is told by structure.
        structures: What is said of disc, macula, vessels and retina.

    Example:
        >>> PlaceFacts("anterior/OD", "Right eye (OD) anterior segment", "no image was sent.", ()).told
        'no image was sent.'

    References:
        Our own.
    """

    key: str
    label: str
    told: str
    structures: tuple[Line, ...]


@dataclass(frozen=True)
class Photo:
    """An image that stands in a report.

    Args:
        key: Which part of which eye it shows.
        label: What that is called.
        sha256: Of its bytes in the store.

    Example:
        >>> Photo("fundus/OD", "Right eye (OD) fundus", "00").key
        'fundus/OD'

    References:
        Our own.
    """

    key: str
    label: str
    sha256: str


@dataclass(frozen=True)
class Letterhead:
    """What stands around a report.

    Args:
        site: What the site is called.
        contact: Whom patients call.
        zone: Zone of the times.
        because: Why the version before was amended.
        received: When the request came, for a report of a visit whose time nobody told; UTC, ISO.
        photos: Images to be shown, the right eye first: part of the eye and hash.
        left_out: How many images of the case are not among them.

    Example:
        >>> Letterhead(site="Town Hospital").zone
        'UTC'

    References:
        Our own.
    """

    site: str = ""
    contact: str = ""
    zone: str = "UTC"
    because: str = ""
    received: str = ""
    photos: tuple[tuple[str, str], ...] = ()
    left_out: int = 0
