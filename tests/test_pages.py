"""The notebooks as pages: what no cell and no stored output may have. They are read, not run."""
import ast, configparser, functools, json, re, sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from matplotlib.text import Text
from nbdev.clean import nbdev_clean

import foundations
from foundations import draw

ROOT = Path(__file__).resolve().parent.parent
PAGES = [p for p in sorted((ROOT / "nbs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
PUT_OFF = re.compile(r"skip (it|them|this)|read past|another day|on a first reading", re.IGNORECASE)
PLACE = re.compile(r"(?<![\w.:/])/(home|Users|root|work|tmp|opt|usr|var|private)/\S*|\b[A-Z]:\\\S*")
QUIET = {"test_near", "gradcheck", "append", "clear", "insert", "slip", "detour"}         # calls that give None
LARGEST = 1.5e6                                                             # bytes of a notebook
IMG, ALT = re.compile(r"<img\b[^>]*>"), re.compile(r"""\balt=(["'])\s*[^"'\s]""")


def source(cell): return "".join(cell["source"])
def code(cell): return source(cell).strip().splitlines() if cell["cell_type"] == "code" else []
def outputs(cell): return cell.get("outputs", [])


def long_lines(cell): return [f"{len(s)} characters: {s[:60]}" for s in code(cell) if len(s) > 100]
def long_cells(cell): return [f"{len(code(cell))} lines"] if len(code(cell)) > 25 else []
def tracebacks(cell): return [o["ename"] for o in outputs(cell) if o["output_type"] == "error"]


def missing_outputs(cell):
    "A cell that prints, or ends in a value, has shown it."
    if outputs(cell) or not (lines := code(cell)) or lines[-1].endswith(";"): return
    tree = ast.parse("\n".join(re.sub(r"^(\s*)%.*", r"\1pass", line) for line in lines)).body
    own = {s.name for s in tree if isinstance(s, ast.FunctionDef)}           # a test that is run where it is written
    calls = [s.value for s in tree if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)]
    if any(ast.unparse(call.func) == "print" for call in calls): yield "print(...)"
    if not tree or not isinstance(tree[-1], ast.Expr): return
    last = tree[-1].value
    if isinstance(last, ast.Call) and ast.unparse(last.func).rpartition(".")[2] in QUIET | own: return
    yield ast.unparse(last)[:60]


def warnings(cell):
    texts = ["".join(o["text"]) for o in outputs(cell) if o.get("name") == "stderr"]
    return [m[0] for text in texts for m in re.finditer(r"\w*Warning\b.*", text)]


def readers_sent_away(cell):
    return [m[0] for m in PUT_OFF.finditer(source(cell))] if cell["cell_type"] == "markdown" else []


def pictures_without_words(cell):
    "Alt text: in the metadata of an image, in a tag of HTML, between the brackets of Markdown."
    for out in outputs(cell):
        data, about = out.get("data", {}), out.get("metadata", {})
        images = [kind for kind in data if kind.startswith("image/")]
        yield from (kind for kind in images if not about.get(kind, {}).get("alt", "").strip())
        html = "".join(data.get("text/html", ""))
        yield from (tag[:60] for tag in IMG.findall(html) if not ALT.search(tag))
    if cell["cell_type"] == "markdown": yield from re.findall(r"!\[\s*\]\([^)]*\)", source(cell))


def unseen_questions(cell):
    "A question that is asked with `predict`, and not shown: its cell ends with its name."
    found = [m[1] for line in code(cell) if (m := re.match(r"(\w+) = predict\(", line))]
    if found and code(cell)[-1] != found[-1]: yield found[-1]


def places_on_a_machine(cell):
    for out in outputs(cell):
        texts = [out.get("text", ""), *out.get("traceback", []), *out.get("data", {}).values()]
        for text in texts: yield from (m[0][:80] for m in PLACE.finditer("".join(text)))


CHECKS = [long_lines, long_cells, tracebacks, missing_outputs, warnings, readers_sent_away,
          pictures_without_words, unseen_questions, places_on_a_machine]
named = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@named
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_no(page, check):
    cells = json.loads(page.read_text())["cells"]
    wrong = [f"cell {i}: {what}" for i, cell in enumerate(cells) for what in check(cell)]
    if wrong: pytest.fail(f"{page.name}: {len(wrong)}\n" + "\n".join(wrong), pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_opens_fast(page): assert page.stat().st_size < LARGEST


SETTINGS = configparser.ConfigParser(interpolation=None)
SETTINGS.read(ROOT / "settings.ini", encoding="utf-8")
REPOSITORY = "git+https://github.com/{user}/{repo}".format(**SETTINGS["DEFAULT"])


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem[:2].isdigit()], ids=lambda page: page.stem)
@pytest.mark.parametrize("installed", [True, False])
def test_a_chapter_brings_the_package_where_it_is_missing(page, installed, monkeypatch):
    "Before anything of the package is asked for, folded; the one place in a chapter that names the repository."
    code = [cell for cell in json.loads(page.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    [first] = [cell for cell in code if REPOSITORY in source(cell)]
    assert not any("foundations" in source(cell) for cell in code[:code.index(first)]) and first["metadata"]["jupyter"]["source_hidden"]
    run, asked = TransformerManager().transform_cell(source(first)), []
    for library in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "VECLIB_MAXIMUM"): monkeypatch.setenv(f"{library}_THREADS", "1")     # as it sets them itself
    if not installed: monkeypatch.setitem(sys.modules, "foundations", None)          # as if it could not be found
    exec(run, {"get_ipython": lambda: SimpleNamespace(run_line_magic=lambda *line: asked.append(line))})
    assert asked == ([] if installed else [("pip", f"install -q {REPOSITORY}")])


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem[:2].isdigit()], ids=lambda page: page.stem)
def test_a_chapter_says_how_long_it_takes(page, monkeypatch):
    "In words that the map on the site reads: itself, and its exercises, whose minutes add up to that."
    monkeypatch.syspath_prepend(ROOT / "docs")
    from landing import duration
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    said = [int(n) for n in re.findall(r"\d+", duration(source(cells[0])))]
    each = [int(n) for cell in cells for n in re.findall(r"(?m)^#{3,4} .*\(\w+, (\d+) minutes\)", source(cell))]
    assert len(said) == 2 and abs(said[1] - sum(each)) <= 5, (said, each)


