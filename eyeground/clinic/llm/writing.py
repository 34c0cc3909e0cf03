"""Narratives written by a language model, or by the template where the model fails, lies or is not there."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from eyeground.clinic.llm.asking import NoAnswer, ask
from eyeground.clinic.llm.checking import faults
from eyeground.clinic.llm.circuit import Circuit
from eyeground.clinic.llm.lexicon import lexicon_of
from eyeground.clinic.llm.prompt import messages_of, schema_of
from eyeground.clinic.llm.providers import Provider
from eyeground.clinic.llm.reasons import told
from eyeground.clinic.llm.slots import Plan, clauses, fill
from eyeground.clinic.log import say

MOST_AT_ONCE: Final = 4


@dataclass(frozen=True)
class Written:
    """What a model's attempt came to.

    Args:
        texts: By name the texts; empty where nothing can be used.
        model: Provider and model; empty where none was asked.
        rejected: Why nothing can be used, as ``reasons.told`` says it.
        seconds: How long it took. Unit: s.
        told: How each fact is told, as ``slots.clauses`` says it.

    Example:
        >>> Written().texts
        {}

    References:
        Our own.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    rejected: tuple[Mapping[str, str], ...] = ()
    seconds: float = 0.0
    told: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class Writer:
    """Has narratives written, a few at a time, and checks them.

    Args:
        provider: Which service.
        key: Its key.
        deadline_s: How long a draft may take at most. Unit: s.
        circuit: Leaves a service alone that fails again and again.

    Example:
        >>> from eyeground.clinic.llm.providers import provider_of
        >>> Writer(provider_of("http://127.0.0.1:9/v1", model="m")).write(Plan("en", ())).rejected[0]["code"]
        'nothing'

    References:
        docs/clinic.md.
    """

    def __init__(
        self, provider: Provider, *, key: str = "", deadline_s: float = 30.0, circuit: Circuit | None = None
    ) -> None:
        self.provider, self.deadline_s = provider, deadline_s
        self.circuit = circuit or Circuit()
        self._key = key
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)

    def write(self, plan: Plan) -> Written:
        """Have a narrative written and checked.

        Args:
            plan: What it must hold.

        Returns:
            The texts with the facts in them; or why there are none.

        Raises:
            LookupError: If no narrative is written in the plan's language.
        """
        if not plan.open:
            return Written(rejected=(told("nothing"),))
        if not self._places.acquire(blocking=False):
            return Written(rejected=(told("busy"),))
        try:
            if not self.circuit.closed():
                return Written(rejected=(told("resting"),))
            return self._asked(plan)
        finally:
            self._places.release()

    def _asked(self, plan: Plan) -> Written:
        """Ask, and check what comes."""
        begin = time.monotonic()
        texts: Mapping[str, str] = {}
        clear: Mapping[str, tuple[str, str]] = {}
        try:
            prose = ask(self.provider, messages_of(plan), schema_of(plan), key=self._key, deadline_s=self.deadline_s)
        except NoAnswer as why:
            self.circuit.failed()
            say("llm_failed", code=why.code, status=why.status)
            rejected = [told(why.code)]
        else:
            self.circuit.worked()
            found = faults(plan, prose)
            for code in dict.fromkeys(fault.code for fault in found):
                say("llm_rejected", code=code)
            rejected = [told(fault.code, fault.section) for fault in found]
            if not found:
                texts = fill(replace(plan, end=lexicon_of(plan.language).note if plan.end else ""), prose)
                clear = clauses(plan, prose)
        seconds = round(time.monotonic() - begin, 3)
        return Written(texts, self.provider.title, tuple(rejected), seconds, clear)
