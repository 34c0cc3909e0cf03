"""A language model asked once, within a time that holds whatever its server does."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eyeground.clinic.exchange.contract import parse
from eyeground.clinic.llm.prompt import Message
from eyeground.clinic.llm.providers import Provider
from eyeground.clinic.refusal import Refused

if TYPE_CHECKING:
    import httpx2

MOST_BYTES: Final = 2**20
MOST_TOKENS: Final = 2000
_RETRIES: Final = 1
# How long a thread that cannot be stopped (a name server that is silent) is waited for beyond the deadline.
_GRACE_S: Final = 0.5


class NoAnswer(Exception):
    """A model that gave no answer that can be used.

    Args:
        code: A key of ``reasons.toml``.
        status: HTTP status, where there was one.

    Example:
        >>> NoAnswer("too_slow").code
        'too_slow'

    References:
        Our own.
    """

    def __init__(self, code: str, *, status: int = 0) -> None:
        super().__init__(code)
        self.code, self.status = code, status


class _Told(BaseModel):
    """What a model wrote."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    """One of its answers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    message: _Told
    finish_reason: str | None = None


class _Completion(BaseModel):
    """The answer of a service."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    choices: list[_Choice] = Field(min_length=1)


def ask(
    provider: Provider, messages: Sequence[Message], schema: Mapping[str, Any], *, key: str, deadline_s: float
) -> dict[str, str]:
    """Ask a model for an object of texts.

    Everything has to be over by the deadline: name, connection, a second try, and an answer that comes byte by byte.

    Args:
        provider: Which service, and what it takes.
        messages: What it is told.
        schema: What the answer has to look like.
        key: The service's key; empty where it wants none.
        deadline_s: How long it may take at most. Unit: s.

    Returns:
        Name -> text.

    Raises:
        NoAnswer: If there is none that can be used; it says why, and repeats nothing.

    Example:
        >>> from eyeground.clinic.llm.providers import provider_of
        >>> nobody = provider_of("http://127.0.0.1:9/v1", model="m")
        >>> ask(nobody, [Message(role="user", content="")], {}, key="", deadline_s=5.0)
        Traceback (most recent call last):
        eyeground.clinic.llm.asking.NoAnswer: unreachable

    References:
        Our own.
    """
    found: list[str] = []
    wrong: list[NoAnswer] = []

    def whole() -> None:
        try:
            found.append(asyncio.run(_within(provider, messages, schema, key, deadline_s)))
        except NoAnswer as why:
            wrong.append(why)
        except Exception:  # noqa: BLE001 - whatever a service brings about, the template stands in
            wrong.append(NoAnswer("unreachable"))

    thread = threading.Thread(target=whole, name="llm", daemon=True)
    thread.start()
    thread.join(deadline_s + _GRACE_S)
    if wrong:
        raise wrong[0]
    if not found:
        raise NoAnswer("too_slow")
    return _texts(found[0])


async def _within(
    provider: Provider, messages: Sequence[Message], schema: Mapping[str, Any], key: str, deadline_s: float
) -> str:
    """What the model wrote."""
    import openai

    # Its lines hold addresses and headers, and at DEBUG the whole conversation.
    for name in ("openai", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        async with (
            asyncio.timeout(deadline_s),
            openai.DefaultAsyncHttpxClient(
                follow_redirects=False, timeout=deadline_s, event_hooks={"response": [_cap]}
            ) as http,
            openai.AsyncOpenAI(
                base_url=provider.url, api_key=key or "none", http_client=http, max_retries=_RETRIES,
                timeout=deadline_s, default_headers={"Accept-Encoding": "identity"},
            ) as client,
        ):  # fmt: skip
            said: Any = list(messages)
            reply = await client.chat.completions.with_raw_response.create(
                model=provider.model, messages=said, **_fields(provider, schema)
            )
            return _written(reply.content)
    except (TimeoutError, openai.APITimeoutError):
        raise NoAnswer("too_slow") from None
    except openai.APIStatusError as error:
        raise NoAnswer("bad_status", status=error.status_code) from None
    except openai.APIConnectionError as error:
        cause = error.__cause__
        raise NoAnswer(cause.code if isinstance(cause, NoAnswer) else "unreachable") from None


def _fields(provider: Provider, schema: Mapping[str, Any]) -> dict[str, Any]:
    """What this service takes beside the conversation."""
    fields: dict[str, Any] = {provider.limit: MOST_TOKENS, "extra_body": dict(provider.extra)}
    if provider.cool:
        fields["temperature"] = 0.0
    if provider.shape == "json_object":
        fields["response_format"] = {"type": "json_object"}
    elif provider.shape == "json_schema":
        shape = {"name": "narrative", "strict": True, "schema": dict(schema)}
        fields["response_format"] = {"type": "json_schema", "json_schema": shape}
    return fields


async def _cap(response: "httpx2.Response") -> None:
    """Stop reading where an answer has no end, errors included; what is packed could unpack to anything."""
    from httpx2 import AsyncByteStream  # what openai >= 3 talks with

    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise NoAnswer("bad_answer")
    if not isinstance(response.stream, AsyncByteStream):
        raise NoAnswer("bad_answer")
    inner: AsyncByteStream = response.stream

    class Capped(AsyncByteStream):
        """A stream that stops."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            length = 0
            async for chunk in inner:
                length += len(chunk)
                if length > MOST_BYTES:
                    raise NoAnswer("too_large")
                yield chunk

        async def aclose(self) -> None:
            """Let go of the connection."""
            await inner.aclose()

    response.stream = Capped()


def _written(body: bytes) -> str:
    """The text in a service's answer."""
    try:
        choice = _Completion.model_validate(parse(body, max_bytes=MOST_BYTES)).choices[0]
    except (Refused, ValidationError):
        raise NoAnswer("bad_answer") from None
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise NoAnswer("held_back")
    if choice.finish_reason == "length":
        raise NoAnswer("cut_off")
    if not (choice.message.content or "").strip():
        raise NoAnswer("bad_answer")
    return choice.message.content or ""


def _texts(written: str) -> dict[str, str]:
    """The object that the text holds; services that nothing forces put a fence around it."""
    bare = written.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare[3:-3].removeprefix("json").strip()
    try:
        told = parse(bare.encode("utf-8", "replace"))
    except Refused:
        raise NoAnswer("bad_answer") from None
    if not all(isinstance(text, str) for text in told.values()):
        raise NoAnswer("bad_answer")
    return told
