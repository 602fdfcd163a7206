"""Opens pages in headless Chromium and clicks through them; complaints are the failure.

    browser.py EMPTY ONE USUAL FILM

Each is a run directory. The browser is spoken to by its DevTools protocol through two pipes: no port, no
driver, nothing to install. Screenshots go beside the run directories.
"""

import base64
import json
import os
import select
import subprocess
import sys
import tempfile
import time

# Widths from a phone to a wide screen.
WIDTHS = {"phone": 360, "tablet": 820, "wide": 1680}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--remote-debugging-pipe"]
# Longest that the largest page may take until it can be used, seconds. A guard against a page that hangs;
# the time itself is printed, because machines differ.
READY_SECS = 10.0


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
        code = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "Enter": 13, "Escape": 27}[name]
        for kind in ["rawKeyDown", "keyUp"]:
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)
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

    def complaints(self):
        """What the console, the network and dialogs had to say since the page was opened."""
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
            if method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(("file:", "data:")):
                found.append(said["request"]["url"])
        return found

    def nameless(self):
        """What a screen reader would come to and could not name."""
        asks = {"link", "button", "image", "slider", "heading", "region", "table", "DisclosureTriangle"}
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        seen = [node for node in nodes if not node.get("ignored") and node.get("role", {}).get("value") in asks]
        assert seen, "a page without anything to read"
        unnamed = {"table", "image"}  # Tables stand in named regions; faces beside names may say nothing.
        return [node for node in seen
                if not node.get("name", {}).get("value") and node["role"]["value"] not in unnamed]

    def close(self):
        self.session = None
        self.call("Browser.close")
        self.process.wait(30)


def url(run):
    return "file://" + os.path.join(os.path.abspath(run), "report/index.html")


def looks(browser, run):
    """Light and dark, from phone to wide: nothing sticks out, nothing complains, everything has a name."""
    for name, width in WIDTHS.items():
        for dark in (False, True):
            browser.size(width, dark)
            browser.open(url(run))
            browser.check("document.documentElement.dataset.ready === 'yes'")
            browser.check("document.documentElement.scrollWidth <= innerWidth")
            browser.check("[...document.images].every(image => image.hasAttribute('alt'))")
            # For the picture only: lazy ones far down would be blank.
            browser.js("Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode().catch(() => 0))))")
            scheme = "dark" if dark else "light"
            browser.picture(os.path.join(run, "..", f"{name}-{scheme}.png"))
            assert not browser.complaints(), browser.complaints()
    assert not browser.nameless(), browser.nameless()[:3]


def clicks(browser, run):
    browser.size(WIDTHS["wide"], False)
    browser.open(url(run))
    # A person's tracks open, with a picture, times and the next best person.
    browser.check("!document.querySelector('.card details').open")
    browser.click(".card summary")
    browser.check("document.querySelector('.card details').open")
    browser.check("document.querySelector('.card .tracks tbody tr').innerText.includes('Person')")
    # A bar of the timeline shows a face, and leads to its track.
    browser.hover(".bars a")
    browser.check("!document.getElementById('peek').hidden && document.querySelector('#peek img').naturalWidth > 0")
    browser.picture(os.path.join(run, "..", "peek.png"), whole=False)
    browser.click(".bars a")
    browser.check("document.getElementById(location.hash.slice(1)).closest('details').open")
    # So it does by keyboard.
    browser.js("location.hash = ''; document.querySelector('.timeline svg').focus()")
    browser.key("ArrowRight"), browser.key("ArrowRight")
    browser.check("document.querySelectorAll('.bars .on').length === 1 && !document.getElementById('peek').hidden")
    browser.key("Enter")
    browser.check("/^#t\\d+$/.test(location.hash) && document.activeElement.id === location.hash.slice(1)")
    # Leaves and branches of the tree show faces, and its cut moves.
    browser.hover(".tree .tip")
    browser.check("document.querySelectorAll('#peek img').length === 1")
    browser.js("document.querySelector('.tree svg').focus()")
    browser.key("ArrowRight")
    browser.check("document.querySelectorAll('.tree .on').length === 1")
    browser.key("Escape")
    browser.check("document.getElementById('peek').hidden")
    groups = "parseInt(document.querySelector('#cutter output').textContent)"
    before, place = browser.js(groups), browser.js("document.getElementById('cut').getAttribute('y1')")
    browser.js("document.getElementById('cut-at').focus()")
    browser.key("Home")
    tracks = browser.js("document.querySelectorAll('.tracks tbody tr').length")
    assert browser.js(groups) == tracks > before, "at 0 every track is a group of its own"
    browser.check(f"document.getElementById('cut').getAttribute('y1') > {place}")
    browser.check("document.querySelectorAll('.tree .split').length > 0")
    browser.click("#cutter button")
    assert browser.js(groups) == before
    # What should be checked first leads to the track.
    browser.js("location.hash = ''")
    browser.click("#check .pair a[href^='#t']")
    browser.check("document.getElementById(location.hash.slice(1)).closest('details').open")
    browser.check("document.querySelectorAll('script').length === 1")
    assert not browser.complaints(), browser.complaints()


def reads_without_script(browser, run):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(url(run))
    html = browser.call("DOM.getOuterHTML", nodeId=browser.call("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
    assert 'id="cutter" hidden' in html and "data-ready" not in html
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


def fast(browser, run):
    """From the start of loading until a click on a person's tracks has been answered."""
    browser.size(WIDTHS["wide"], False)
    took = []
    # Whatever else the machine does may slow one of three.
    for _ in range(3):
        browser.open(url(run))
        took.append(browser.js("""new Promise(done => {
            const details = document.querySelector(".card details");
            details.addEventListener("toggle", () => requestAnimationFrame(() => done(performance.now() / 1000)));
            details.firstElementChild.click(); })"""))
        browser.check("document.querySelectorAll('.tracks tbody tr').length === 5000")
    assert min(took) < READY_SECS, f"5,000 tracks can be used after {took} s"
    browser.picture(os.path.join(run, "..", "wide.png"), whole=False)
    assert not browser.complaints(), browser.complaints()
    return took


def main():
    empty, one, usual, film = sys.argv[1:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        for run in (empty, one, usual):
            looks(browser, run)
        clicks(browser, usual)
        reads_without_script(browser, usual)
        print(fast(browser, film))
        browser.close()


main()
