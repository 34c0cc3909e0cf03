"""Services that draft narratives, and what each of them takes."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from eyeground.clinic.safety import LOOPBACK

_PLACE: Final = Path(__file__).with_name("providers.toml")
# What an address is taken for that is no preset's: it asks the least of a server.
_PLAIN: Final = "local"


class ProviderRefused(ValueError):
    """Settings of a language model that cannot be used, or would be unsafe; the message names all faults."""


@dataclass(frozen=True)
class Provider:
    """A service that drafts narratives.

    Args:
        name: Key of ``providers.toml``.
        url: Where it answers.
        model: Which of its models.
        shape: How it is made to answer in JSON.
        limit: What the field for the longest answer is called.
        cool: Whether it takes a temperature.
        key: Whether it wants a key.
        extra: More fields of the request.

    Example:
        >>> provider_of("deepseek", key="k").shape
        'json_object'

    References:
        ``providers.toml`` beside this file.
    """

    name: str
    url: str
    model: str
    shape: Literal["json_schema", "json_object", "none"]
    limit: Literal["max_tokens", "max_completion_tokens"]
    cool: bool
    key: bool
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """As a draft names its author."""
        return f"{self.name} {self.model}"


@cache
def presets() -> Mapping[str, Provider]:
    """Read the presets.

    Returns:
        Name -> provider.

    Example:
        >>> sorted(presets())
        ['deepseek', 'local', 'openai', 'qwen']

    References:
        Our own.
    """
    told = tomllib.loads(_PLACE.read_text("utf-8"))
    return {name: Provider(name=name, **each) for name, each in told.items()}


def provider_of(base_url: str, *, model: str = "", key: str = "") -> Provider:
    """Find a provider.

    Args:
        base_url: A preset's name, or the address of an OpenAI-compatible service.
        model: Which of its models; empty = the preset's.
        key: Its key; whether there is one matters here, nothing else.

    Returns:
        The provider.

    Raises:
        ProviderRefused: If it is neither, no model is named, a key is missing, or a key would travel in the clear.

    Example:
        >>> provider_of("http://127.0.0.1:11434/v1", model="qwen3:8b").title
        'local qwen3:8b'
        >>> provider_of("http://llm.example/v1", key="k")
        Traceback (most recent call last):
        eyeground.clinic.llm.providers.ProviderRefused: a key is sent by https:// only...; name a model

    References:
        Our own.
    """
    parts = urlsplit(base_url)
    wrong = []
    if base_url in presets():
        found, url = presets()[base_url], presets()[base_url].url
    elif parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and not parts.query:
        url = base_url.rstrip("/")
        known = (each for each in presets().values() if f"{url}/".startswith(f"{each.url}/") and each.name != _PLAIN)
        found = next(known, presets()[_PLAIN])
        if key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            wrong.append("a key is sent by https:// only (http:// with a key only on this machine)")
    else:
        raise ProviderRefused(
            f"must be an address without user, password or query, or one of {', '.join(sorted(presets()))}"
        )
    model = model or found.model
    if not model:
        wrong.append("name a model")
    if found.key and not key:
        wrong.append("set a key")
    if wrong:
        raise ProviderRefused("; ".join(wrong))
    shaped = vars(found) | {"url": url, "model": model}
    return Provider(**shaped)
