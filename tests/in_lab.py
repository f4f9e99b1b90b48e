"""JupyterLab on loopback and a browser in front of it, for the tests that look at pages as a reader does.

Needs Chromium: one on the PATH, the one that the variable CHROMIUM names, or playwright's own (`playwright install chromium`).
"""
import contextlib, os, re, secrets, shutil, socket, subprocess, sys, time, urllib.error, urllib.request

import nbformat
from playwright.sync_api import Error, expect

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SETTINGS = {                                        # every cell on the page, and no question about news
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "apputils-extension/themes": f'{{"theme": "JupyterLab {os.environ.get("THEME", "light").title()}"}}',   # THEME=dark
}
KERNEL = dict(kernelspec=dict(name="python3", display_name="Python 3"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def status(url, seconds=60):
    "The HTTP status of `url`, once something listens there; None when nothing does for a minute."
    for _ in range(2 * seconds):
        try: return urllib.request.urlopen(url, timeout=30).status
        except urllib.error.HTTPError as error: return error.code
        except OSError: time.sleep(0.5)


@contextlib.contextmanager
def serve(root):
    "JupyterLab over a folder, with settings of its own; the address of a path in it, as a function."
    token, port = secrets.token_hex(16), free_port()
    for name, text in SETTINGS.items():
        path = root / f".config/lab/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    env = dict(os.environ, JUPYTER_CONFIG_DIR=str(root / ".config"), JUPYTER_DATA_DIR=str(root / ".data"),
               JUPYTERLAB_SETTINGS_DIR=str(root / ".config/lab"), JUPYTERLAB_WORKSPACES_DIR=str(root / ".config/workspaces"))
    log = root / "lab.log"
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
                               f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"], env=env, stdout=log.open("w"), stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        assert status(f"{url}/api?token={token}") == 200, log.read_text()
        yield lambda path: f"{url}/lab/tree/{path}?token={token}&reset"
    finally:
        server.terminate()                          # it ends its kernels one by one; without it they end by themselves
        try: server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def write(path, *sources):
    "A notebook of code cells."
    nbformat.write(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)), metadata=KERNEL), path)


def launched(playwright):
    "Chromium, or None and why there is none."
    try: return playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS), ""
    except Error as error: return None, error.message.splitlines()[0]


def run_all(page, url):
    "Open a notebook, run all of its cells, wait for the last one."
    page.goto(url)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=60_000)      # before that, Run All is lost
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt:not(.jp-Placeholder-prompt)")        # a folded cell shows no number
    expect(prompts.last).to_have_text(re.compile(r"\[\d+\]"), timeout=240_000)
    errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert errors.count() == 0, errors.first.inner_text()
    assert prompts.filter(has_text=re.compile(r"\[[ *]?\]")).count() == 0                     # every cell has run


def shoot(page, name):
    "Screenshots for people to look at, when SHOTS names a folder: the whole notebook, one screen at a time."
    if not (folder := os.environ.get("SHOTS")): return
    panel = page.locator(".jp-WindowedPanel-outer")
    height, view = panel.evaluate("e => [e.scrollHeight, e.clientHeight]")
    for i in range(-(-height // view)):
        panel.evaluate(f"e => e.scrollTop = {i * view}")
        page.wait_for_timeout(150)
        page.screenshot(path=f"{folder}/{name}-{i:02}.png")


CONTRAST = """e => { const look = getComputedStyle(e), light = colour => { const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(v => {
    v = v / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]; };
    const [a, b] = [light(look.color), light(look.backgroundColor)].sort((a, b) => b - a);
    return (a + 0.05) / (b + 0.05); }"""


def steppers(place): return place.locator(".stepper:has(input[type=range])")


def move(page, stepper):
    "A stepper shows one frame at a time, and moves by key, by button and by neither beyond its end."
    slider, shown = stepper.locator("input[type=range]"), stepper.locator(".frame:visible")
    slider.scroll_into_view_if_needed()
    first = shown.inner_text()
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(shown).to_have_count(1)
    second = shown.inner_text()
    assert second != first, "the stepper did not move"
    stepper.get_by_role("button", name="next").click()
    assert shown.inner_text() not in (first, second)
    stepper.get_by_role("button", name="back").click()
    assert shown.inner_text() == second
    slider.focus()
    page.keyboard.press("Home")
    stepper.get_by_role("button", name="back").click()
    assert shown.inner_text() == first
