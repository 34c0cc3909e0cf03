"""The service as programs meet it: every status, and its own OpenAPI document, in this process."""

import asyncio
import base64
import io
import json
import logging
import time
from collections.abc import Awaitable
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode

from eyeground.serve.app import ServeSettings, make_app
from eyeground.serve.gate import gate_bytes

from .stand_in import (
    CAPTION,
    ByColor,
    assert_refused,
    contract_of,
    counts,
    dark,
    explain,
    photograph,
    predictor_of,
    scan,
    several,
    talk,
)

GOOD = photograph(seed=3)


def post(app: Any, content: bytes, *, name: str = "P7_left.png", **query: str) -> httpx.Response:
    """Post one form."""
    found: httpx.Response = talk(
        app, lambda client: client.post("/predict", files={"image": (name, content)}, params=query)
    )
    return found


def get(app: Any, path: str, **headers: str) -> httpx.Response:
    """Get one address."""
    found: httpx.Response = talk(app, lambda client: client.get(path, headers=headers))
    return found


def test_an_answer_is_that_of_the_predictor() -> None:
    contract = contract_of(calibrated=True)
    predictor = predictor_of(contract)
    reply = post(make_app(predictor), GOOD)
    assert reply.status_code == 200
    (answer,) = predictor.answer([gate_bytes(GOOD, contract, name="P7_left.png")])
    told = reply.json()
    assert told["model"] == {
        "id": "demo-0000", "weights_sha256": "1a2b" * 16, "runtime": "stand-in on cpu, fp32", "precision": "fp32",
    }  # fmt: skip
    assert told["note"] == "AI decision support, not a diagnosis"
    assert told["heat_map"] is None
    assert {name: told[name] for name in answer.to_json(contract)} == answer.to_json(contract)
    assert (told["eye"], told["quality"], told["heads"][0]["positive"]) == ("OS", "good", {"drusen": False})


def test_every_kind_of_head_is_told() -> None:
    contract = contract_of(several())
    predictor = predictor_of(contract)
    told = post(make_app(predictor), GOOD).json()
    (answer,) = predictor.answer([gate_bytes(GOOD, contract, name="P7_left.png")])
    assert told["heads"] == answer.to_json(contract)["heads"]
    assert [type(head["prediction"]) for head in told["heads"]] == [str, str, float]
    assert "set" not in told["heads"][0]


@pytest.mark.parametrize(
    ("content", "why"), [(dark(), "too dark"), (scan(), "wrong modality")], ids=["dark", "scan for photographs"]
)
def test_what_cannot_be_graded_gets_no_class(content: bytes, why: str) -> None:
    runtime = ByColor()
    reply = post(make_app(predictor_of(runtime=runtime), explain=explain), content, heat_map="true")
    told = reply.json()
    assert reply.status_code == 200
    assert (told["graded"], told["quality"], told["heat_map"]) == (False, f"cannot grade: {why}", None)
    assert [(head["prediction"], head["scores"]) for head in told["heads"]] == [(None, {})]
    assert runtime.answered == 1, "the warm-up only"


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/PNG; a=b", "image/anything", "application/dicom"])
def test_the_file_itself_may_be_the_body(kind: str) -> None:
    reply = talk(
        make_app(predictor_of()),
        lambda client: client.post("/predict", content=GOOD, headers={"Content-Type": kind}),
    )
    assert (reply.status_code, reply.json()["graded"], reply.json()["file"]) == (200, True, "")


