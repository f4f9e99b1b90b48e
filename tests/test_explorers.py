"""What the site computes without a kernel: docs/_static/explorers says what Python says, word for word, whatever is typed."""
import html, itertools, json, keyword, random, re
from pathlib import Path
from types import SimpleNamespace

import pytest

from foundations.draw import graphs as pictures
from foundations.explore import graphs
from foundations.explore.axes import typed_shapes, typed_view
from foundations.explore.controls import sentence
from foundations.explore.expressions import FUNCTIONS, Reader, expression_stepper, tree_of, values_of
from foundations.explore.products import typed_product
from foundations.explore.steppers import Stepper

SCRIPTS = [Path(__file__).resolve().parent.parent / f"docs/_static/explorers/{name}.js" for name in ("reading", "drawing", "graphs", "explorers")]
ANSWERS = """cases => cases.map(([name, texts]) => {
  try {
    const {html, title, frames, questions, tensors} = explorers[name](texts);
    return {html, title, frames, questions, tensors: tensors?.map(t => [t.name, t.value, t.gradient ?? null].map(x => Object.is(x, NaN) ? 'nan' : x == 1/0 ? 'inf' : x == -1/0 ? '-inf' : x))};
  } catch (error) {
    if (!(error instanceof reading.Refusal)) throw error;
    return error.message;
  }
})"""


@pytest.fixture(scope="module")
def asked(browser):
    "What the scripts say to (name of a function, its texts by name)."
    page = browser.new_page()
    for path in SCRIPTS: page.add_script_tag(path=str(path))
    yield lambda cases: page.evaluate(ANSWERS, [[f.__name__, texts] for f, texts in cases])
    page.close()


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    "What a picture says is compared; to draw it takes long."
    blank = lambda width, height, title, said: SimpleNamespace(alt=said, axes=[None], get_figwidth=lambda: width)
    monkeypatch.setattr(graphs, "_svg", lambda fig: "")
    for name, f in dict(_page=blank, _places=lambda *_: (1, 1), _arrow=lambda *_: None, _draw_box=lambda *_: None).items(): monkeypatch.setattr(pictures, name, f)


def in_words(frame):
    "A frame with what its picture says in the picture's place."
    frame = re.sub(r'<img [^>]*alt="([^"]*)"[^>]*>', r"[\1]", frame)
    return re.sub(r'<svg [^>]*?aria-label="([^"]*)".*?</svg>', r"[\1]", frame, flags=re.DOTALL)


def python(f, texts):
    "What Python says, as the scripts give it."
    try: shown = f(**texts)
    except (ValueError, TypeError, ArithmeticError) as error: return repr(sentence(error))
    if not isinstance(shown, Stepper): return re.search(r'<div class="tables.*</div>(?=</div>$)', shown._repr_html_(), re.DOTALL)[0]
    asked = {str(i): (q.text, json.loads(q.wanted()), q.told(), list(q.choices)) for i, q in shown.questions.items()}
    return shown.title, [in_words(frame) for frame in shown.frames], asked


def said(found):
    if isinstance(found, str): return found
    if found["html"]: return found["html"]
    asked = {i: (q["text"], q["answer"], q["told"], q.get("choices", [])) for i, q in found["questions"].items() if q}
    return found["title"], [in_words(frame) for frame in found["frames"]], asked


def compare(asked, cases):
    "Every case says the same in both languages; how many were refused."
    refused = 0
    for (f, texts), found in zip(cases, asked(cases), strict=True):
        ours, theirs = python(f, texts), said(found)
        refused += isinstance(found, str)
        if f is not expression_stepper or isinstance(ours, str) or isinstance(theirs, str):
            assert theirs == ours, (f.__name__, texts)
            continue
        assert theirs[:2] == ours[:2] and theirs[2].keys() == ours[2].keys(), texts
        for i, (text, answer, *rest) in ours[2].items():
            assert theirs[2][i] == (text, pytest.approx(answer, rel=1e-9, abs=1e-12), *rest), texts
    return refused


def test_shapes(asked):
    small = [s for n in range(3) for s in itertools.product((0, 1, 2, 5), repeat=n)]
    dice = random.Random(0)
    def large(): return tuple(dice.choice((1, 1, 3, 4, 1000000)) for _ in range(dice.randrange(7)))
    pairs = [*itertools.product(small, small), *((large(), large()) for _ in range(300))]
    refused = compare(asked, [(typed_shapes, dict(a=str(a), b=str(b))) for a, b in pairs])
    assert refused == 0                                   # shapes that do not fit are shown, not refused


