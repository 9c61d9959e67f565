"""A headless Chromium, driven through a pipe with its DevTools protocol."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import suppress

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0  # seconds for an answer on a loaded machine

# It may run as root and without a large /dev/shm, as in a container; it only opens files of the tests.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def program():
    """The path of a Chromium or Chrome; None if neither is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def _apart(file):
    """Return another number for a file: Chromium expects its pipes at 3 and 4, which must be free until then."""
    other = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(file)
    return other


class Chromium:
    """A browser with one page. Messages are JSON, each followed by a zero byte."""

    def __init__(self, profile):
        commands, self._commands = map(_apart, os.pipe())
        self._answers, answers = map(_apart, os.pipe())
        redirect = f'exec "$@" 3<&{commands} 4>&{answers} {commands}<&- {answers}>&-'
        flags = (*FLAGS, f"--user-data-dir={profile}", "about:blank")
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, "chromium", program(), *flags],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile), "XDG_CONFIG_HOME": str(profile)},
        )
        os.close(commands)
        os.close(answers)
        self._numbers = itertools.count(1)
        self._text = bytearray()
        self._session = None
        self.events = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Call a method of the protocol; returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda found: found.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path):
        """Load a file; ``events`` are those since then."""
        self.events = []
        self.call("Page.navigate", url=path.as_uri())
        if not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._until(lambda found: found.get("method") == "Page.loadEventFired")
        self.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0))).then(() => 0)")

    def evaluate(self, expression):
        """Return the value of a JavaScript expression, in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def requests(self):
        """The addresses of all requests since the page was opened, except data URIs."""
        found = [event["params"]["request"]["url"] for event in self._of("Network.requestWillBeSent")]
        return [address for address in found if not address.startswith("data:")]

    def complaints(self):
        """Messages of the console since the page was opened: errors, warnings, exceptions, breaches of its policy."""
        methods = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event["params"] for method in methods for event in self._of(method)]

    def look(self, *, width=1280, height=900, dark=False, full=True):
        """Return a screenshot as the bytes of a PNG file."""
        self.view(width, height, dark=dark)
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=full)
        return base64.b64decode(shot["data"])

    def view(self, width, height=900, *, dark=False, mobile=False):
        """Set the size of the window and the colour scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def close(self):
        """End the browser."""
        with suppress(OSError):
            os.write(self._commands, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def _of(self, method):
        return [event for event in self.events if event["method"] == method]

    def _until(self, wanted):
        end = time.monotonic() + PATIENCE
        while True:
            message = self._message(end)
            if "method" in message:
                self.events.append(message)
            if wanted(message):
                return message

    def _message(self, end):
        while (stop := self._text.find(0)) < 0:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium did not answer in {PATIENCE:.0f} seconds"
            part = os.read(self._answers, 1 << 20)
            assert part, "Chromium ended"
            self._text += part
        message = json.loads(self._text[:stop])
        del self._text[: stop + 1]
        return message
