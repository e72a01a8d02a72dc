"""Headless Chromium, driven over its DevTools protocol: open a page, evaluate JavaScript, take a picture.

The few calls that the tests need fit on this page, so no driver with a browser of its own has to be downloaded.
"""

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from rig.wait import until

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,1000",
    "--remote-debugging-port=0",
]


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        arguments = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = await self._call("Runtime.evaluate", arguments)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str, patience: float = 30.0) -> Any:
        """Evaluate until the value is truthy."""
        deadline = asyncio.get_running_loop().time() + patience
        while not (value := await self.evaluate(expression)):
            assert asyncio.get_running_loop().time() < deadline, f"never true: {expression}"
            await asyncio.sleep(0.05)
        return value

    async def screenshot(self, path: Path) -> None:
        """A PNG of what is visible."""
        answer = await self._call("Page.captureScreenshot", {"format": "png"})
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    async def look(self, width: int = 1280, height: int = 1000, scheme: str = "light") -> None:
        """Set the size of the tab and the preferred colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._call("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self._call("Emulation.setEmulatedMedia", {"features": features})

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await asyncio.wait_for(self._connection.recv(), 30))
            if answer.get("id") == number:
                result: dict[str, Any] = answer["result"]
                return result


@asynccontextmanager
async def page(address: str) -> AsyncIterator[Page]:
    """A tab that shows ``address``, in a new browser."""
    profile = Path(tempfile.mkdtemp(prefix="rowcast-chromium-"))
    process = _launch(profile, address)
    try:
        target = await asyncio.to_thread(until, partial(_tab, profile, address), "Chromium to open the page", 120)
        async with connect(target, max_size=None, proxy=None) as connection:
            yield Page(connection)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def _launch(profile: Path, address: str) -> subprocess.Popen[bytes]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "chromium is not installed"
    return subprocess.Popen(
        [chromium, *FLAGS, f"--user-data-dir={profile}", address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _tab(profile: Path, address: str) -> str | None:
    """The address for DevTools of the tab that shows the page, once there is one."""
    announced = profile / "DevToolsActivePort"
    if not announced.exists() or not (words := announced.read_text().split()):
        return None
    with urllib.request.urlopen(f"http://127.0.0.1:{words[0]}/json", timeout=10) as answer:
        tabs: list[dict[str, str]] = json.load(answer)
    return next((tab["webSocketDebuggerUrl"] for tab in tabs if tab["url"].startswith(address)), None)