def test_views(asked):
    dice, cases = random.Random(1), []
    for _ in range(400):
        strip = [dice.choice((dice.randrange(-9, 100), 0.5, 1 / 3, 2.0, 123456.7)) for _ in range(dice.randrange(1, 14))]
        shape = tuple(dice.randrange(1, 6) for _ in range(dice.choice((1, 2, 2, 2, 3))))
        steps = tuple(dice.randrange(-1, 4) for _ in range(len(shape) if dice.random() < 0.9 else 1))
        cases.append((typed_view, dict(strip=str(strip), shape=str(shape), strides=str(steps))))
    assert 50 < compare(asked, cases) < 350


def test_products(asked):
    dice, cases = random.Random(2), []
    def rows(n, m): return str([[dice.choice((dice.randrange(-9, 10), 0.125, 1e6, -2.5, 1e-7)) for _ in range(m)] for _ in range(n)])
    for _ in range(60):
        n, p, m = (dice.randrange(1, 4) for _ in range(3))
        cases.append((typed_product, dict(a=rows(n, p), b=rows(p if dice.random() < 0.9 else p + 1, m))))
    assert 0 < compare(asked, [*cases, (typed_product, dict(a=rows(6, 6), b=rows(6, 6)))]) < 30


# ---- expressions ----

VALUES = "x = 1.5, y = -0.5, z = 0, w = 3"

def expression(dice, depth):
    "A random expression over all that is allowed."
    if depth == 0 or dice.random() < 0.15: return dice.choice(("x", "y", "z", "w", "x", "2", "0.5", "3.25", "1e-3"))
    part = lambda: expression(dice, depth - 1)
    kind = dice.random()
    if kind < 0.1: return f"-{part()}"
    if kind < 0.35: return f"{dice.choice(FUNCTIONS)}({part()})"
    sign = dice.choice(("+", " - ", "*", "/", "**"))
    return f"({part()}){sign}{part()}" if dice.random() < 0.4 else f"{part()}{sign}({part()})" if dice.random() < 0.4 else f"{part()}{sign}{part()}"


def expressions():
    dice = random.Random(3)
    found = [expression(dice, dice.choice((1, 2, 2, 3, 3))) for _ in range(500)]
    return list(dict.fromkeys(text for text in found if len(text) <= 80))


def test_expressions(asked):
    texts = expressions()
    for name in (*FUNCTIONS, "+", "-", "*", "/", "**"): assert sum(name in text for text in texts) > 20, name
    cases = [(expression_stepper, dict(expression=text, values=VALUES)) for text in texts]
    assert 50 < compare(asked, cases) < len(cases) / 2


def test_values_and_gradients(asked):
    "Of every leaf, to nine digits."
    cases = [(expression_stepper, dict(expression=text, values=VALUES)) for text in expressions()]
    compared = 0
    for (_, texts), found in zip(cases, asked(cases), strict=True):
        if isinstance(found, str): continue
        reader = Reader(texts["expression"], values_of(VALUES))
        result = reader.read(tree_of(texts["expression"]))
        result.backward()
        theirs = {name: (value, gradient) for name, value, gradient in found["tensors"]}
        assert found["tensors"][-1][1] == pytest.approx(result.data.item(), rel=1e-9, abs=1e-300)
        for name, t in reader.leaves.items():
            if name not in theirs: assert t.grad is None, texts
            else: assert float(theirs[name][1]) == pytest.approx(t.grad.item(), rel=1e-9, abs=1e-300, nan_ok=True), texts
            compared += name in theirs
    assert compared > 300


# ---- what cannot be read ----

ROWS = ["", " ", "7", "(3)", "(3,)", "3,", "()", "[]", "[1, 2]", "[[1, 2], [3]]", "[[1], []]", "[[1e999]]", "[[[1]]]", "[[1], 2]", "(1, 2), (3, 4)", "[[", "[[1]]]", "[1,,2]", "[,]", "(,)",
        "- 3,", "--3", "-(3)", "+3, -0", "007", "00, 0", "07.5", "1., .5", "1e5, 1E-2", "1e", "1_000", "0x10", "1j", "1 2", "1(2)", "[1][0]", "1 + 2", "1 - 2", "True", "'a'", "None, 1", "1.5, 2", "2.0, 3",
        "(2, -1)", "(-5, -7)", "1, 2, 3, 4, 5, 6, 7", "(1000001, 1)", "9" * 199, "1, " * 70, "(" * 60 + ")" * 60, "((1, 2))", "((3), (4))", "[(1, 2), (3, 4)]", "(1 2)", "(1, 2", "1)", "[1)", "“1”", "<b>1</b>", "x", "…"]
