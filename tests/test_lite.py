"""The notebooks in a browser that runs them by itself (`make lite`): built, then opened from a server that only hands out files.

The environment that builds it is that of `make lite`, set up here if need be; where that cannot be done, the tests are skipped and say why (in CI they fail).
With PYODIDE_URL, a folder that holds a whole Pyodide, chapter 1 runs from top to bottom; without, as far as Python goes without NumPy, which is published elsewhere: these tests ask for nothing from elsewhere.
"""
import functools, http.server, json, os, re, shutil, subprocess, sys, threading, tomllib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from in_lab import expect, run_all

ROOT = Path(__file__).resolve().parent.parent
WHOLE = Path(os.environ.get("PYODIDE_URL") or "/dev/null").is_dir()
PYODIDE = "static/pyodide"


def without_network(why):
    "Who works without one goes on without these tests; CI has one, and would not notice."
    (pytest.fail if os.environ.get("CI") else pytest.skip)(why)


def python():
    "One that has what builds it: this one, or that of `make lite`, which is left as it is where nothing is to be done."
    if find_spec("jupyterlite_core"): return sys.executable
    if not shutil.which("make") or os.name == "nt": pytest.skip("what builds it is set up by make")
    done = subprocess.run(["make", "-o", ".venv/.ok", ".venv/lite/.ok"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode: without_network(f"the environment of `make lite` could not be set up: {done.stderr[-500:]}")
    return ROOT / ".venv/lite/bin/python"


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "lite"
    done = subprocess.run([python(), "docs/lite.py", out], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 3: without_network(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def packages(lite): return json.loads((lite / PYODIDE / "pyodide-lock.json").read_text(encoding="utf-8"))["packages"]


def test_every_chapter_is_there_with_its_pictures(lite):
    for path in (*(ROOT / "nbs").glob("[0-9]*.ipynb"), *(ROOT / "nbs/images").iterdir()): assert (lite / "files" / path.relative_to(ROOT / "nbs")).is_file(), path
    listed = json.loads((lite / "api/contents/all.json").read_text(encoding="utf-8"))["content"]
    assert {p.name for p in (ROOT / "nbs").glob("[0-9]*.ipynb")} <= {entry["name"] for entry in listed}
    assert not list(lite.rglob("exercises/chapter*.ipynb"))                   # the answers are read in the repository


def test_what_the_kernel_starts_with_lies_beside_it(lite, packages):
    asked = ["micropip", "piplite", "ipykernel", "comm", "pyodide-kernel", "jedi", "ipython"]
    for name in asked:
        assert (lite / PYODIDE / packages[name]["file_name"]).is_file(), name
        asked += [below.replace("_", "-") for below in packages[name]["depends"] if below.replace("_", "-") not in asked]
    assert (lite / PYODIDE / packages["foundations-from-scratch"]["file_name"]).is_file()


def test_what_the_package_stands_on_comes_with_it(packages):
    asked = {re.match(r"[\w-]+", line)[0] for line in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]}
    assert asked - {"pooch"} < {*packages["foundations-from-scratch"]["depends"]}               # which fetches: no page does


def test_numpy_comes_from_one_place(lite, packages):
    places = {p["file_name"].rpartition("/")[0] for p in packages.values() if "://" in p["file_name"]}
    if WHOLE: assert (lite / PYODIDE / packages["numpy"]["file_name"]).is_file()
    else: assert len(places) == 1 and "://" in packages["numpy"]["file_name"]


@pytest.mark.parametrize("name, link", [("01_matmul", "lite/lab/index.html?path=01_matmul.ipynb"), ("tools/timing", "../lite/lab/index.html?path=tools/timing.ipynb"),
                                        ("index", None), ("api/foundations.shapes", None)])
def test_a_page_has_a_button_where_the_notebooks_run_beside_it(lite, monkeypatch, name, link):
    monkeypatch.syspath_prepend(ROOT / "docs")
    from conf import run_here
    for along in (True, False):
        app, context = SimpleNamespace(tags=SimpleNamespace(has=lambda tag: along and tag == "lite")), {"header_buttons": []}
        run_here(app, name, "page.html", context, None)
        assert [button["url"] for button in context["header_buttons"]] == ([link] if along and link else [])
    assert not link or ((lite / "files" / f"{name}.ipynb").is_file() and (lite / "lab/index.html").is_file())


# ---- in a browser ----

@pytest.fixture(scope="module")
def at(lite):
    "The address of a notebook in JupyterLab; the server is one for files."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass

        def do_GET(self):                                                     # Chromium asks for an icon by itself
            if self.path == "/favicon.ico": self.send_response(204), self.end_headers()
            else: super().do_GET()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(lite.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lambda path: f"http://127.0.0.1:{server.server_port}/lite/lab/index.html?path={path}"
    server.shutdown()


@pytest.fixture
def page(browser, at):
    page, wrong = browser.new_page(viewport=dict(width=1300, height=1000)), []
    home = at("").partition("lite/")[0]
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("request", lambda r: None if r.url.startswith((home, "data:", "blob:")) else wrong.append(r.url))
    yield page
    page.close()
    assert wrong == []


def told(page, code, seconds=60):
    "What a new cell below the chosen one prints."
    for key in ("Escape", "b", "Enter"): page.keyboard.press(key)
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")
    cell = page.locator(".jp-CodeCell").filter(has_text=code.splitlines()[0]).first
    expect(cell.locator(".jp-OutputArea-output")).not_to_have_count(0, timeout=seconds * 1000)
    return cell.locator(".jp-OutputArea-output").first.inner_text().strip()


@pytest.mark.skipif(WHOLE, reason="chapter 1 says more")
def test_a_kernel_starts_without_the_network(page, at):
    page.goto(at("01_matmul.ipynb"))
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=90_000)
    page.locator(".jp-Notebook .jp-MarkdownCell").first.click()
    assert told(page, "import sys; print(sys.platform, 1 + 1)") == "emscripten 2"


ENDLESS = """import pyodide_js, sys
await pyodide_js.loadPackage({wheel!r})
__import__("foundations")
class Endless:
    def __getattr__(self, name): return self.more
try: Endless().any
except RecursionError as error: print(error)"""


@pytest.mark.skipif(WHOLE, reason="chapter 7 says more")
def test_a_call_without_end_is_an_error_and_not_the_end_of_the_kernel(page, at, packages):
    page.goto(at("07_nn.ipynb"))
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=90_000)
    page.locator(".jp-Notebook .jp-MarkdownCell").first.click()
    wheel = at("").partition("lab/")[0] + f"{PYODIDE}/{packages['foundations-from-scratch']['file_name']}"
    assert told(page, ENDLESS.format(wheel=wheel)) == "maximum recursion depth exceeded"


@pytest.mark.skipif(not WHOLE, reason="NumPy for the browser is published elsewhere: PYODIDE_URL names a folder that has it")
def test_chapter_1_runs(page, at):
    run_all(page, at("01_matmul.ipynb"))
