"""What moves, without a browser: frames and their questions, what is typed, and what is refused."""
import html, json, math, re, sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from foundations import explore
from foundations.autograd import Tensor
from foundations.backward import cross_entropy_grad, matmul_grad
from foundations.check import test_near as near
from foundations.explore.controls import literal, matrix, shape, whole_numbers
from foundations.explore.expressions import expression_stepper, values_of
from foundations.explore.steppers import Question, Stepper, written

few = settings(max_examples=40, deadline=None)
sizes = st.integers(1, 3)
numbers = st.integers(-9, 9)


def arrays(*shape): return st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape)).map(lambda x: np.array(x).reshape(shape))


@st.composite
def products(draw):
    n, p, m = draw(sizes), draw(sizes), draw(sizes)
    return draw(arrays(n, p)), draw(arrays(p, m)), draw(arrays(n, m))


# ---- the page ----

def test_a_stepper_as_html():
    page = Stepper(["<p>one</p>", "<p>two</p>"], 'a "b" <c>', {1: Question("x < y?", (2, 3))})._repr_html_()
    assert "<script" not in page and "http" not in page                   # whole in itself
    assert 'aria-label="a &quot;b&quot; &lt;c&gt;"' in page and "<b>a &quot;b&quot; &lt;c&gt;</b>" in page
    assert page.count("<details") == page.count("</details>") == 2 and page.count(" open>") == 1
    assert "<summary>Step 2 of 2: x &lt; y?</summary>" in page and "Answer: <b>(2, 3)</b>" in page
    assert json.loads(html.unescape(re.search('data-want="(.*?)"', page)[1])) == [2, 3]
    assert 'aria-valuetext="step 1 of 2"' in page and 'aria-live="polite"' in page
    assert page.count('class="live') == page.count(' hidden="hidden">') == 2


def test_choices_and_words():
    page = Stepper(["one", "two"], "t", {1: Question("Which?", "b<c", ("b<c", "d"))})._repr_html_()
    assert page.count('<button type="button" value=') == 2 and 'value="b&lt;c">b&lt;c<' in page
    assert 'type="hidden" class="guess"' in page


def test_a_stepper_refuses():
    for frames, questions, why in [([], {}, "at least one frame"), (["a"], {0: Question("?", 1)}, "before 0"), (["a"], {1: Question("?", 1)}, "before 1")]:
        with pytest.raises(ValueError, match=why): Stepper(frames, "t", questions)


@pytest.mark.parametrize("x, text", [(3.0, "3"), (-0.0, "0"), (1 / 3, "0.333"), (1e20, "1e+20"), (np.float32(2), "2"), ((), "()"),
                                     (np.array([[1.0, -2.5]]), "[[1, -2.5]]"), (math.nan, "nan"), (-math.inf, "-inf"), (True, "1")])
def test_numbers_as_by_hand(x, text): assert written(x) == text


# ---- the steps, and what is asked ----

@few
@given(products())
def test_the_steps_of_a_product_end_in_it(product):
    a, b, _ = product
    walk = explore.matmul_stepper(a.tolist(), b.tolist())
    assert len(walk.frames) == 1 + a.size * b.shape[1] and set(walk.questions) == set(range(1, len(walk.frames)))
    table = re.findall(r'<b>c</b><table class="cells">(.*?)</table>', walk.frames[-1])[0]
    shown = re.findall(r"<td[^>]*>(?:<b>)?(-?\d+)", table)
    assert list(map(int, shown)) == (a @ b).ravel().tolist()
    last = walk.questions[len(walk.frames) - 1]
    assert last.answer == ((a @ b)[-1, -1] if "What" in last.text else (len(a) - 1, b.shape[1] - 1))


@few
@given(products())
def test_the_steps_back_end_in_the_gradients(product):
    a, b, dout = product
    walk = explore.matmul_grad_stepper(dout, a, b)
    assert len(walk.frames) == 1 + dout.size
    for name, gradient in zip(("da", "db"), matmul_grad(*(x.astype(float) for x in (dout, a, b)))):
        table = re.findall(rf'<b>{name}</b><table class="cells">(.*?)</table>', walk.frames[-1])[0]
        assert list(map(float, re.findall(r"<td[^>]*>(?:<b>)?(-?\d+)", table))) == gradient.ravel().tolist()


