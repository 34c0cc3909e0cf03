"""The contract ``check``: paths of up to four images in, findings per part and eye out."""

from typing import Any, Final

from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange._fields import Fields
from eyeground.clinic.exchange._release import released
from eyeground.clinic.exchange.contract import parse
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.records import Order, Part, Picture
from eyeground.images.retinal_image import Eye

RECEIVES: Final = "check"
SENDS: Final = "result_check"
MOST_BYTES: Final = 2**20  # it holds paths, no images
_IMAGES: Final[tuple[tuple[str, Part, Eye], ...]] = (
    ("osFundusImg", "fundus", "OS"),
    ("odFundusImg", "fundus", "OD"),
    ("osAnteriorImg", "anterior", "OS"),
    ("odAnteriorImg", "anterior", "OD"),
)


def read(body: bytes) -> Order:
    """Read a request.

    An image that is absent, null or empty is not there; one at least has to be. Fields that are not agreed on are
    ignored: sites send more than they were asked for.

    Args:
        body: ``{id, osFundusImg, odFundusImg, osAnteriorImg, odAnteriorImg}``; the id is a number or a text.

    Returns:
        What is asked for.

    Raises:
        Refused: If it is no such request; everything that is wrong is told.

    Example:
        >>> read(b'{"id": 17, "odFundusImg": "17/od.jpg", "osFundusImg": null}').pictures[0].eye
        'OD'

    References:
        docs/clinic.md.
    """
    fields = Fields(parse(body, max_bytes=MOST_BYTES))
    identity, number = fields.id("id")
    pictures, sent = [], False
    for name, part, eye in _IMAGES:
        told = fields.value(name)
        if told is None or (isinstance(told, str) and not told.strip()):
            continue
        sent = True
        if not isinstance(told, str):
            fields.wrong("wrong_type", name)
            continue
        path = fields.path(name, told)
        pictures.append(Picture(part=part, eye=eye, path=path, name=path.rpartition("/")[2], field=name))
    if not sent:
        fields.wrong("no_image")
    fields.finish()
    # The answer names the id as the number it was.
    texts = {"id_type": "number"} if number else {}
    return Order(door="check", id=identity, texts=texts, pictures=tuple(pictures))


def answer(answered: Answered) -> dict[str, Any]:
    """Write the answer.

    What could not be answered is left out, and stands under ``unavailable`` with its reason; there is no zero that
    nobody said.

    Args:
        answered: What is known.

    Returns:
        ``{id, osFundusResult, odFundusResult, osAnteriorResult, odAnteriorResult}``, blocks without findings left out;
        ``unavailable`` by block, or ``block.finding``; ``unsigned: true`` where no doctor signed; ``amended: n`` where
        this is the n-th opinion.

    Example:
        >>> order = Order(door="check", id="17", texts={"id_type": "number"})
        >>> answer(Answered("0a", order, 1, values={"fundus/OD": {"DR": 2}}, unavailable={"fundus/OS": "no_image"}))
        {'id': 17, 'odFundusResult': {'DR': 2}, 'unavailable': {'osFundusResult': 'no_image'}}

    References:
        docs/clinic.md.
    """
    order, missing = answered.order, answered.unavailable
    told: dict[str, Any] = {"id": int(order.id) if order.texts.get("id_type") == "number" else order.id}
    unavailable = {}
    for name, part, eye in _IMAGES:
        key, block = f"{part}/{eye}", name.removesuffix("Img") + "Result"
        if key in missing:
            unavailable[block] = missing[key]
            continue
        said = answered.values.get(key, {})
        found = {}
        for finding in FINDINGS[part]:
            if f"{key}.{finding}" in missing:
                unavailable[f"{block}.{finding}"] = missing[f"{key}.{finding}"]
            elif finding in said:
                found[finding] = said[finding]
        if found:
            told[block] = found
    if unavailable:
        told["unavailable"] = unavailable
    return told | released(answered)
