"""A model over HTTP: an image is posted, an answer comes back; and the page on which a person does the same."""

import asyncio
import math
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from eyeground.evaluate.wording import shown
from eyeground.serve.answering import Answering, Explain
from eyeground.serve.contract import Contract
from eyeground.serve.facts import model_facts, prediction_of
from eyeground.serve.limits import UploadLimits, WaitingRoom
from eyeground.serve.meters import Metered, Meters
from eyeground.serve.pages import FILES, HEADERS, SecurityHeaders, docs_policy, form_page, page_file
from eyeground.serve.predictor import NOTE, Predictor
from eyeground.serve.refused import Refused
from eyeground.serve.replies import refuse, responses
from eyeground.serve.runtime import RuntimePrecision
from eyeground.serve.shapes import Health, Language, ModelFacts, Prediction, Refusal

_PREDICT = "/predict"
_DOCS_FILES = "/docs-files"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {**_BINARY["schema"], "description": "The image file."}},
                "required": ["image"],
            }
        },
        **dict.fromkeys(("image/jpeg", "image/png", "image/tiff", "image/bmp", "application/dicom"), _BINARY),
    },
}


@dataclass(frozen=True)
class ServeSettings:
    """How much the service takes on.

    Args:
        max_bytes: Longest upload. Unit: bytes.
        most_waiting: Uploads at once that are being sent, wait, or are worked on.
        most_waiting_bytes: What they may hold in memory together. Unit: bytes.
        workers: Images decoded at once.
        timeout_s: Longest time for sending an upload, and again for answering it. Unit: s.
        precision: How the model's runtime computes, to be told with each answer.

    Raises:
        ValueError: If a number is not above 0, or the longest upload does not fit; all faults at once.

    Example:
        >>> ServeSettings(max_bytes=2**20).most_waiting
        128

    References:
        Our own.
    """

    max_bytes: int = 32 * 2**20
    most_waiting: int = 128
    most_waiting_bytes: int = 512 * 2**20
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    timeout_s: float = 60.0
    precision: RuntimePrecision = "fp32"

    def __post_init__(self) -> None:
        names = ("max_bytes", "most_waiting", "most_waiting_bytes", "workers", "timeout_s")
        wrong = [
            f"{name} is {getattr(self, name)}: it is a number above 0" for name in names if not getattr(self, name) > 0
        ]
        if not math.isfinite(self.timeout_s):
            wrong.append("timeout_s is no finite number")
        if self.max_bytes > self.most_waiting_bytes:
            wrong.append("most_waiting_bytes is less than max_bytes: the longest upload would never be let in")
        if wrong:
            raise ValueError("; ".join(wrong))


def make_app(predictor: Predictor, *, explain: Explain | None = None, settings: ServeSettings | None = None) -> FastAPI:
    """Make the service of one model.

    Nothing that was sent is stored, logged or repeated, but for the file's name, shortened, in its own answer.

    Args:
        predictor: The model. It stays the caller's, who closes its runtime afterwards.
        explain: Tells where the model looked; it is called in the thread in which the network computes. None = no heat
            maps.
        settings: How much it takes on.

    Returns:
        The app: ``POST /predict``, ``GET /model``, ``/healthz``, ``/readyz``, ``/metrics``, and for people ``/docs``
        and ``/``.

    Example:
        >>> import numpy as np
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
        >>> sorted(make_app(Predictor(contract, Even(), id="00")).openapi()["paths"])
        ['/healthz', '/metrics', '/model', '/predict', '/readyz']

    References:
        Our own.
    """
    chosen = ServeSettings() if settings is None else settings
    answering = Answering(
        predictor, explain, workers=chosen.workers, timeout_s=chosen.timeout_s, max_bytes=chosen.max_bytes
    )
    room = WaitingRoom(chosen.most_waiting, chosen.most_waiting_bytes)
    # A thread that nobody waits for any more is in flight, and in no room.
    meters = Meters(waiting=lambda: max(0, room.inside - answering.in_flight), in_flight=lambda: answering.in_flight)
    facts = model_facts(
        predictor, precision=chosen.precision, heat_maps=explain is not None, max_bytes=chosen.max_bytes
    )

    app = FastAPI(
        title="Eyeground",
        version=version("eyeground"),
        summary=NOTE["en"],
        description="Every refusal has one shape: a sentence (`error`) and a word for programs (`reason`).",
        lifespan=lambda _: _working(answering),
        docs_url=None,
        redirect_slashes=False,  # it would answer with the address that the sender claims
        redoc_url=None,
    )
    app.add_middleware(UploadLimits, room=room, waits=_PREDICT, max_bytes=chosen.max_bytes, timeout_s=chosen.timeout_s)
    app.add_middleware(Metered, meters=meters, path=_PREDICT)
    app.add_middleware(SecurityHeaders)
    _add_refusals(app)
    _add_answers(app, answering, predictor.contract, facts, chosen)
    _add_health(app, answering, meters)
    _add_pages(app, facts)
    return app


