"""Presets, addresses, and what is refused before anything is asked."""

import pytest

from eyeground.clinic.llm.providers import ProviderRefused, presets, provider_of


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("deepseek", "deepseek"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.deepseek.com/v1", "deepseek"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1/", "qwen"),
        ("https://api.openai.com/v1", "openai"),
        ("https://api.openai.com.evil.example/v1", "local"),
        ("https://llm.example/v1", "local"),
    ],
)
def test_an_address_is_known_by_its_beginning(address: str, name: str) -> None:
    assert provider_of(address, model="m", key="k").name == name


@pytest.mark.parametrize(
    ("address", "model", "key", "said"),
    [
        ("nobody", "m", "k", "one of deepseek, local, openai, qwen"),
        ("ftp://x/v1", "m", "k", "must be an address"),
        ("https://user:pass@x/v1", "m", "k", "without user"),
        ("https://x/v1?key=1", "m", "k", "without user"),
        ("http://llm.example/v1", "m", "k", "https:// only"),
        ("local", "", "", "name a model"),
        ("openai", "", "", "set a key"),
    ],
)
def test_what_cannot_be_used_is_refused(address: str, model: str, key: str, said: str) -> None:
    with pytest.raises(ProviderRefused, match=said) as caught:
        provider_of(address, model=model, key=key)
    assert "pass" not in str(caught.value).replace("password", "")


def test_a_preset_has_all_it_needs() -> None:
    assert all(each.url.startswith("https://") for name, each in presets().items() if name != "local")
    assert presets()["deepseek"].shape != "json_schema"