def test_a_heat_map_comes_when_asked_for_and_only_then() -> None:
    app = make_app(predictor_of(), explain=explain)
    told = post(app, GOOD, heat_map="true", lang="zh").json()
    assert told["note"] == "AI 辅助，非诊断"
    assert told["heat_map"]["caption"] == CAPTION
    assert told["heat_map"]["regions"] == ["macula", "somewhere"]
    with Image.open(io.BytesIO(base64.b64decode(told["heat_map"]["png"]))) as picture:
        assert (np.asarray(picture)[:, -1, 0] == 255).all()
    assert post(make_app(predictor_of(), explain=explain), GOOD).json()["heat_map"] is None
    assert post(make_app(predictor_of()), GOOD, heat_map="true").json()["heat_map"] is None
    nothing = make_app(predictor_of(), explain=lambda gated, answer: None)
    assert post(nothing, GOOD, heat_map="true").json()["heat_map"] is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"patient 4711", "not_an_image"),
        (b"GIF89a" + bytes(20), "format_not_allowed"),
        (GOOD[:900], "truncated"),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_no_image_is_refused_in_a_sentence_that_repeats_nothing(
    content: bytes, reason: str, language: str
) -> None:
    reply = post(make_app(predictor_of()), content, name="4711.png", lang=language)
    assert_refused(reply, 422, reason, language)
    assert "4711" not in reply.text


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([("picture", ("a.png", GOOD))], "no_image"),
        ([("image", (None, "text"))], "no_image"),
        ([("image", ("a.png", GOOD)), ("image", ("b.png", GOOD))], "bad_form"),
        ([("image", ("a.png", GOOD)), *((f"f{n}", (None, "x")) for n in range(40))], "bad_form"),
        ([("image", ("a.png", GOOD)), ("note", (None, "x" * 2**17))], "bad_form"),
    ],
)
def test_a_form_that_is_not_as_asked_is_refused(files: Any, reason: str) -> None:
    reply = talk(make_app(predictor_of()), lambda client: client.post("/predict", files=files))
    assert_refused(reply, 422, reason)


