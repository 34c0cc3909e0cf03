"""From an upload's bytes to an answer: decoding in a few threads, the network in one, and nobody waits forever."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import numpy as np
from PIL import Image

from eyeground.serve.gate import Gated, gate_bytes
from eyeground.serve.predictor import Answer, Predictor
from eyeground.serve.refused import Refused, image_refusal

_LOG = logging.getLogger("eyeground.serve")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Looked:
    """Where the model looked.

    Args:
        method: How the map was made.
        png: The map over the image, with its legend.
        regions: Parts of the eye that stand out, words of ``explain.regions.TITLES``; none without evidence.
        caption: What it is and is not, by language.

    Example:
        >>> Looked("occlusion", b"", ("macula",), {"en": "where the model looked", "zh": "模型关注的位置"}).regions
        ('macula',)

    References:
        Our own.
    """

    method: str
    png: bytes
    regions: tuple[str, ...]
    caption: Mapping[str, str]


Explain = Callable[[Gated, Answer], Looked | None]


class Lane:
    """Threads for one kind of work. Who waits for one can leave; a thread that has begun ends before its place is free.

    So work that nobody waits for any more never adds up, which in a plain thread pool's queue it would.

    Args:
        name: Of the threads.
        workers: How many.

    Example:
        >>> asyncio.run(Lane("count", 1).do(lambda: 1 + 1))
        2

    References:
        Our own.
    """

    def __init__(self, name: str, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._free = asyncio.Semaphore(workers)
        self.busy = 0

    async def do(self, work: Callable[[], T]) -> T:
        """Do something in a thread, when one is free.

        Args:
            work: What.

        Returns:
            What it returns; what it raises is raised.
        """
        await self._free.acquire()
        try:
            begun = asyncio.get_running_loop().run_in_executor(self._pool, work)
        except RuntimeError:  # closed
            self._free.release()
            raise
        self.busy += 1
        begun.add_done_callback(self._ended)
        return await asyncio.shield(begun)

    def _ended(self, _: "asyncio.Future[T]") -> None:
        """Let the next one in."""
        self.busy -= 1
        self._free.release()

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Answering:
    """A model that answers uploads.

    Args:
        predictor: The model.
        explain: Tells where it looked; None where nothing can.
        workers: Images decoded at once.
        timeout_s: Longest time from the whole upload to the answer. Unit: s.
        max_bytes: Largest image. Unit: bytes.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import classification
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.serve.contract import Contract
        >>> class Even:
        ...     description = "all the same"
        ...     def outputs(self, images):
        ...         return np.zeros((len(images), 2), np.float32)
        ...     def close(self): ...
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")),
        ...                     False, Preprocessing(image_px=32), "center", "fundus", "00")
        >>> answering = Answering(Predictor(contract, Even(), id="00"), None, workers=1, timeout_s=60, max_bytes=2**20)
        >>> asyncio.run(answering.warm_up())
        >>> answering.ready
        True

    References:
        Our own.
    """

    def __init__(
        self, predictor: Predictor, explain: Explain | None, *, workers: int, timeout_s: float, max_bytes: int
    ) -> None:
        self._predictor, self._explain = predictor, explain
        self._workers, self._timeout_s, self._max_bytes = workers, timeout_s, max_bytes
        self.ready = False
        self.open()

    def open(self) -> None:
        """Take up work, again if it was closed."""
        self._decoding = Lane("decode", self._workers)
        self._network = Lane("network", 1)

    @property
    def in_flight(self) -> int:
        """Images being decoded or looked at by the network right now."""
        return self._decoding.busy + self._network.busy

    async def answer(
        self, data: bytes, *, name: str, heat_map: bool, gone: Callable[[], Awaitable[None]]
    ) -> tuple[Answer, Looked | None]:
        """Answer an upload.

        Args:
            data: The image file.
            name: What the sender calls it.
            heat_map: Whether to tell where the model looked.
            gone: Returns when the sender has hung up, if ever.

        Returns:
            The answer, of an image that cannot be graded without scores; and where the model looked, if that was asked
            and can be told.

        Raises:
            Refused: If the file cannot be read, the sender hangs up, it takes too long, or the service fails.
        """
        work = asyncio.ensure_future(self._work(data, name, heat_map))
        watch = asyncio.ensure_future(gone())
        try:
            await asyncio.wait({work, watch}, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Refused("hung_up" if watch.done() else "too_slow_to_answer")
            error = work.exception()
            if isinstance(error, Refused):
                return work.result()
            self.ready = error is None  # one that failed may be back at the next call, and one that answered fail
            if error is None:
                return work.result()
            _log(error)
            raise Refused("failed")
        finally:
            work.cancel()
            watch.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)

    async def warm_up(self) -> None:
        """Answer an image that nobody sent: what is slow the first time is then done, and the model is known to work.

        A failure is logged, and ``ready`` stays False.
        """
        contract = self._predictor.contract
        side = contract.preprocessing.image_px
        file = BytesIO()
        Image.new("RGB", (64, 64)).save(file, "PNG")
        blank = Gated("", "good", "", "", contract.modality, (np.zeros((side, side, 3), np.uint8),), None)
        work = asyncio.gather(
            self._decoding.do(lambda: gate_bytes(file.getvalue(), contract, name="")),
            self._network.do(lambda: self._ask(blank, heat_map=False)),
            return_exceptions=True,
        )
        failed = [each for each in await work if isinstance(each, BaseException)]
        for error in failed:
            _log(error)
        self.ready = not failed

    def close(self) -> None:
        """Begin nothing more; the model belongs to whoever opened it."""
        self.ready = False
        self._decoding.close()
        self._network.close()

    async def _work(self, data: bytes, name: str, heat_map: bool) -> tuple[Answer, Looked | None]:
        """Decode, then ask."""
        contract = self._predictor.contract
        gated = await self._decoding.do(lambda: gate_bytes(data, contract, name=name, max_bytes=self._max_bytes))
        if gated.problem:
            raise Refused(image_refusal(gated.quality))
        return await self._network.do(lambda: self._ask(gated, heat_map=heat_map))

    def _ask(self, gated: Gated, *, heat_map: bool) -> tuple[Answer, Looked | None]:
        """Let the network answer; in its one thread, for explaining uses it as well."""
        (answer,) = self._predictor.answer([gated])
        if gated.graded and not np.isfinite(answer.scores).all():
            raise ArithmeticError("the network gave a score that is no number")
        wanted = heat_map and gated.graded and self._explain is not None
        return answer, self._explain(gated, answer) if wanted and self._explain is not None else None


def _log(error: BaseException) -> None:
    """Tell where it failed; not the error's message, which may repeat what was sent."""
    place = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("no answer: %s\n%s", type(error).__name__, place)
