"""For whom a proxy on this machine asks is believed, so that one who guesses is not everybody behind the proxy."""

from pathlib import Path

import httpx
import pytest

from ..opened import account_of, open_service_in
from ..servers import free_port
from .web_process import running_web


@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8", "none"])
def test_who_waits_is_whom_the_proxy_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str) -> None:
    monkeypatch.setenv("EYEGROUND_CLINIC_TRUSTED_PROXIES", trusted)
    service = open_service_in(tmp_path / "home", queue_url="sql:")
    token = account_of(service, "li", "doctor")
    service.close()
    (tmp_path / "home").chmod(0o700)
    port = free_port()
    with running_web(tmp_path / "home", port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:

        def status(address: str, sent: str = "wrong") -> int:
            headers = {"Authorization": f"Bearer {sent}", "X-Forwarded-For": address}
            return client.get("/api/v1/cases", headers=headers).status_code

        assert [status("198.51.100.1") for _ in range(21)] == [401] * 20 + [429]
        if trusted == "none":
            assert status("198.51.100.2") == 429, "nobody is believed: all have the one address that they come from"
            return
        assert status("198.51.100.2") == 401, "another one behind the same proxy"
        assert status("198.51.100.7, 198.51.100.1") == 429, "what he says of himself before the proxy is not believed"
        assert status("198.51.100.1", token) == 200