@asynccontextmanager
async def _working(answering: Answering) -> AsyncIterator[None]:
    """From the server's start to its end."""
    answering.open()
    warming = asyncio.ensure_future(answering.warm_up())
    yield
    warming.cancel()
    answering.close()


def _add_answers(
    app: FastAPI, answering: Answering, contract: Contract, facts: ModelFacts, settings: ServeSettings
) -> None:
    """What programs ask for."""

    @app.post(
        _PREDICT,
        summary="Ask the model about an image",
        responses=responses(408, 413, 415, 422, 500, 503, 504),
        response_model_exclude_unset=True,
        openapi_extra={"requestBody": _BODY},
    )
    async def predict(
        request: Request,
        heat_map: Annotated[bool, Query(description="Also tell where the model looked.")] = False,
        lang: Annotated[Language, Query(description="Language of the note, and of a refusal's sentence.")] = "en",
    ) -> Prediction:
        """Answer an image: a form with the field `image`, or the file itself as the body.

        An image that can be read and not graded is answered with `graded: false`, and `quality` says why.
        """

        async def gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                continue

        data, name = await _upload(request, settings.max_bytes)
        answer, looked = await answering.answer(data, name=name, heat_map=heat_map, gone=gone)
        request.state.outcome = "graded" if answer.gated.graded else "cannot_grade"
        return prediction_of(answer, looked, facts=facts, contract=contract, language=lang)

    @app.get("/model", summary="What the model is and answers")
    async def model() -> ModelFacts:
        return facts


def _add_health(app: FastAPI, answering: Answering, meters: Meters) -> None:
    """What those who run it ask for."""

    @app.get("/healthz", summary="Whether the service runs")
    async def healthz() -> Health:
        return Health()

    @app.get("/readyz", summary="Whether the model has answered a first image", responses=responses(503))
    async def readyz() -> Health:
        if not answering.ready:
            raise Refused("not_ready")
        return Health()

    @app.get(
        "/metrics",
        summary="Counts for Prometheus",
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(meters.page(), media_type=CONTENT_TYPE_LATEST)


def _add_pages(app: FastAPI, facts: ModelFacts) -> None:
    """What people open."""
    # Addresses without a leading slash work behind a proxy that serves this under a folder, too.
    docs = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Eyeground API",
        swagger_js_url=f"{_DOCS_FILES[1:]}/swagger-ui-bundle.js",
        swagger_css_url=f"{_DOCS_FILES[1:]}/swagger-ui.css",
        swagger_favicon_url=f"{_DOCS_FILES[1:]}/favicon.png",
    )
    docs.headers["Content-Security-Policy"] = docs_policy(bytes(docs.body).decode())
    app.mount(_DOCS_FILES, StaticFiles(packages=[("fastapi_offline", "static")]))

    @app.get("/docs", include_in_schema=False)
    async def docs_page() -> Response:
        return docs

    @app.get("/", include_in_schema=False)
    async def form(request: Request) -> HTMLResponse:
        asked = request.query_params.get("lang") or request.headers.get("accept-language", "")
        return HTMLResponse(form_page(facts, "zh" if asked.lower().startswith("zh") else "en"))

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        if name not in FILES:
            raise Refused("not_found")
        return Response(page_file(name), media_type=FILES[name])


def _add_refusals(app: FastAPI) -> None:
    """One shape for every refusal, whoever refuses."""

    async def refused(request: Request, error: Refused) -> Response:
        return refuse(error.reason, request.scope)

    async def query(request: Request, _: RequestValidationError) -> Response:
        return refuse("bad_request", request.scope)

    async def routing(request: Request, error: HTTPException) -> Response:
        reasons: dict[int, Refusal] = {404: "not_found", 405: "method_not_allowed"}
        return refuse(reasons.get(error.status_code, "bad_request"), request.scope, headers=error.headers)

    async def hung_up(request: Request, _: ClientDisconnect) -> Response:
        return refuse("hung_up", request.scope)

    async def failed(request: Request, _: Exception) -> Response:
        # It is made outside of all middleware.
        return refuse("failed", request.scope, headers=HEADERS)

    handlers: dict[type[Exception], Any] = {
        Refused: refused,
        RequestValidationError: query,
        HTTPException: routing,
        ClientDisconnect: hung_up,
        Exception: failed,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _upload(request: Request, max_bytes: int) -> tuple[bytes, str]:
    """Take the image and its name out of a request; nothing touches a disk."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/dicom":
        return await request.body(), ""
    if kind != "multipart/form-data":
        raise Refused("unsupported_media_type")
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=16, max_part_size=2**16)
    parser.spool_max_size = max_bytes + 1
    try:
        form = await parser.parse()
    except MultiPartException:
        raise Refused("bad_form") from None
    try:
        file = form.get("image")
        if not isinstance(file, UploadFile):
            raise Refused("no_image")
        return await file.read(), shown(re.split(r"[\\/]", file.filename or "")[-1])
    finally:
        await form.close()
