"""A browser in a host of the lab, driven by the Chrome DevTools protocol over a pipe."""

import base64
import json
import os
import select
import time
from pathlib import Path
from typing import Any, Self

from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.wait import PATIENCE_S, wait_until

_SIZE = (1280, 900)


class Browser:
    """Chromium without a window, with one page open; use as a context manager."""

    def __init__(self, host: Host) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        folder = host.anchor.directory / f"browser-{os.urandom(4).hex()}"
        try:
            self._process = host.start(
                [
                    "chromium-headless-shell",
                    "--remote-debugging-pipe",
                    "--no-sandbox",  # it runs as root, and sees pages of the lab alone
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    f"--user-data-dir={folder}",
                    "--window-size={},{}".format(*_SIZE),
                ],
                name="browser",
                pass_fds=(commands, answers),
            )
        finally:
            os.close(commands)
            os.close(answers)
        self._read = b""
        self._sent = 0
        self._session = ""

    def __enter__(self) -> Self:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._commands)  # it ends by that
        os.close(self._answers)
        self._process.kill()

    def open(self, url: str) -> None:
        """Go to a page; it may still be loading."""
        answer = self._call("Page.navigate", url=url)
        if answer.get("errorText"):
            raise LabError(f"{url}: {answer['errorText']}")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page. Raises LabError."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise LabError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, *, timeout: float = PATIENCE_S) -> Any:
        """Wait until an expression is true in the page; return its value."""
        return wait_until(lambda: self.evaluate(expression), expression, timeout=timeout)

    def press(self, key: str, text: str = "") -> None:
        """Press a key by its name in the DOM, such as ``ArrowRight``; `text` is what it types."""
        named = {"key": key, "code": key, "text": text}
        self._call("Input.dispatchKeyEvent", type="keyDown", **named)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        self._call("Input.insertText", text=text)

    def prefer(self, **features: str) -> None:
        """Set what the user prefers, for example ``color_scheme="dark"``."""
        named = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value}
            for name, value in features.items()
        ]
        self._call("Emulation.setEmulatedMedia", features=named)

    def accessible(self) -> list[tuple[str, str]]:
        """Return role and name of all that a screen reader is told of."""
        self._call("Accessibility.enable")
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def screenshot(self, path: Path) -> None:
        """Write a picture of the page (PNG)."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        message: dict[str, Any] = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = json.loads(self._next_message(deadline))
            if answer.get("id") == self._sent:
                break
        if "error" in answer:
            raise LabError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next_message(self, deadline: float) -> bytes:
        while b"\0" not in self._read:
            if not select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise LabError(f"the browser does not answer:\n{self._process.tail(20)}")
            read = os.read(self._answers, 1 << 20)
            if not read:
                raise LabError(f"the browser ended:\n{self._process.tail(20)}")
            self._read += read
        message, _, self._read = self._read.partition(b"\0")
        return message
