"""Chapters in a real browser: JupyterLab on loopback, Run All, no cell raises, what should move moves (in_lab.py says what it needs)."""
import os, secrets, shutil, signal, subprocess, sys
from pathlib import Path

import nbformat
import pytest
from in_lab import CONTRAST, KERNEL, free_port, move, run_all, serve, shoot, status, steppers, write
from playwright.sync_api import expect

from foundations.explore import matmul_stepper

NBS = Path(__file__).resolve().parent.parent / "nbs"
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


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "A JupyterLab over a copy of nbs/; its address as a function of a path."
    root = tmp_path_factory.mktemp("lab")
    shutil.copytree(NBS, root / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    write(root / "explore.ipynb", *EXPLORE)
    output = nbformat.v4.new_output("display_data", {"text/html": matmul_stepper([[1, 2]], [[3], [4]])._repr_html_()})
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("stored", outputs=[output])], metadata=KERNEL), root / "stored.ipynb")
    with serve(root) as address: yield address


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


TOOLS = ["tools/draw/graphs.ipynb", "tools/explore/controls.ipynb"]               # pages of tools are written as chapters are

@pytest.mark.parametrize("notebook", sorted(p.name for p in NBS.glob("[0-9]*.ipynb")) + TOOLS)
def test_chapter_runs_in_the_browser(lab, page, notebook):
    run_all(page, lab(f"nbs/{notebook}"))
    images = page.locator(".jp-OutputArea img").evaluate_all("all => all.map(e => [e.complete && e.naturalWidth > 0, e.alt, e.outerHTML.slice(0, 200)])")
    assert images and [html for shown, alt, html in images if not shown or not alt] == []
    sizes = page.locator(".jp-OutputArea img[width]").evaluate_all("all => all.map(e => [e.offsetWidth, +e.getAttribute('width'), e.alt])")
    assert [alt for width, meant, alt in sizes if 0 < width < meant] == []                   # shrunk, with its letters
    for stepper in steppers(page).all(): move(page, stepper)
    for slider in page.locator(".widget-hslider").all(): slide(page, slider)
    shoot(page, notebook.removesuffix(".ipynb").replace("/", "-"))


def slide(page, slider):
    "A slider of ipywidgets shows something else, and back again."
    output = slider.locator("xpath=ancestor::div[contains(concat(' ', @class, ' '), ' jp-OutputArea-output ')][1]")
    shown, handle = output.locator(".widget-html-content").last, slider.locator(".noUi-handle")
    shown.wait_for()
    first = shown.inner_html()
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    there, back = ("ArrowLeft", "ArrowRight") if at_end else ("ArrowRight", "ArrowLeft")
    handle.focus()
    page.keyboard.press(there)
    expect(shown).not_to_have_js_property("innerHTML", first, timeout=20_000)
    page.keyboard.press(back)
    expect(shown).to_have_js_property("innerHTML", first, timeout=20_000)


# ---- what moves, on a page of its own ----

@pytest.fixture(scope="module")
def moving(lab, browser):
    page = browser.new_page(viewport=dict(width=1300, height=1000))
    run_all(page, lab("explore.ipynb"))
    yield page
    page.close()


def stepper_of(page, code): return steppers(page.locator(".jp-CodeCell").filter(has_text=code)).first


def test_all_that_moves_moves(moving):
    for stepper in steppers(moving).all(): move(moving, stepper)
    for slider in moving.locator(".widget-hslider").all(): slide(moving, slider)
    shoot(moving, "explore")


def test_a_stepper_asks_before_it_shows(moving):
    stepper = stepper_of(moving, "matmul_stepper([[1")
    shown, guess = stepper.locator(".frame:visible"), stepper.locator(".guess:visible")
    guess.fill("7")
    guess.press("Enter")
    expect(shown).to_contain_text("✗ Not 7. Try again, or press next.")
    guess.fill("2/2")
    expect(shown).not_to_contain_text("✗")
    stepper.get_by_role("button", name="check").locator("visible=true").click()
    expect(shown).to_contain_text("✓ Right: 2/2.")
    guess.press("Enter")                             # a second time: on, to the next box
    expect(shown).to_contain_text("Answer: 1 ✓ As you said.")
    assert guess.evaluate("e => e == document.activeElement")
    guess.fill("3")
    stepper.get_by_role("button", name="next").click()
    expect(shown).to_contain_text("Answer: 5 ✗ You said 3.")
    stepper.get_by_role("button", name="next").click()
    expect(shown).to_contain_text("Answer: 5")
    expect(shown).not_to_contain_text("You said")
    guess.fill("0 1")                                # a cell, by row and column
    guess.press("Enter")
    expect(shown).to_contain_text("✓ Right: 0 1.")