WRONG = ["", "x", "2", "(x)", "x*", "*x", "x y", "2x", "2(x)", "x(2)", "exp", "exp*2", "exp()", "exp(x, y)", "exp(x,)", "exp(*x)", "(exp)(x)", "exp(x)(y)", "exp (x)", "+x", "x*+y", "x**-y", "-x**2", "(-x)**2", "2**-x**2", "--x",
         "x//y", "x % y", "x @ y", "x < y", "x = y", "x := 2", "not x", "x if y else w", "x in y", "lambda: x", "x.data", "x[0]", "x, y", "'a'*x", "True*x", "None", "if*2", "x*_", "__proto__*x", "constructor(x)", "1j*x", "0x1f*x",
         "1_0*x", "07*x", "00*x", "1e3*x", "1e*x", "1.*x", ".5*x", "1..*x", "1e7*x", "1000000*x", "q*x", "x*q + (", "x* *y", "x** *y", "((x))*y", "(x)*y", "x * y", " x*y ", "x*y + x*y", "x*y + x * y", "x" + "+x" * 12, "x" + "+x" * 13, "x" + "+x" * 40,
         "-" * 14 + "x", "2*3", "2*3*x", "log(0*x)", "log(-x)", "x/z", "z**-1", "z**0.5", "exp(exp(exp(w*w)))", "sin(" * 9 + "x" + ")" * 9, "(" * 39 + "x" + ")" * 39, "α*x", "x # y", "<i>*x", "x*y)"]
GIVEN = ["", "x", "x = ", "2", "x = y", "x == 2", "= 2", "x = 2, x = 3", "x = 2,", ", ,x = 2", "x = 2 y = 3", "x = (2)", "x = (2,)", "x = (2, 3)", "x = []", "x = -2", "x = - .5", "x = 1e6", "x = 1000001", "x = 1e999", "x = 'a'", "x y = 2", "2x = 3",
         "if = 2", "x = 2; y = 3", "**{}", "x = 1)(y = 2", "α = 2", "x = " + "9" * 300, "x = 1, y = 2, z = 3, " * 9, "__proto__ = 2, x = 3", "<b> = 2"]


def test_refusals_word_for_word(asked):
    start = dict(a="(2, 3)", b="(3,)"), dict(strip="[1, 2, 3]", shape="(3,)", strides="(1,)"), dict(a="[[1, 2]]", b="[[1], [2]]")
    cases = [(f, texts | {name: row}) for f, texts in zip((typed_shapes, typed_view, typed_product), start) for name in texts for row in ROWS]
    cases += [(expression_stepper, dict(expression=text, values=VALUES)) for text in [*WRONG, *(f"{word}*x" for word in keyword.kwlist)]]
    cases += [(expression_stepper, dict(expression="x*2", values=text)) for text in GIVEN]
    assert 300 < compare(asked, cases) < len(cases)


def test_noise(asked):
    dice, cases = random.Random(4), []
    def noise(letters): return "".join(dice.choice(letters) for _ in range(dice.randrange(12)))
    for _ in range(500):
        row, text = noise("[](),,-+.0123 e"), noise("xy2.e()*/+- _")
        cases += [(typed_shapes, dict(a=row, b="(3,)")), (typed_view, dict(strip=row, shape="(1,)", strides="(0,)")), (typed_product, dict(a=row, b="[[1, 2]]")),
                  (expression_stepper, dict(expression=text, values=VALUES)), (expression_stepper, dict(expression="x*2", values="x=" + row))]
    assert compare(asked, cases) > 1000


# ---- what is put into a stepper ----

def test_a_stepper_is_filled_as_python_fills_it(asked, browser):
    "The markup around the frames: the same page, whether Python wrote it or a script put it into another stepper."
    old = typed_shapes("(2, 3)", "(3, 2)")._repr_html_()
    page = browser.new_page()
    page.set_content('<div id="old"></div><div id="new"></div>')
    for path in SCRIPTS: page.add_script_tag(path=str(path))
    put = """([name, texts, old, wanted]) => {
      const [a, b] = ['old', 'new'].map(id => document.getElementById(id));
      [a.innerHTML, b.innerHTML] = [old, wanted];
      explorers.put(a.firstChild, explorers[name](texts));
      for (const stepper of [a, b]) for (const wide of stepper.querySelectorAll('.wide')) wide.removeAttribute('tabindex');
      for (const guess of [...a.querySelectorAll('.guess'), ...b.querySelectorAll('.guess')]) guess.dataset.want = JSON.stringify(JSON.parse(guess.dataset.want));
      return [a.innerHTML, b.innerHTML];
    }"""
    for f, texts in [(typed_shapes, dict(a="(8, 1, 28, 3)", b="(5, 1, 3)")), (typed_product, dict(a="[[1, 2.5], [3, 4]]", b="[[5], [6]]"))]:
        found, wanted = page.evaluate(put, [f.__name__, texts, old, f(**texts)._repr_html_()])
        assert found == wanted and html.escape(f(**texts).title) in found
    page.close()