def test_cleaning_leaves_a_page_as_it_is(tmp_path, monkeypatch):
    "What a picture shows, in words, and its width: nbdev's cleaning could take them away."
    monkeypatch.chdir(ROOT)
    page, copy = ROOT / "nbs/02_broadcasting.ipynb", tmp_path / "copy.ipynb"
    copy.write_bytes(page.read_bytes())
    nbdev_clean(fname=str(copy))
    about = [out["metadata"] for cell in json.loads(copy.read_text(encoding="utf-8"))["cells"] for out in outputs(cell) if "image/png" in out.get("data", {})]
    assert about and all(data["image/png"].keys() == {"alt", "width"} for data in about) and copy.read_bytes() == page.read_bytes()


WIRES = [("x", (64, 784)), ("h", (64, 50)), ("L", ())]
PLANE, DIGITS = {"a": lambda p: p[:, 0], "b": lambda p: p[:, 1]}, np.ones((10, 784))


@functools.cache
def figures():
    "One of each function that draws."
    return {
        "memory_walk": draw.memory_walk((4, 8), {"down": [(0, 2), (1, 2)], "along": [(1, 0), (1, 1)]}), "strides": draw.strides([1, 2, 3], {"rows": ((2, 3), (0, 1))}),
        "lives": draw.lives(["input", "exp"], [(0, 1), (1, 2)], [0, 1]), "chain": draw.chain(WIRES, ["@ w", "mse"], [[("w", (784, 50))], []]),
        "graph": draw.graph((foundations.Tensor([1.0]) * 2).sum()), "shapes": draw.shapes(("a", (5, 784)), "@", ("b", (784, 10)), "+ b (50,)\nrelu →"),
        "tiles": draw.tiles((192, 1024, 300), (48, 256, 60)), "stretched": draw.stretched([[1], [2]], range(6), "==", names=("labels[:, None]", "arange(6)")),
        "summed": draw.summed(np.ones((4, 3)), (3,)), "curves": draw.curves([1, 8], {name: [0.001, 1000] for name in "abcde"}, "x", "y", "title", log="xy"),
        "tangent": draw.tangent([1, 2, 3], [1, 4, 9], (2, 4), 4, "x", "y"), "depth": draw.depth({"a": {"grows": [1e-6, 1, 1e30]}, "b": {"stays": [1, 1, 1]}}),
        "learning": draw.learning([3, np.inf, 1], [(2, 2, 0.5), (3, 1, 0.9)], "title"), "histograms": draw.histograms({"row": {name: [1, 2] for name in "abcde"}}, (0, 3)),
        "digits": draw.digits(DIGITS, range(10), "title"), "weights": draw.weights(DIGITS, range(10)), "scores": draw.scores(DIGITS[:5], np.eye(5), range(5)),
        "confusion": draw.confusion(np.full((10, 10), 12345)), "grids": draw.grids({"a": np.ones((27, 27))}, "a" * 27, "b" * 27, "row", "column", "share"),
        "placed": draw.placed(np.eye(2), "ab", "a", ("marked", "others"), "x", "y"), "ladder": draw.ladder({"loops": 2.0, "fast": 1e-7}), "rates": draw.rates({"a": 0.001, "b": 9}, 10),
        "agreement": draw.agreement({"w": {"torch": 1e-9, "nudges": 1e-9}}, {"torch": 1e-8, "nudges": 1e-8}), "surfaces": draw.surfaces({"row": PLANE}, np.eye(2), [0, 1]),
        "descent": draw.descent(lambda w: (w**2).sum(1), {name: [(1, 1), (0, 0)] for name in "abc"})}


