"""Headless Chromium, spoken to by its DevTools protocol through two pipes: no port, no driver, nothing to install."""

import base64
import json
import os
import select
import subprocess
import sys
import time

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--remote-debugging-pipe"]


class PageLeft(Exception):
    """The browser went to another page while a call was under way."""


class Browser:
    def __init__(self, folder):
        (theirs_in, self.to), (self.of, theirs_out) = os.pipe(), os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4.
        shell = f'exec chromium "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = ["sh", "-c", shell, "sh", *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stdin=quiet, stdout=quiet, stderr=quiet)
        os.close(theirs_in), os.close(theirs_out)
        self.buffer, self.last_id, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility", "DOM"]:
            self.call(domain + ".enable")

    def message(self):
        end = time.monotonic() + 60
        while b"\0" not in self.buffer:
            if not select.select([self.of], [], [], max(0, end - time.monotonic()))[0]:
                sys.exit("the browser does not answer")
            data = os.read(self.of, 1 << 20)
            if not data:
                sys.exit("the browser has gone")
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.last_id += 1
        command = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.to, json.dumps(command).encode() + b"\0")
        while (message := self.message()).get("id") != self.last_id:
            self.events.append(message)
        if "navigated or closed" in message.get("error", {}).get("message", ""):
            raise PageLeft
        assert "error" not in message, f"{method}: {message['error']}"
        return message["result"]

    def open(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self.message())

    def js(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def is_so(self, expression):
        """Whether an expression is true; not while the browser goes to another page."""
        try:
            return self.js(expression)
        except PageLeft:
            return False

    def check(self, expression):
        assert self.js(expression), f"not so: {expression}"

    def middle(self, selector):
        """Where an element is, after scrolling to it."""
        place = self.js(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{ block: "center", inline: "center", behavior: "instant" }}); const b = e.getBoundingClientRect();
            return [b.x + b.width / 2, b.y + b.height / 2]; }})()""")
        self.settle()
        return dict(x=place[0], y=place[1])

    def settle(self):
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def hover(self, selector):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **self.middle(selector))
        self.settle()

    def click(self, selector):
        place = self.middle(selector)
        for kind in ["mousePressed", "mouseReleased"]:
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
        self.settle()

    def key(self, name):
        code = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "Enter": 13, "Escape": 27, "Tab": 9, " ": 32}.get(name)
        text = {"Enter": "\r", " ": " "}.get(name, name if code is None else "")
        for kind in ["keyDown" if text else "rawKeyDown", "keyUp"]:
            extra = dict(text=text) if text and kind == "keyDown" else {}
            virtual = code or ord(name.upper())
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=virtual, **extra)
        self.settle()

    def type(self, text):
        self.call("Input.insertText", text=text)
        self.settle()

    def size(self, width, dark):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still])

    def picture(self, path, whole=True):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def complaints(self, own=("file:", "data:")):
        """What the console, the network and dialogs had to say since the page was opened; `own` are beginnings of
        addresses that the page may load."""
        self.settle()
        found = []
        for event in self.events:
            method, said = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown" or method == "Page.javascriptDialogOpening":
                found.append(said)
            if method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
                found.append(said)
            if method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
                found.append(said["entry"])
            if method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(own):
                found.append(said["request"]["url"])
        return found

    def nameless(self):
        """Parts of the page that a screen reader reaches but cannot name."""
        asks = {"link", "button", "image", "slider", "heading", "region", "table", "DisclosureTriangle"}
        unnamed = {"table", "image"}  # Tables stand in named regions; faces beside names may say nothing.
        # The tree follows the page after a while, on a busy machine after a long one.
        for _ in range(40):
            nodes = self.call("Accessibility.getFullAXTree")["nodes"]
            seen = [node for node in nodes if not node.get("ignored") and node.get("role", {}).get("value") in asks]
            found = [node for node in seen
                     if not node.get("name", {}).get("value") and node["role"]["value"] not in unnamed]
            if seen and not found:
                break
            time.sleep(0.5)
        assert seen, "a page without anything to read"
        return found

    def close(self):
        self.session = None
        self.call("Browser.close")
        self.process.wait(30)
