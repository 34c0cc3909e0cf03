"""The contract ``report``: features and diseases per eye in, texts of a report out."""

from typing import Any, Final

from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange._fields import Fields
from eyeground.clinic.exchange._release import released
from eyeground.clinic.exchange.contract import parse
from eyeground.clinic.records import Order
from eyeground.clinic.report.settled import settled
from eyeground.clinic.report.text import draft_report

RECEIVES: Final = "report"
SENDS: Final = "result_report"
MOST_BYTES: Final = 2**20
MOST_LETTERS: Final = 4000  # of one text
LANGUAGE: Final = "zh"  # the sites of this contract write Chinese
ASKED: Final = (
    "osAnteriorFeatures", "odAnteriorFeatures", "osFundusFeatures", "odFundusFeatures",
    "osAnteriorDisease", "odAnteriorDisease", "osFundusDisease", "odFundusDisease",
)  # fmt: skip
ANSWERED: Final = ("anteriorReport", "anteriorInterpret", "fundusReport", "fundusInterpret")


def read(body: bytes) -> Order:
    """Read a request.

    Fields that are not agreed on are ignored; texts that are absent, null or empty are not there, and one at least has
    to be.

    Args:
        body: ``{id, osAnteriorFeatures, ..., odFundusDisease}``, each a text with commas between its items.

    Returns:
        What is asked for.

    Raises:
        Refused: If it is no such request; everything that is wrong is told.

    Example:
        >>> read('{"id": "17", "odFundusDisease": "糖尿病视网膜病变"}'.encode()).texts
        {'odFundusDisease': '糖尿病视网膜病变'}

    References:
        docs/clinic.md.
    """
    fields = Fields(parse(body, max_bytes=MOST_BYTES))
    identity, number = fields.id("id")
    texts = {name: fields.text(name, most=MOST_LETTERS, lines=True) for name in ASKED}
    if all(fields.value(name) is None or not texts[name] for name in ASKED) and not fields.problems:
        fields.wrong("empty")
    fields.finish()
    texts = {name: text for name, text in texts.items() if text}
    if number:
        texts["id_type"] = "number"
    return Order(door="report", id=identity, texts=texts)


def answer(answered: Answered) -> dict[str, Any]:
    """Write the answer.

    Args:
        answered: What is known.

    Returns:
        ``{id, anteriorReport, anteriorInterpret, fundusReport, fundusInterpret}``: the doctor's words, and none but
        those, where one signed, without the note that a draft is to be checked; else the draft. ``unsigned`` and
        ``amended`` as in ``check``.

    Example:
        >>> order = Order(door="report", id="17", texts={"odFundusDisease": "RVO"})
        >>> sorted(answer(Answered("0a", order, 0)))
        ['anteriorInterpret', 'anteriorReport', 'fundusInterpret', 'fundusReport', 'id', 'unsigned']

    References:
        docs/clinic.md.
    """
    order = answered.order
    if answered.opinion is not None and answered.revision:
        texts = {name: settled(text, marked=True) for name, text in answered.opinion.texts.items()}
    else:
        texts = draft_report({name: order.texts.get(name, "") for name in ASKED}, LANGUAGE)
    identity = int(order.id) if order.texts.get("id_type") == "number" else order.id
    return {"id": identity, **{name: texts.get(name, "") for name in ANSWERED}} | released(answered)