def test_choices_are_buttons(moving):
    stepper = stepper_of(moving, "broadcast_stepper((8")
    shown = stepper.locator(".frame:visible")
    shown.get_by_role("button", name="refused").click()
    expect(shown).to_contain_text("✗ Not refused.")
    shown.get_by_role("button", name="equal").press("Enter")
    expect(shown).to_contain_text("✓ Right: equal.")
    slider = stepper.locator("input[type=range]")
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "step 6 of 6")
    expect(shown).to_contain_text("(8, 5, 28, 3)")


def test_keys_stay_in_a_stepper(moving):
    cells = moving.locator(".jp-Notebook .jp-Cell")
    stepper, before = stepper_of(moving, "matmul_grad_stepper"), cells.count()
    for place in (stepper.get_by_role("button", name="next"), stepper.locator("input[type=range]"), stepper.locator(".guess:visible").first):
        place.focus()
        for key in "abxddm": moving.keyboard.press(key)
    assert cells.count() == before
    assert stepper.locator(".guess:visible").input_value() == "abxddm"


def test_a_stepper_is_quick_large_and_legible(moving):
    stepper = stepper_of(moving, "expression_stepper")
    times = stepper.evaluate("""e => [1, 2, 3, 4, 5, 0].map(i => {
        const slider = e.querySelector('input[type=range]'), start = performance.now();
        slider.value = i; slider.dispatchEvent(new Event('input', {bubbles: true})); e.getBoundingClientRect();
        return performance.now() - start; })""")
    assert sorted(times)[2] < 100, times
    for button in moving.locator(".stepper button:visible").all(): assert button.bounding_box()["height"] >= 24
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        moving.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        moving.wait_for_timeout(1000)
        for code in moving.locator(".stepper code:visible").all(): assert code.evaluate(CONTRAST) >= 4.5, theme
        shoot(moving, f"explore-{theme[11:]}")


def test_a_box_takes_what_is_typed(moving):
    cell = moving.locator(".jp-CodeCell").filter(has_text="strides_box()")
    strides = cell.get_by_label("strides")
    for typed, seen in {"(3, 2)": "Cell (1, 2) would be place 7, outside the strip", "(3": "cannot be read", "(0, 2)": "0 along axis 0 and 2 along axis 1"}.items():
        strides.fill(typed)
        strides.press("Enter")
        expect(cell.locator(".widget-html-content")).to_contain_text(seen, timeout=20_000)
    assert cell.get_by_role("alert").count() == 0


def test_steppers_fit_a_narrow_page(moving):
    moving.set_viewport_size(dict(width=390, height=900))
    moving.evaluate("window.jupyterapp.shell.collapseLeft()")
    moving.wait_for_timeout(1000)
    wide = "e => e.scrollWidth > e.clientWidth + 1"
    for stepper in moving.locator(".stepper").all(): assert not stepper.evaluate(wide), stepper.inner_text()
    shoot(moving, "explore-narrow")
    moving.set_viewport_size(dict(width=1300, height=1000))


def test_a_stored_stepper_opens_by_hand(lab, page):
    "JupyterLab keeps no script and no style sheet of an output that it does not trust."
    page.goto(lab("stored.ipynb"))
    stepper = page.locator(".stepper")
    stepper.wait_for(timeout=60_000)
    assert not stepper.locator("button:visible, input:visible").count()
    expect(stepper).to_contain_text("run this cell, and it moves and asks")
    second = stepper.locator(".frame").nth(1)
    assert "3 = 3" not in second.inner_text()
    second.get_by_text("Step 2 of 3: What will c[0, 0] be?").click()
    expect(second).to_contain_text("0 + 1 · 3 = 3")
    page.wait_for_timeout(300)
    if folder := os.environ.get("SHOTS"): page.screenshot(path=f"{folder}/stored.png")
