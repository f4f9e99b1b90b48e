"""Chapters in a real browser: JupyterLab on loopback, Run All, no cell raises, what should move moves.

Needs Chromium: one on the PATH, the one that the variable CHROMIUM names, or playwright's own (`playwright install chromium`).
"""
import os, re, secrets, shutil, signal, socket, subprocess, sys, time, urllib.error, urllib.request
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Error, expect, sync_playwright

NBS = Path(__file__).resolve().parent.parent / "nbs"
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SETTINGS = {                                        # every cell on the page, and no question about news
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}


EXPLORE = [                                         # one of each thing that moves, on a page of their own
    "from foundations.explore import *",
    "matmul_stepper([[1, 2, 3], [4, 5, 6]], [[1, 0], [2, 1], [0, 3]])",
    "matmul_grad_stepper([[1, 2], [-1, 3]], [[1, 2, 0], [4, 5, 6]], [[1, 0], [2, 1], [0, 3]])",
    "broadcast_stepper((8, 1, 28, 3), (5, 1, 3))",
    "expression_stepper('x*x + 2*x', 'x = 3')",
    "class Value(list): g = None\na, b = Value([1.0, -2]), Value([-1.0])\na.g = Value([1.0, 1.0])\nchain_stepper({'a': a, 'b': b}, ['sum'], [{}])",
    "matmul_box('[[1, 2]]', '[[3], [4]]')",
    "broadcast_box()",
    "strides_box()",
    "graph_box()",
    "score_sliders()",
]


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


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "A JupyterLab on loopback over a copy of nbs/, with settings of its own; its address as a function of a path."
    root, token, port = tmp_path_factory.mktemp("lab"), secrets.token_hex(16), free_port()
    shutil.copytree(NBS, root / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in EXPLORE])
    nbformat.write(page, root / "explore.ipynb")
    for name, text in SETTINGS.items():
        path = root / f".config/lab/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    env = dict(os.environ, JUPYTER_CONFIG_DIR=str(root / ".config"), JUPYTER_DATA_DIR=str(root / ".data"),
               JUPYTERLAB_SETTINGS_DIR=str(root / ".config/lab"), JUPYTERLAB_WORKSPACES_DIR=str(root / ".config/workspaces"))
    log = root / "lab.log"
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
                               f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"], env=env, stdout=log.open("w"), stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        assert status(f"{url}/api?token={token}") == 200, log.read_text()
        yield lambda path: f"{url}/lab/tree/{path}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as p:
        try: chromium = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        except Error as error: pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.mark.skipif(not shutil.which("make") or Path(sys.prefix) != NBS.parent / ".venv", reason="not set up by make")
def test_make_lab_serves_the_first_chapter():
    "The address that `make lab` prints leads to chapter 1, and the notebook is there."
    port, token = free_port(), secrets.token_hex(16)
    server = subprocess.Popen(["make", "lab", f"ARGS=--no-browser --ip=127.0.0.1 --port={port} --IdentityProvider.token={token}"], cwd=NBS.parent,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        printed = next(line for line in server.stdout if "/lab" in line and "token=" in line)
        assert f"127.0.0.1:{port}/lab/tree/nbs/01_matmul.ipynb" in printed
        assert status(f"http://127.0.0.1:{port}/api/contents/nbs/01_matmul.ipynb?content=0&token={token}") == 200
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def run_all(page, url):
    "Open a notebook, run all of its cells, wait for the last one."
    page.goto(url)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=60_000)      # before that, Run All is lost
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    expect(prompts.last).to_have_text(re.compile(r"\[\d+\]"), timeout=240_000)
    errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert errors.count() == 0, errors.first.inner_text()
    assert prompts.filter(has_text=re.compile(r"\[[ *]?\]")).count() == 0                     # every cell has run


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport=dict(width=1300, height=1000))
    yield page
    page.close()


def shoot(page, name):
    "Screenshots for people to look at, when SHOTS names a folder: the whole notebook, one screen at a time."
    if not (folder := os.environ.get("SHOTS")): return
    panel = page.locator(".jp-WindowedPanel-outer")
    height, view = panel.evaluate("e => [e.scrollHeight, e.clientHeight]")
    for i in range(-(-height // view)):
        panel.evaluate(f"e => e.scrollTop = {i * view}")
        page.wait_for_timeout(150)
        page.screenshot(path=f"{folder}/{name}-{i:02}.png")


@pytest.mark.parametrize("notebook", sorted(p.name for p in NBS.glob("[0-9]*.ipynb")))
def test_chapter_runs_in_the_browser(lab, page, notebook):
    run_all(page, lab(f"nbs/{notebook}"))
    images = page.locator(".jp-OutputArea img")
    assert images.count() and all(image.evaluate("e => e.complete && e.naturalWidth > 0") for image in images.all())
    assert [image.evaluate("e => e.outerHTML.slice(0, 200)") for image in images.all() if not image.get_attribute("alt")] == []
    for stepper in page.locator(".stepper").all(): move(page, stepper)
    for slider in page.locator(".widget-hslider").all(): slide(page, slider)
    shoot(page, notebook.removesuffix(".ipynb"))


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


def slide(page, slider):
    "A slider of ipywidgets draws its figure anew, and back again."
    output = slider.locator("xpath=ancestor::div[contains(concat(' ', @class, ' '), ' jp-OutputArea-output ')][1]")
    picture, handle = output.locator("img"), slider.locator(".noUi-handle")
    picture.wait_for()
    first = picture.get_attribute("alt")
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    there, back = ("ArrowLeft", "ArrowRight") if at_end else ("ArrowRight", "ArrowLeft")
    handle.focus()
    page.keyboard.press(there)
    expect(picture).not_to_have_attribute("alt", first, timeout=20_000)
    page.keyboard.press(back)
    expect(picture).to_have_attribute("alt", first, timeout=20_000)