@pytest.mark.parametrize(
    ("kind", "body", "status", "reason"),
    [
        ("multipart/form-data", b"x", 422, "bad_form"),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense", 422, "no_image"),
        ("multipart/form-data; boundary=b", b"nonsense", 422, "bad_form"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--", 422, "bad_form"),
        ("application/json", b"{}", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", b"image=1", 415, "unsupported_media_type"),
        ("", b"x", 415, "unsupported_media_type"),
    ],
)
def test_other_bodies_are_refused(kind: str, body: bytes, status: int, reason: str) -> None:
    reply = talk(
        make_app(predictor_of()),
        lambda client: client.post("/predict", content=body, headers={"Content-Type": kind} if kind else {}),
    )
    assert_refused(reply, status, reason)


@pytest.mark.parametrize("query", [{"lang": "fr"}, {"heat_map": "perhaps"}])
def test_a_query_that_is_not_understood_is_refused(query: dict[str, str]) -> None:
    assert_refused(post(make_app(predictor_of()), GOOD, **query), 422, "bad_request")


def test_addresses_and_methods_that_are_not_there() -> None:
    app = make_app(predictor_of())
    assert_refused(get(app, "/nowhere?lang=zh"), 404, "not_found", "zh")
    assert_refused(get(app, "/page/words.toml"), 404, "not_found")
    assert_refused(get(app, "/page/..%2fapp.py"), 404, "not_found")
    refused = get(app, "/predict")
    assert_refused(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize("how", ["form", "raw", "chunked"])
def test_too_large_is_too_large_however_it_is_sent(how: str) -> None:
    app = make_app(predictor_of(), settings=ServeSettings(max_bytes=2**16))
    big = bytes(2**16 + 1)

    async def pieces() -> Any:
        for start in range(0, len(big), 1000):
            yield big[start : start + 1000]

    def ask(client: httpx.AsyncClient) -> Awaitable[httpx.Response]:
        if how == "form":
            return client.post("/predict", files={"image": ("a.png", big)})
        body: Any = pieces() if how == "chunked" else big
        return client.post("/predict", content=body, headers={"Content-Type": "image/png"})

    assert_refused(talk(app, ask), 413, "too_large")


def test_nothing_is_written_to_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an upload was put into a file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    large = photograph(seed=3, size_px=512, kind="BMP") + bytes(2**20)
    assert len(large) > 2**20
    assert post(make_app(predictor_of()), large).status_code == 200


@pytest.mark.parametrize(
    ("sent", "kept", "eye"),
    [
        ("C:\\patients\\4711\\right.png", "right.png", "OD"),
        ("../../etc/P7_OS.png", "P7_OS.png", "OS"),
        ("a\u202egnp.png", "a\ufffdgnp.png", ""),
        ("x" * 300 + "_OD.png", "x" * 40 + "…" + "x" * 32 + "_OD.png", "OD"),
        ("右眼.png", "右眼.png", "OD"),
    ],
)
def test_names_are_shortened_printable_and_tell_the_eye(sent: str, kept: str, eye: str) -> None:
    told = post(make_app(predictor_of()), GOOD, name=sent).json()
    assert (told["file"], told["eye"]) == (kept, eye)


def test_answers_that_take_too_long_are_given_up() -> None:
    runtime = ByColor()
    app = make_app(predictor_of(runtime=runtime), settings=ServeSettings(timeout_s=0.5))

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)
        runtime.go_on.clear()
        try:
            return await client.post("/predict", files={"image": ("a.png", GOOD)})
        finally:
            runtime.go_on.set()

    assert_refused(talk(app, ask), 504, "too_slow_to_answer")


@pytest.mark.parametrize("fault", [KeyError("4711"), None], ids=["the runtime fails", "a score is no number"])
def test_a_failure_says_nothing_of_what_was_sent(fault: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    runtime = ByColor()
    if fault is None:
        runtime.outputs = lambda images: np.full((len(images), 3), np.nan, np.float32)  # type: ignore[method-assign]
    runtime.fault = fault
    with caplog.at_level(logging.DEBUG):
        reply = post(make_app(predictor_of(runtime=runtime)), GOOD, name="4711.png")
    assert_refused(reply, 500, "failed")
    ours = [each for each in caplog.records if each.name == "eyeground.serve"]
    assert ours
    assert not any("4711" in each.getMessage() for each in caplog.records if each.name != "httpx")
    assert ("KeyError" if fault else "ArithmeticError") in ours[-1].getMessage()


def test_a_fault_of_the_service_itself_keeps_its_shape_and_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("4711")

    monkeypatch.setattr("eyeground.serve.app.prediction_of", broken)
    reply = post(make_app(predictor_of()), GOOD)
    assert_refused(reply, 500, "failed")
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_ready_is_not_the_same_as_alive() -> None:
    runtime = ByColor()
    runtime.go_on.clear()
    app = make_app(predictor_of(runtime=runtime))

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        early = [await client.get("/readyz"), await client.get("/healthz")]
        runtime.go_on.set()
        while (late := await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)
        return [*early, late]

    early, alive, late = talk(app, ask)
    assert_refused(early, 503, "not_ready")
    assert "retry-after" in early.headers
    assert alive.json() == late.json() == {"status": "ok"}


def test_a_model_that_fails_its_first_image_is_never_ready(caplog: pytest.LogCaptureFixture) -> None:
    runtime = ByColor()
    runtime.fault = RuntimeError("broken")
    app = make_app(predictor_of(runtime=runtime))

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        for _ in range(500):
            if any(each.name == "eyeground.serve" for each in caplog.records):
                break
            await asyncio.sleep(0.02)
        return await client.get("/readyz")

    assert_refused(talk(app, ask), 503, "not_ready")
    assert "RuntimeError" in caplog.text


def test_the_model_is_told_with_titles_and_calibration() -> None:
    told = get(make_app(predictor_of(contract_of(calibrated=True)), explain=explain), "/model").json()
    assert (told["model"]["id"], told["modality"], told["calibrated"], told["heat_maps"]) == (
        "demo-0000", "fundus", True, True,
    )  # fmt: skip
    assert told["preprocessing"]["image_px"] == 32
    (head,) = told["heads"]
    assert head["classes"][1] == {"name": "cataract", "title": {"en": "Cataract", "zh": "白内障"}}
    assert [each["value"] for each in head["calibration"]["thresholds"]] == [0.25, None], "undefined is null, never 0"
    # The page takes the same facts as JSON of another writer, which would write NaN, and that no browser reads.
    page = get(make_app(predictor_of(contract_of(calibrated=True))), "/").text
    assert json.loads(page.partition('id="told">')[2].partition("</script>")[0], parse_constant=pytest.fail)
    several_heads = get(make_app(predictor_of(contract_of(several()))), "/model").json()
    assert [head["calibration"] for head in several_heads["heads"]] == [None] * 3
    assert several_heads["calibrated"] is False


def test_requests_are_counted_by_what_became_of_them_and_two_apps_do_not_mix() -> None:
    app, other = make_app(predictor_of(), settings=ServeSettings(max_bytes=2**17)), make_app(predictor_of())

    async def ask(client: httpx.AsyncClient) -> str:
        for content in (GOOD, GOOD, dark(), b"no image", bytes(2**18)):
            await client.post("/predict", files={"image": ("a.png", content)})
        await client.post("/predict", content=b"{}", headers={"Content-Type": "application/json"})
        await client.get("/predict")
        return (await client.get("/metrics")).text

    found = counts(talk(app, ask))
    outcomes = {name.split('"')[1]: value for name, value in found.items() if "requests_total{" in name}
    assert outcomes == {
        "graded": 2, "cannot_grade": 1, "not_an_image": 1, "too_large": 1, "unsupported_media_type": 1,
    }  # fmt: skip
    assert found['eyeground_images_total{verdict="graded"}'] == 2
    assert found['eyeground_images_total{verdict="cannot_grade"}'] == 1
    assert found["eyeground_request_seconds_count"] == 6
    assert (found["eyeground_waiting"], found["eyeground_in_flight"]) == (0, 0)
    reply = get(other, "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    assert not any("requests_total{" in name for name in counts(reply.text))


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/nowhere", "/page/form.js", "/docs-files/swagger-ui.css"])
def test_every_answer_carries_the_headers_that_keep_it_home(path: str) -> None:
    headers = get(make_app(predictor_of()), path, Origin="http://elsewhere").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy.replace("style-src 'self' 'unsafe-inline'", "" if path == "/docs" else "unsafe")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert not any(name.startswith("access-control") for name in headers)


def test_the_form_speaks_the_language_of_its_reader() -> None:
    app = make_app(predictor_of())
    assert '<html lang="zh"' in get(app, "/", **{"Accept-Language": "zh-CN,zh;q=0.9"}).text
    assert '<html lang="en"' in get(app, "/?lang=en", **{"Accept-Language": "zh-CN"}).text


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"timeout_s": float("inf")}, "no finite number"),
        ({"max_bytes": 2**30}, "never be let in"),
        ({"workers": 0, "most_waiting": -1}, "most_waiting is -1.*; workers is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ServeSettings(**wrong)


def test_every_refusal_of_the_document_has_the_one_shape() -> None:
    document = make_app(predictor_of()).openapi()
    found = {
        (path, status): each["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for path, methods in document["paths"].items()
        for method in methods.values()
        for status, each in method["responses"].items()
        if status != "200"
    }
    assert {status for path, status in found if path == "/predict"} == {
        "408", "413", "415", "422", "500", "503", "504",
    }  # fmt: skip
    assert set(found.values()) == {"Problem"}
    assert "Args:" not in json.dumps(document)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def documented(app: Any) -> Any:
    """What the document of an app promises."""
    # A schema can say that a body is bytes, not that the bytes are an image: for those 422 is the right answer, too.
    checks = {"positive_data_acceptance": {"expected-statuses": ["2xx", "422"]}}
    config = SchemathesisConfig.from_dict({"checks": checks})
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


def operations(document: Any) -> dict[str, Any]:
    """Operations by method and address."""
    return {each.ok().label: each.ok() for each in document.get_all_operations()}


def hold_to(operation: Any) -> None:
    """Ask an operation for what its document promises, and for what it does not."""

    @settings(max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def does(case: schemathesis.Case) -> None:
        case.call_and_validate()

    does()


NAMES = ("POST /predict", "GET /model", "GET /healthz", "GET /readyz", "GET /metrics")


@pytest.mark.parametrize("name", NAMES)
def test_the_service_does_what_its_document_says(name: str) -> None:
    found = operations(documented(make_app(predictor_of(), explain=explain)))
    assert set(found) == set(NAMES)
    while found["GET /readyz"].Case().call().status_code != 200:
        time.sleep(0.02)
    hold_to(found[name])


def test_a_service_that_breaks_its_promise_is_found_out() -> None:
    app = make_app(predictor_of())
    app.openapi()["paths"]["/model"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = {
        "type": "object",
        "required": ["color"],
    }
    with pytest.raises(FailureGroup) as caught:
        hold_to(operations(documented(app))["GET /model"])
    assert "color" in str(caught.value)
