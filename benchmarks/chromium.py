"""Headless Chromium, driven over its DevTools pipe by a few lines: no package, no port, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The browser's program; None where there is none."""


@dataclass
class Page:
    """One tab.

    Attributes:
        send: to the browser.
        answers: from the browser.
        session: of the tab.
        console: errors and warnings that the page logged, and exceptions that nobody caught.
        requests: addresses that the page asked for, its own left out.
        finished: downloads that are whole.
    """

    send: IO[bytes]
    answers: IO[bytes]
    session: str = ""
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    finished: int = 0
    _count: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a DevTools method, and take note of the events that come before its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.send.write(json.dumps(message).encode() + b"\0")
        self.send.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, path: Path, *, ready: str = "document.documentElement.dataset.ready === 'yes'") -> None:
        """Open a file, and wait until `ready` holds."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        waiting = f"""new Promise((done) => {{
          const look = () => ({ready}) ? done(true) : setTimeout(look, 20);
          document.readyState === "complete" ? look() : addEventListener("load", look);
        }})"""
        assert self.evaluate(waiting)

    def key(self, key: str) -> None:
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def wait_for_download(self, before: int) -> None:
        """Wait until more downloads are whole than `before`."""
        while self.finished <= before:
            self._next()

    def size(self, width: int, height: int) -> None:
        """Give the window a size in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _next(self) -> dict[str, Any]:
        raw = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            if not byte:
                raise EOFError("the browser has ended")
            raw += byte
        event: dict[str, Any] = json.loads(raw)
        self._note(event.get("method", ""), event.get("params", {}))
        return event

    def _note(self, method: str, said: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(said["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.console.append(json.dumps(said["args"]))
        elif method == "Log.entryAdded":
            self.console.append(said["entry"]["text"])
        elif method == "Browser.downloadProgress":
            self.finished += said["state"] == "completed"
        elif method == "Network.requestWillBeSent":
            address = str(said["request"]["url"])
            self.requests += [] if address.startswith(("file:", "blob:", "data:")) else [address]


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A tab of a fresh browser, whose profile and downloads lie in `folder`."""
    assert CHROMIUM is not None
    read_there, write_here = os.pipe()
    read_here, write_there = os.pipe()
    options = (
        "--headless --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run --disable-dev-shm-usage"
    )
    command = f'exec "$0" {options} --user-data-dir="$1" 3<&{read_there} 4>&{write_there}'
    browser = subprocess.Popen(
        ["/bin/bash", "-c", command, CHROMIUM, str(folder / "profile")],
        pass_fds=(read_there, write_there),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_there)
    os.close(write_there)
    with os.fdopen(write_here, "wb") as send, os.fdopen(read_here, "rb") as answers:
        page = Page(send, answers)
        try:
            target = page.call("Target.createTarget", url="about:blank")["targetId"]
            (folder / "downloads").mkdir(parents=True, exist_ok=True)
            page.call(
                "Browser.setDownloadBehavior",
                behavior="allow",
                downloadPath=str(folder / "downloads"),
                eventsEnabled=True,
            )
            page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            yield page
        finally:
            browser.terminate()
            browser.wait()
