"""A real browser for tests of pages: headless Chromium, driven through its DevTools pipe."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import axe_core_python
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser_needed = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
# Name of a key -> its code, and what it types.
_NAMED = {
    "Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), "Space": (32, " "), "Backspace": (8, ""),
    "ArrowLeft": (37, ""), "ArrowUp": (38, ""), "ArrowRight": (39, ""), "ArrowDown": (40, ""),
    "PageUp": (33, ""), "PageDown": (34, ""), "Home": (36, ""), "End": (35, ""),
}  # fmt: skip


class Browser:
    """A headless Chromium, told what to do through its DevTools pipe; `renew` opens its page."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Chromium reads from 3 and writes to 4; high numbers first, so that neither lies in the other's way.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 50) for fd in (theirs_in, theirs_out)]
        self._process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
             f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(3, 4), preexec_fn=lambda: (os.dup2(high[0], 3), os.dup2(high[1], 4)),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self._in, self._out, self._rest, self._number, self._session = ours_in, ours_out, b"", 0, ""
        self._context = ""
        self.events: list[dict[str, Any]] = []

    def renew(self) -> None:
        """Close the page, whatever it is busy with, and open an empty one that knows nothing of it."""
        self._session = ""
        if self._context:
            self.do("Target.disposeBrowserContext", browserContextId=self._context)
        self._context = self.do("Target.createBrowserContext")["browserContextId"]
        page = self.do("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            self.do(f"{domain}.enable")
        self.events.clear()

    def _next(self, seconds: float = 150) -> dict[str, Any]:
        """Read a message."""
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], seconds)[0], "the browser does not answer"
            part = os.read(self._in, 2**20)
            assert part, "the browser is gone"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told

    def do(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command, wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (told := self._next()).get("id") != self._number:
            self.events.append(told)
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    def open(self, url: str, *, width: int = 1280, height: int = 800) -> None:
        """Load a page, whole."""
        self.events.clear()
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.do("Page.navigate", url=url)
        self.loaded()

    def loaded(self) -> None:
        """Wait until a page that was asked for is there, whole."""
        self.happened("Page.loadEventFired")

    def happened(self, event: str) -> None:
        """Wait for an event, unless it has come already."""
        while not any(each["method"] == event for each in self.events):
            self.events.append(self._next())

    def evaluate(self, script: str) -> Any:
        """Ask the page."""
        told = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def choose(self, file: Path, state: str) -> None:
        """Choose a file, and wait until the page is in a state."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.do("DOM.setFileInputFiles", files=[str(file)], nodeId=node)
        self.until(f"document.getElementById('answer').dataset.state === '{state}'")

    def press(self, *keys: str) -> None:
        """Press keys one after the other: a character, or a name such as Tab, Enter, Escape, Shift+Tab."""
        for each in keys:
            held, _, key = each.rpartition("+") if len(each) > 1 else ("", "", each)
            code, text = _NAMED.get(key, (ord(key.upper()) if len(key) == 1 else 0, key if len(key) == 1 else ""))
            shift = 8 if held == "Shift" or (len(key) == 1 and key.isupper()) else 0
            told = {"key": key, "windowsVirtualKeyCode": code, "modifiers": shift}
            self.do("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **told)
            self.do("Input.dispatchKeyEvent", type="keyUp", **told)

    def write(self, text: str) -> None:
        """Type a text where the focus is."""
        self.do("Input.insertText", text=text)

    def axe(self) -> list[str]:
        """Faults of accessibility that axe-core calls serious or critical, each with the place."""
        self.evaluate(Path(axe_core_python.__file__).with_name("axe.min.js").read_text("utf-8") + "; true")
        told = self.evaluate("axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)")
        return [
            f"{each['id']} ({each['impact']}): {node['html'][:160]}"
            for each in told
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def until(self, condition: str) -> None:
        """Wait until something holds."""
        for _ in range(300):
            if self.evaluate(condition):
                return
            time.sleep(0.1)
        raise AssertionError(f"never came true: {condition}; {self.evaluate('document.body.innerText')}")

    def text(self) -> str:
        """What is to be read."""
        return str(self.evaluate("document.body.innerText"))

    def complaints(self) -> list[str]:
        """Errors of scripts and breaches of the policy; a refusal by the service is none."""
        self.evaluate("1")
        found = [each["params"] for each in self.events if each["method"] == "Runtime.exceptionThrown"]
        found += [
            each["params"]["entry"]
            for each in self.events
            if each["method"] == "Log.entryAdded" and each["params"]["entry"]["source"] != "network"
        ]
        found += [
            each["params"]
            for each in self.events
            if each["method"] == "Runtime.consoleAPICalled" and each["params"]["type"] in ("error", "warning")
        ]
        return [json.dumps(each) for each in found]

    def picture(self, name: str) -> None:
        """Keep a screenshot where the environment says so, for people to look at."""
        if folder := os.environ.get("EYEGROUND_SHOTS"):
            shot = self.do("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(shot))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