@few
@given(st.lists(st.integers(0, 4), max_size=4), st.lists(st.integers(0, 4), max_size=4))
def test_the_verdicts_are_numpys(a, b):
    walk = explore.broadcast_stepper(tuple(a), tuple(b))
    answers = [q.answer for q in walk.questions.values()]
    try: assert answers[-1] == np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError: assert answers[-1] == "refused"
    assert all(answer in q.choices for q, answer in zip(walk.questions.values(), answers) if q.choices)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_in_the_end_all_of_a_ring_have_the_sum(k):
    walk = explore.ring_stepper(k)
    shown = [re.findall(r"<td[^>]*>(?:<b>)?(\d+)", frame) for frame in walk.frames]
    assert len(shown) == 1 + 2 * (k - 1) and all(len(numbers) == k * k for numbers in shown)
    assert set(shown[-1]) == {"1" * k} and shown[1][k] == str(walk.questions[1].answer) == "11"
    for frame, question in walk.questions.items():
        if "complete" in question.text: assert shown[frame].count("1" * k) == question.answer


def test_a_graph_asks_for_values_and_gradients():
    x, y = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    walk = explore.graph_stepper(x * y + x, dict(x=x, y=y))
    assert [q.answer for q in walk.questions.values()] == [6, 8, 1, 4]     # 4: both parts of x
    assert x.grad is None
    broken = x * Tensor(np.inf)
    assert 1 not in explore.graph_stepper(broken, dict(x=x)).questions     # nobody can guess that


@pytest.mark.parametrize("call, error, why", [
    (lambda: explore.matmul_stepper([[1, 2]], [[3]]), ValueError, "p is 2 in a and 1 in b"),
    (lambda: explore.matmul_stepper([[]], []), ValueError, "an empty matrix"),
    (lambda: explore.matmul_stepper(np.ones((9, 9)), np.ones((9, 9))), ValueError, "at most 150"),
    (lambda: explore.matmul_grad_stepper([[1]], [[1, 2]], [[3]]), ValueError, "matmul_grad: "),
    (lambda: explore.matmul_grad_stepper(np.ones((0, 2)), np.ones((0, 3)), np.ones((3, 2))), ValueError, "an empty matrix"),
    (lambda: explore.broadcast_stepper((2, -1), (3,)), ValueError, "-1"),
    (lambda: explore.ring_stepper(1), ValueError, "expected 2 to 5 workers"),
    (lambda: explore.graph_stepper(3), TypeError, "expected a tensor"),
    (lambda: explore.chain_stepper({}, ["a"], [{}]), ValueError, "1 boxes, 0 values"),
    (lambda: explore.sliders(print), ValueError, "expected an option"),
])
def test_what_has_no_steps_is_refused(call, error, why):
    with pytest.raises(error) as raised: call()
    assert why in str(raised.value)


# ---- what is typed ----

@few
@given(st.text(max_size=60) | st.text("[](),-.0123456789 e'xj*{}:", max_size=60))
def test_no_text_is_a_traceback(text):
    for read in (matrix, shape, values_of, lambda t: literal(t, "1"), lambda t: whole_numbers(t, "A", "(1,)"),
                 lambda t: expression_stepper(t, "x = 2, y = 3"), lambda t: expression_stepper("x * 2", t)):
        try: read(text)
        except ValueError as error: assert str(error).endswith(".") and "Traceback" not in str(error)


def test_deep_and_long_texts():
    for text in ("(" * 150, "[" * 190 + "]" * 9, "-" * 190 + "1", "[[1]]" + " " * 500, "9" * 199, "x" + "+x" * 39, "-" * 79 + "x"):
        for read in (matrix, shape, values_of, lambda t: expression_stepper(t, "x = 2")):
            with pytest.raises(ValueError): read(text)


