"""A learner in a real browser: writes, is told what is wrong, asks for a hint, guesses, opens a solution, moves an explorer (in_lab.py says what that needs)."""
from pathlib import Path

import nbformat
import pytest
from in_lab import CONTRAST, KERNEL, move, run_all, serve, shoot, steppers
from playwright.sync_api import expect

CHAPTER = Path(__file__).resolve().parent.parent / "nbs/01_matmul.ipynb"
WRONG = "def my_dot(u, v):\n    for x, y in zip(u, v): total = x * y\n    return total"
RIGHT = "def my_dot(u, v):\n    total = 0\n    for x, y in zip(u, v): total += x * y\n    return total"
PREDICT = 'guess = predict("How many multiplications are (3, 4) @ (4, 2)?", {})\nguess'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "The first stub of chapter 1 with its check and its folded solution, a prediction and an explorer, in JupyterLab."
    root, cells = tmp_path_factory.mktemp("learner"), nbformat.read(CHAPTER, as_version=4).cells
    at = next(i for i, c in enumerate(cells) if 'check("dot"' in c.source)
    new = lambda *sources: list(map(nbformat.v4.new_code_cell, sources))
    cells = [*new("from foundations.exercises import check, hint, predict\nfrom foundations.explore import matmul_stepper"), *cells[at - 1:at + 2],
             *new(PREDICT.format("..."), "guess.tell(3 * 2 * 4)", "matmul_stepper([[1, 2], [3, 4]], [[1, 0], [2, 1]])")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), root / "page.ipynb")
    with serve(root) as address: yield address("page.ipynb")


def cell(page, text): return page.locator(".jp-CodeCell").filter(has_text=text).first


def enter(page, where, text):
    "Replace what stands in a cell, and run it; the next cell is the selected one then."
    where.locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Shift+Enter")


def test_a_learner_writes_asks_guesses_opens_and_moves(place, page):
    run_all(page, place)
    asks = cell(page, 'check("dot"')
    said = asks.locator(".report")
    expect(said).to_contain_text("dot: not started")
    assert said.locator("code").evaluate(CONTRAST) >= 4.5

    enter(page, cell(page, "def my_dot"), WRONG)
    page.keyboard.press("Shift+Enter")
    expect(said).to_contain_text("✗ dot: wrong", timeout=20_000)
    expect(said).to_contain_text("Only the last product is left.")
    expect(said).to_contain_text("What becomes of the earlier products at each turn of the loop?")

    asks.locator(".cm-content").click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")                         # a cell below, and what it is for
    page.keyboard.press("Enter")
    page.keyboard.insert_text('hint("dot")')
    page.keyboard.press("ControlOrMeta+Enter")
    expect(page.locator(".report", has_text="dot: hint 1 of 4")).to_have_count(1, timeout=20_000)
    shoot(page, "learner-wrong")

    enter(page, cell(page, "def my_dot"), RIGHT)
    page.keyboard.press("Shift+Enter")
    expect(said).to_contain_text("✓ dot: solved", timeout=20_000)

    folded = cell(page, "def dot(u, v)")            # what shows of it: its head
    line = folded.get_by_text("return sum")
    expect(line).not_to_be_visible()
    folded.locator(".jp-Placeholder").first.click()
    expect(line).to_be_visible()

    enter(page, cell(page, "guess = predict"), PREDICT.format("24"))
    page.keyboard.press("Shift+Enter")
    expect(cell(page, "guess.tell").locator(".report")).to_contain_text("✓ Yes. It is 24.", timeout=20_000)

    move(page, steppers(page).first)
    shoot(page, "learner-right")