@pytest.mark.parametrize("name", [name for name in draw.__all__ if name != "figure"])
def test_letters_in_a_figure_are_large_enough(name):
    "12 pixels high, and the powers of an axis 11, as wide as the figure is meant to be; and that fits a page (test_book.py: it is not shrunk there)."
    (fig := figures()[name]).draw_without_rendering()
    words = [text for text in fig.findobj(Text) if text.get_text()]
    sizes = [text.get_fontsize() * 100 / 72 * (0.7 * 12 / 11 if "^" in text.get_text() else 1) for text in words]
    assert sizes and min(sizes) >= 12 and fig.get_figwidth() <= 8.08


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_stored_figure_is_wider_than_a_page(page):
    stored = ["".join(out["data"].get("text/html", "")) for cell in json.loads(page.read_text(encoding="utf-8"))["cells"] for out in outputs(cell) if "data" in out]
    assert [width for html in stored for width in re.findall(r'<img\b[^>]*? width="(\d+)"', html) if int(width) > 820] == []


def shown(**data): return {"output_type": "display_data", "data": data, "metadata": {}}

FAULTS = [
    {"cell_type": "code", "source": ["x = 1\n"] * 26 + ["y" * 101], "outputs": [
        {"output_type": "error", "ename": "ValueError", "traceback": ["File /home/me/nbs/x.py"]},
        {"output_type": "stream", "name": "stderr", "text": ["/tmp/ipykernel_1/2.py:1: UserWarning: x"]},
        shown(**{"image/png": "iVBOR"}), shown(**{"text/html": "<img src='x.png' alt=''>"})]},
    {"cell_type": "code", "source": ["print(1)\n", "x"]},
    {"cell_type": "code", "source": ["guess = predict('How many?', ...)"]},
    {"cell_type": "markdown", "source": ["Skip this at will. ", "![](images/x.png)"]},
]

@named
def test_a_check_finds_its_fault(check):
    fine = shown(**{"text/html": "<img alt='A half'>"})
    sound = {"cell_type": "code", "source": ["1 / 2"], "outputs": [fine]}
    assert [what for cell in FAULTS for what in check(cell)] and not list(check(sound))