@pytest.mark.parametrize("text", ["__import__('os').getcwd()", "x.data", "x[0]", "(lambda: x)()", "[x for x in y]", "x if y else x",
                                  "x := 2", "f'{x}'", "exp(x, y)", "exp(*x)", "eval('1')", "x // y", "x < y", "not x", "'a' * x", "1j * x", "True + x"])
def test_only_arithmetic_gets_through(text):
    with pytest.raises(ValueError, match="cannot be read"): expression_stepper(text, "x = 2, y = 3")


letters, leaf = dict(x=1.5, y=-0.5), st.sampled_from(["x", "y", "2", "0.5"])
expressions = st.recursive(leaf, lambda e: st.tuples(e, st.sampled_from("+-*"), e).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
                           | st.tuples(st.sampled_from(["sin", "exp", "tanh"]), e).map(lambda t: f"{t[0]}({t[1]})"), max_leaves=5)

@few
@given(expressions)
def test_an_expression_gives_its_value(text):
    try: walk = expression_stepper(text, "x = 1.5, y = -0.5")
    except ValueError as error:
        assert not re.search("[xy]", text.replace("exp", "")) or re.fullmatch(r"[xy\d.]+", text) or "finite" in str(error)
        return
    value = eval(text, dict(sin=math.sin, exp=math.exp, tanh=math.tanh), letters)
    forward = [q.answer for q in walk.questions.values() if "What does it give?" in q.text]
    near(np.array(float(forward[-1])), np.array(value))


@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=2), st.lists(st.integers(-5, 5), min_size=2, max_size=2))
def test_a_view_is_numpys_or_refused(size, steps):
    strip, steps = np.arange(12), tuple(steps[:len(size)])
    ends = [(n - 1) * s for n, s in zip(size, steps)]
    inside = sum(min(0, e) for e in ends) >= 0 and sum(max(0, e) for e in ends) < 12
    if not inside:
        with pytest.raises(ValueError, match="outside the strip"): explore.strides_table(strip.tolist(), tuple(size), steps)
        return
    seen = re.findall(r"(\d+)<br>", explore.strides_table(strip.tolist(), tuple(size), steps)._repr_html_())
    assert list(map(int, seen)) == as_strided(strip, size, [8 * s for s in steps]).ravel().tolist()


# ---- controls ----

BOXES = [explore.matmul_box, explore.broadcast_box, explore.strides_box, explore.graph_box]

@pytest.mark.parametrize("box", BOXES, ids=lambda box: box.__name__)
def test_a_box_answers_in_words(box):
    pytest.importorskip("ipywidgets")
    controls = box()
    first = controls.shown.value
    knob = next(iter(controls.knobs.values()))
    start, knob.value = knob.value, "[["
    assert 'role="alert">✗' in controls.shown.value and "Traceback" not in controls.shown.value
    knob.value = start
    assert controls.shown.value == first and "alert" not in first


def test_a_wrong_start_is_no_traceback():
    said = explore.matmul_box("[[1, 2]]", "[[3]]")._repr_mimebundle_()[0]["text/html"]
    assert "✗ a is (1, 2) and b is (1, 1)" in said


def test_sliders_leave_a_picture():
    calls = []
    def f(x): calls.append(x); return explore.score_bars([x, 0], 0)
    forms, _ = explore.sliders(f, x=[1, 5, 9])._repr_mimebundle_()
    assert calls == [5] and "class 0 (true)" in forms["text/html"] and "To move the sliders, run this cell" in forms["text/html"]


def test_without_ipywidgets_the_picture_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for controls in (explore.matmul_box(), explore.score_sliders()):
        forms, _ = controls._repr_mimebundle_()
        assert "pip install ipywidgets" in forms["text/html"] and not [f for f in forms if "widget" in f]


@pytest.mark.parametrize("true", [0, 2])
def test_bars_are_the_formulas(true):
    bars, x = repr(explore.score_bars([2, 1, -3], true)), np.array([[2.0, 1, -3]])
    gradient = cross_entropy_grad(1.0, x, np.array([true]))[0][0]
    assert f"gradient {gradient.round(3).tolist()}" in bars
