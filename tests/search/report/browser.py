"""A headless Chromium driven over its debugging pipe: nothing to install but the browser."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update"),
)
SECONDS = 30.0
FIRST_FREE = 20  # descriptors 3 and 4 are to be the browser's
KEYS = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def executable() -> str | None:
    return next((found for found in map(shutil.which, NAMES) if found), None)


class Page:
    """One tab. Events of the browser are kept, among them console messages and requests."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer, self._number = write, read, b"", 0
        self.events: list[dict[str, Any]] = []
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Raises RuntimeError: the browser refuses, or does not answer in time."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            if not chunk:
                raise RuntimeError(f"the browser is gone or said nothing for {SECONDS} seconds")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def size(self, width: int, height: int, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[theme])

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str) -> Any:
        """The value of an expression, with plain spaces. Raises RuntimeError: it threw."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", "threw"))
        value = found["result"].get("value")
        return value.replace("\u00a0", " ") if isinstance(value, str) else value

    def wait(self, condition: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.run(condition):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{condition}: not within {SECONDS} seconds")
            time.sleep(0.02)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
            self.call("Input.dispatchKeyEvent", type=kind, **code, **text)

    def click(self, selector: str) -> None:
        """In the middle of the first element that the selector finds, scrolled into view."""
        script = f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2] }})()"""
        x, y = self.run(script)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, and every request but for files."""
        self.run("1")  # whatever is under way arrives before the answer
        found = []
        for event in self.events:
            method, what = event.get("method"), event.get("params", {})
            threw = method == "Runtime.exceptionThrown"
            logged = method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning")
            said = method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert")
            if threw or logged or said:
                found.append(json.dumps(what))
            elif method == "Network.requestWillBeSent" and not what["request"]["url"].startswith(("file:", "data:")):
                found.append(f"request: {what['request']['url']}")
        return found


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A page of a browser that keeps what it writes in the folder."""
    ours_read, theirs_write = _pipe()
    theirs_read, ours_write = _pipe()
    program = executable()
    assert program is not None
    null = os.open(os.devnull, os.O_RDWR)
    actions = [
        *((os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)),
        (os.POSIX_SPAWN_DUP2, theirs_read, 3),
        (os.POSIX_SPAWN_DUP2, theirs_write, 4),
    ]
    arguments = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    process = os.posix_spawn(program, arguments, os.environ, file_actions=actions, setpgroup=0)
    for descriptor in (theirs_read, theirs_write, null):
        os.close(descriptor)
    try:
        yield Page(ours_write, ours_read)
    finally:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(ours_read)
        os.close(ours_write)


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
