"""A headless Chromium, asked through its debugging protocol: what a page logs, how wide it is, how it looks.

Needs a Chromium or Chrome on the machine and tornado, which comes with Dask; nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.record import DataAbsentError

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = {"phone": 390, "desktop": 1280}
SETTLE_S = 0.3  # after loading, for scripts that run late
PATIENCE_S = 60.0
ASK = """(() => {
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  const out = [...document.querySelectorAll('body *')].filter(e => {
    const r = e.getBoundingClientRect();
    if (r.width === 0 || r.right <= window.innerWidth + 1) return false;
    for (let p = e.parentElement; p; p = p.parentElement) {
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return false;
    }
    return true;
  });
  const shown = [...document.images].filter(i => i.getClientRects().length);
  return JSON.stringify({
    wide, out: out.slice(0, 3).map(e => e.tagName + '.' + e.className),
    without_alt: shown.filter(i => !i.alt && i.getAttribute('role') !== 'presentation')
      .map(i => i.src.slice(0, 80)),
    pictures: shown.length,
    title: document.title, text: document.body.innerText.length,
    small: [...document.querySelectorAll('p, li, td')].filter(e => e.innerText && e.getClientRects().length
      && parseFloat(getComputedStyle(e).fontSize) < 10).length,
  });
})()"""


@dataclass
class Seen:
    """What one page showed at one width."""

    page: str
    width: str
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def program() -> str:
    """The browser on this machine."""
    for name in (os.environ.get("NEUROTOOLS_BROWSER", ""), *NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise DataAbsentError("a Chromium or Chrome")


def look(pages: list[Path], pictures: Path | None = None) -> list[Seen]:
    """Open each page at every width; with ``pictures``, a folder that takes a picture of each."""
    return asyncio.run(_look(pages, pictures))


async def _look(pages: list[Path], pictures: Path | None) -> list[Seen]:
    found = []
    async with _browser() as tab:
        for page in pages:
            for width, pixels in WIDTHS.items():
                found.append(await tab.look(page, width, pixels, pictures))
    return found


class Tab:
    """One tab, spoken to over a socket."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.number = socket, 0
        self.events: list[dict[str, Any]] = []

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what comes before it are events."""
        self.number += 1
        await self.socket.write_message(
            json.dumps({"id": self.number, "method": method, "params": parameters})
        )
        while True:
            message = json.loads(await asyncio.wait_for(self.socket.read_message(), PATIENCE_S))
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self.events.append(message)

    async def wait_for(self, method: str) -> None:
        """Read events until one of this name came."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(json.loads(await asyncio.wait_for(self.socket.read_message(), PATIENCE_S)))

    async def look(self, page: Path, width: str, pixels: int, pictures: Path | None) -> Seen:
        """Open a page at a width, and note what it logs and asks for."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=pixels, height=900, deviceScaleFactor=1, mobile=width == "phone",
        )  # fmt: skip
        self.events.clear()
        await self.ask("Page.navigate", url=page.resolve().as_uri())
        await self.wait_for("Page.loadEventFired")
        await asyncio.sleep(SETTLE_S)
        answer = await self.ask("Runtime.evaluate", expression=ASK)
        seen = Seen(page.name, width, facts=json.loads(answer["result"]["value"]))
        for event in self.events:
            _note(event, seen)
        if pictures is not None:
            shot = await self.ask("Page.captureScreenshot", format="png")
            name = f"{page.parent.name}-{page.stem}-{width}.png"
            (pictures / name).write_bytes(base64.b64decode(shot["data"]))
        return seen


def _note(event: dict[str, Any], seen: Seen) -> None:
    method, parameters = event.get("method"), event.get("params", {})
    if method == "Runtime.exceptionThrown":
        seen.errors.append(str(parameters["exceptionDetails"].get("text")))
    elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
        seen.errors.append(
            " ".join(str(one.get("value", one.get("description"))) for one in parameters["args"])
        )
    elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
        seen.errors.append(parameters["entry"]["text"])
    elif method == "Network.requestWillBeSent":
        url = parameters["request"]["url"]
        if not url.startswith(("file:", "data:", "blob:", "about:")):
            seen.elsewhere.append(url)


@contextlib.asynccontextmanager
async def _browser() -> AsyncIterator[Tab]:
    from tornado.httpclient import AsyncHTTPClient
    from tornado.websocket import websocket_connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--allow-file-access-from-files", "--remote-debugging-port=0",
             f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            port = await _port(Path(profile) / "DevToolsActivePort", process)
            listed = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json")
            [tab, *_] = [entry for entry in json.loads(listed.body) if entry["type"] == "page"]
            socket = await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=1 << 28)
            opened = Tab(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await opened.ask(f"{domain}.enable")
            yield opened
            socket.close()
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # its own session, so only what it started
            process.wait()


async def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        await asyncio.sleep(0.05)
    raise RuntimeError("the browser did not start")
