"""Every operator of the engine: first derivatives against nudges, first and second against PyTorch."""
import inspect
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundations import autograd, operators as ops
from foundations.autograd import DifferentiableOperator, Tensor, grad
from foundations.check import gradcheck, test_near

OPERATORS = {name: cls for name, cls in vars(autograd).items()
             if inspect.isclass(cls) and issubclass(cls, DifferentiableOperator) and cls is not DifferentiableOperator}


class Draw:
    "Shapes, places and numbers, as hypothesis chooses them."
    def __init__(self, data):
        self.data, self.rng = data, np.random.default_rng(data.draw(st.integers(0, 2**32)))

    def int(self, low, high): return self.data.draw(st.integers(low, high))
    def size(self): return self.int(1, 4)
    def shape(self, least=0): return tuple([self.size() for _ in range(self.int(least, 3))])
    def axis(self, shape): return self.int(-len(shape), len(shape) - 1)
    def normal(self, *shape): return np.asarray(self.rng.standard_normal(shape))
    def positive(self, *shape): return np.asarray(self.rng.uniform(0.5, 2, shape))
    def any_axes(self, shape): return self.data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))

    def pair(self, *kinds):
        "Two arrays that can be broadcast together."
        full = self.shape()
        cut = lambda: tuple([n if self.int(0, 2) else 1 for n in full[self.int(0, len(full)):]])
        return [kind(*cut()) for kind in kinds or (self.normal, self.normal)]

    def key(self, shape):
        "What may stand in brackets: integers, slices, a list in which a place may stand twice, a mask."
        n = shape[0]
        mask = np.zeros(shape, bool)
        mask[0] = True
        return self.data.draw(st.sampled_from(
            [0, -1, slice(1), (slice(None, None, 2),), ..., None, [0, n - 1, 0], (..., [0, 0]), mask]))


def elementwise(name, torch_name, kind="normal"):
    def case(d): return {}, lambda torch: getattr(torch, torch_name), [getattr(d, kind)(*d.shape())]
    return name, case


def two(name, torch_name, *kinds):
    def case(d): return {}, lambda torch: getattr(torch, torch_name), d.pair(*[getattr(d, k) for k in kinds])
    return name, case


def reduction(name, torch_name):
    def case(d):
        shape = d.shape()
        axis, keep = d.any_axes(shape), bool(d.int(0, 1))
        dims = tuple(range(len(shape))) if axis is None else (axis,)
        return (dict(axis=axis, keepdims=keep),
                lambda torch: lambda x: getattr(torch, torch_name)(x, dims, keepdim=keep) if dims else x * 1,
                [d.normal(*shape)])
    return name, case


def along_axis(name, torch_name):
    def case(d):
        shape = d.shape(1)
        axis = d.axis(shape)
        return dict(axis=axis), lambda torch: partial(getattr(torch, torch_name), dim=axis), [d.normal(*shape)]
    return name, case


def where(d):
    a, b = d.pair()
    mask = d.normal(*np.broadcast_shapes(a.shape, b.shape)) > 0
    return {}, lambda torch: torch.where, [mask, a, b]


def matmul(d):
    n, p, m = d.size(), d.size(), d.size()
    left, right = d.data.draw(st.sampled_from([
        ((n, p), (p, m)), ((p,), (p,)), ((p,), (p, m)), ((n, p), (p,)), ((3, n, p), (p, m)), ((n, p), (3, p, m)),
        ((2, 1, n, p), (3, p, m)), ((p,), (3, p, m)), ((3, n, p), (p,))]))
    return {}, lambda torch: torch.matmul, [d.normal(*left), d.normal(*right)]


def linear(d):
    n, n_in, n_out = d.size(), d.size(), d.size()
    return {}, lambda torch: lambda x, w, b: x @ w + b, [d.normal(n, n_in), d.normal(n_in, n_out), d.normal(n_out)]


def add_bias(d):
    shape = d.shape(1)
    axis = d.axis(shape)
    place = [1] * (len(shape) - 1 - axis % len(shape))
    return dict(axis=axis), lambda torch: lambda x, b: x + b.reshape(-1, *place), [d.normal(*shape), d.normal(shape[axis])]


def reshape(d):
    shape = d.shape()
    new = d.data.draw(st.sampled_from([(-1,), shape, (*shape, 1), shape[::-1]]))
    return dict(shape=new), lambda torch: lambda x: x.reshape(new), [d.normal(*shape)]


def transpose(d):
    shape = d.shape()
    order = d.data.draw(st.permutations(range(len(shape))))
    return dict(axes=tuple(order)), lambda torch: lambda x: x.permute(order), [d.normal(*shape)]


def index(d):
    x = d.normal(*d.shape(1))
    key = d.key(x.shape)
    return dict(key=key), lambda torch: lambda x: x[torch_key(torch, key)], [x]


def put(d):
    shape = d.shape(1)
    key = d.key(shape)
    def theirs(torch):
        def f(x):
            places = torch.arange(np.prod(shape)).reshape(shape)[torch_key(torch, key)]
            return torch.zeros(int(np.prod(shape)), dtype=x.dtype).index_add(0, places.reshape(-1), x.reshape(-1)).reshape(shape)
        return f
    return dict(key=key, shape=shape), theirs, [d.normal(*np.zeros(shape)[key].shape)]


def replace(d):
    x = d.normal(*d.shape(1))
    key = d.data.draw(st.sampled_from([0, -1, slice(1), ..., x > 0]))
    value = d.normal() if d.int(0, 1) else d.normal(*x[key].shape)
    def theirs(torch):
        def f(x, value):
            out = x.clone()
            out[torch_key(torch, key)] = value
            return out
        return f
    return dict(key=key), theirs, [x, value]


def concatenate(d):
    shape = d.shape(1)
    axis = d.axis(shape)
    sizes = [d.int(0, 3) for _ in range(d.int(1, 3))]
    make = lambda n: d.normal(*[n if i == axis % len(shape) else m for i, m in enumerate(shape)])
    return dict(axis=axis), lambda torch: lambda *xs: torch.cat(xs, axis), [make(n) for n in sizes]


def mse(d):
    shape = d.shape()
    pred = d.normal(*shape, *[1] * d.int(0, 1))
    return {}, lambda torch: lambda p, t: torch.nn.functional.mse_loss(p.reshape(t.shape), t), [pred, d.normal(*shape)]


def cross_entropy(d):
    n, c = d.size(), d.size()
    return {}, lambda torch: torch.nn.functional.cross_entropy, [d.normal(n, c), d.rng.integers(0, c, n)]


def cast(d): return dict(dtype=np.float64), lambda torch: lambda x: x.double(), [d.normal(*d.shape())]


def torch_key(torch, key):
    if isinstance(key, tuple): return tuple(torch_key(torch, k) for k in key)
    return torch.from_numpy(key) if isinstance(key, np.ndarray) else key


CASES = dict([
    two("Addition", "add"), two("Subtraction", "sub"), two("Multiplication", "mul"),
    two("Division", "div", "normal", "positive"), two("Power", "pow", "positive", "normal"),
    two("Remainder", "remainder", "normal", "positive"), along_axis("RunningSum", "cumsum"),
    elementwise("Absolute", "abs"), elementwise("Square", "square"), elementwise("Exp", "exp"),
    elementwise("Log", "log", "positive"), elementwise("ReLU", "relu"), elementwise("Tanh", "tanh"),
    elementwise("Sigmoid", "sigmoid"), elementwise("Sin", "sin"), elementwise("Cos", "cos"),
    reduction("Sum", "sum"), reduction("Mean", "mean"), reduction("Max", "amax"),
    along_axis("Softmax", "softmax"), along_axis("LogSoftmax", "log_softmax")],
    Where=where, MatrixMultiply=matmul, Linear=linear, AddBias=add_bias, Reshape=reshape, Transpose=transpose,
    Index=index, Put=put, Replace=replace, Concatenate=concatenate, Cast=cast, MeanSquaredError=mse,
    CrossEntropy=cross_entropy)

each_operator = pytest.mark.parametrize("name", OPERATORS)
a_few = settings(max_examples=25, deadline=None, derandomize=True)


def drawn(name, data):
    "The operator, PyTorch's function and inputs."
    options, theirs, inputs = CASES[name](Draw(data))
    return OPERATORS[name](**options), theirs, inputs


def test_no_operator_is_forgotten(): assert set(CASES) == set(OPERATORS), f"in chapter 6 and in CASES above: {sorted(set(CASES) ^ set(OPERATORS))}"


@each_operator
@a_few
@given(st.data())
def test_a_gradient_agrees_with_nudges(name, data):
    operator, _, inputs = drawn(name, data)
    if not any(x.size for x in inputs): return
    asked = dict(needs_input_grad=[x.dtype.kind == "f" for x in inputs]) if operator.asks else {}
    gradcheck(partial(operator.forward, **operator.options),
              partial(operator.backward, **operator.options, **asked), *inputs, rtol=1e-6)


def leaves(make, inputs): return [make(x, x.dtype.kind == "f") for x in inputs]
def floats(inputs): return [x for x in inputs if x.requires_grad]
def array(x):
    if x is None: return 0
    return np.asarray(x.detach()) if isinstance(x, Tensor) else np.asarray(x.numpy(force=True) if hasattr(x, "numpy") else x)


def second(grad, g, xs, e):
    "The gradients of a gradient; None where it depends on none."
    if not g.requires_grad: return [None] * len(xs)
    return grad(g, xs, e, retain_graph=True, allow_unused=True)


@each_operator
@a_few
@given(st.data())
def test_first_and_second_derivatives_are_torchs(name, data):
    torch = pytest.importorskip("torch")
    operator, theirs, inputs = drawn(name, data)
    ours = leaves(Tensor, inputs)
    their = leaves(lambda x, need: torch.tensor(x, requires_grad=need), inputs)
    a, b, rng = operator(*ours), theirs(torch)(*their), np.random.default_rng(0)
    np.testing.assert_allclose(array(a), array(b), rtol=1e-9, atol=1e-9)
    dout = np.asarray(rng.standard_normal(a.shape))
    dout_a, dout_b = Tensor(dout, True), torch.tensor(dout, requires_grad=True)
    first_a = grad(a, floats(ours), dout_a, create_graph=True)
    first_b = torch.autograd.grad(b, floats(their), dout_b, create_graph=True)
    for g, h in zip(first_a, first_b):
        np.testing.assert_allclose(array(g), array(h), rtol=1e-8, atol=1e-9)
        e = np.asarray(rng.standard_normal(g.shape))
        second_a = second(grad, g, [*floats(ours), dout_a], Tensor(e))
        second_b = second(torch.autograd.grad, h, [*floats(their), dout_b], torch.tensor(e))
        for p, q in zip(second_a, second_b):
            np.testing.assert_allclose(array(p), array(q), rtol=1e-7, atol=1e-8)


@each_operator
@a_few
@given(st.data())
def test_in_single_precision_too(name, data):
    "Results and gradients keep the dtype of their inputs."
    operator, _, inputs = drawn(name, data)
    if name == "Cast": return
    xs = leaves(lambda x, need: Tensor(x.astype(np.float32) if need else x, need), inputs)
    out = operator(*xs)
    assert out.dtype == np.float32
    assert {g.dtype for g in grad(out, floats(xs), Tensor(np.ones(out.shape, np.float32)))} == {np.dtype(np.float32)}


# ---- at the edges

def test_powers_of_zero_have_torchs_gradients():
    torch = pytest.importorskip("torch")
    a, b = np.array([0.0, 0, 0, 0, 2, -2]), np.array([0.0, 1, 2, 0.5, 0, 3])
    theirs = [torch.tensor(x, requires_grad=True) for x in (a, b)]
    (theirs[0] ** theirs[1]).backward(torch.ones(6, dtype=torch.float64))
    for g, t in zip(ops.power_grad(np.ones(6), a, b), theirs): np.testing.assert_allclose(g, t.grad)


def test_equal_largest_numbers_share():
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    test_near(ops.amax_grad(np.ones(2), x, 1)[0], np.array([[0, 0.5, 0.5], [1 / 3] * 3]))


def test_the_gradient_of_nan_is_nan():
    assert np.isnan(ops.amax_grad(1.0, np.array([1.0, np.nan]))[0]).all()


def test_sigmoid_neither_overflows_nor_loses_what_is_small():
    with np.errstate(over="raise"):
        np.testing.assert_allclose(ops.sigmoid(np.array([-800.0, -40, 0, 800])), [0, np.exp(-40.0), 0.5, 1])
    np.testing.assert_allclose(ops.sigmoid_grad(1.0, np.array(40.0))[0], np.exp(-40.0))


def test_a_place_that_is_read_twice_gets_both():
    test_near(ops.index_grad(np.ones(3), np.zeros(2), [0, 0, 1])[0], np.array([2.0, 1.0]))


def test_division_by_what_is_tiny():
    tiny = np.array([1e-200])
    assert np.isfinite(ops.division_grad(1e-200 * np.ones(1), tiny, tiny)[1]).all()


@pytest.mark.parametrize("f, needed", [
    (ops.addition_grad, 2), (ops.multiplication_grad, 2), (ops.division_grad, 2), (ops.power_grad, 2),
    (ops.matmul_stacks_grad, 2)])
def test_what_is_not_needed_is_none(f, needed):
    x = np.ones((2, 2))
    for i in range(needed):
        asked = [j == i for j in range(needed)]
        assert [g is not None for g in f(x, x, x, needs_input_grad=asked)] == asked


@pytest.mark.parametrize("f", [partial(ops.reshape, shape=(4, 3)), ops.transpose, partial(ops.index, key=0), ops.amax,
                               lambda x: ops.concatenate(x, x), partial(ops.replace, value=7, key=0), ops.cumsum, lambda x: ops.remainder(x, x + 1)])
def test_what_only_moves_numbers_keeps_integers(f):
    assert f(np.arange(12).reshape(3, 4)).dtype == np.int64


def test_integer_inputs_have_no_gradient():
    assert [g is None for g in ops.multiplication_grad(np.ones(2), np.ones(2), np.array([1, 2]))] == [False, True]


# ---- on PyTorch's tensors

def test_pairs_run_on_torch_tensors():
    torch = pytest.importorskip("torch")
    x, y = torch.randn(3, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64).abs() + 0.5
    for f, f_grad, *inputs in [
            (ops.addition, ops.addition_grad, x, y), (ops.multiplication, ops.multiplication_grad, x, y),
            (ops.division, ops.division_grad, x, y), (ops.power, ops.power_grad, x.abs() + 0.5, y),
            (ops.absolute, ops.absolute_grad, x), (ops.tanh, ops.tanh_grad, x), (ops.sigmoid, ops.sigmoid_grad, x),
            (ops.sin, ops.sin_grad, x), (ops.cos, ops.cos_grad, x), (ops.amax, ops.amax_grad, x),
            (ops.matmul_stacks, ops.matmul_stacks_grad, x, y), (ops.transpose, ops.transpose_grad, x),
            (ops.concatenate, ops.concatenate_grad, x, x)]:
        gradcheck(f, f_grad, *inputs)


# ---- what is refused

X = np.ones((3, 4))
REFUSED = [
    (lambda: ops.addition(X, np.ones(3)), ValueError, "addition: a is (3, 4) and b is (3,): they do not fit: axis -1 has sizes 4 and 3"),
    (lambda: ops.multiplication_grad(np.ones(4), X, X), ValueError, "multiplication_grad: dout is (4,), a is (3, 4) and b is (3, 4): expected dout of shape (3, 4)"),
    (lambda: ops.where(X, X, X), TypeError, "where: mask has dtype float64: expected booleans"),
    (lambda: ops.where(X > 0, X, np.ones(3)), ValueError, "where: mask is (3, 4), a is (3, 4) and b is (3,): they do not fit"),
    (lambda: ops.tanh([1.0]), TypeError, "tanh: expected arrays of one library, NumPy or torch; got list"),
    (lambda: ops.tanh_grad(np.ones(3), X), ValueError, "tanh_grad: dout is (3,) and x is (3, 4): expected the same shape"),
    (lambda: ops.matmul_stacks(X, X), ValueError, "matmul_stacks: a is (3, 4) and b is (3, 4): expected (..., n, p) and (..., p, m), or vectors (p,)"),
    (lambda: ops.matmul_stacks(np.ones((2, 3, 4)), np.ones((5, 4, 3))), ValueError, "the stacks (2,) and (5,) do not fit"),
    (lambda: ops.matmul_stacks(np.ones(()), X), ValueError, "matmul_stacks: a is () and b is (3, 4)"),
    (lambda: ops.matmul_stacks_grad(X, X, X.T), ValueError, "matmul_stacks_grad: dout is (3, 4) and the output is (3, 3): expected the same shape"),
    (lambda: ops.amax(np.ones((0, 3)), 0), ValueError, "amax: x is (0, 3): of no numbers, none is the largest"),
    (lambda: ops.amax(X, 2), ValueError, "amax: axis 2 does not fit an array of shape (3, 4)"),
    (lambda: ops.amax_grad(np.ones(4), X, 1), ValueError, "amax_grad: dout is (4,) and the output is (3,): expected the same shape"),
    (lambda: ops.reshape(X, (5, 2)), ValueError, "reshape: x is (3, 4), which does not fit (5, 2)"),
    (lambda: ops.reshape(X, (-1, -1)), ValueError, "reshape: x is (3, 4), which does not fit (-1, -1)"),
    (lambda: ops.reshape(X, (-2, 6)), ValueError, "reshape: (-2, 6) has a size below -1"),
    (lambda: ops.reshape(X, (0, -1)), ValueError, "reshape: x is (3, 4), which does not fit (0, -1)"),
    (lambda: ops.reshape(X, 12), TypeError, "reshape: expected a shape such as (3, 4), got 12"),
    (lambda: ops.reshape_grad(X, X, (4, 3)), ValueError, "reshape_grad: dout is (3, 4) and the output is (4, 3): expected the same shape"),
    (lambda: ops.transpose(X, (0,)), ValueError, "transpose: x is (3, 4), and (0,) does not name all of its axes"),
    (lambda: ops.transpose(X, (0, 0)), ValueError, "transpose: axis 0 and 0 does not fit an array of shape (3, 4)"),
    (lambda: ops.transpose_grad(X, X), ValueError, "transpose_grad: dout is (3, 4) and the output is (4, 3): expected the same shape"),
    (lambda: ops.index(X, 3), IndexError, "index: x is (3, 4): index 3 is out of bounds"),
    (lambda: ops.index(X, (0, 0, 0)), IndexError, "index: x is (3, 4): too many indices"),
    (lambda: ops.index(X, "a"), IndexError, "index: x is (3, 4): only integers"),
    (lambda: ops.put(X, 0, (3, 4)), ValueError, "put: x is (3, 4) and its places are (4,)"),
    (lambda: ops.put(X, 7, (3, 4)), IndexError, "index 7 is out of bounds"),
    (lambda: ops.replace(X, np.ones(3), 0), ValueError, "replace: x is (3, 4) and value is (3,)"),
    (lambda: ops.replace(X, 1.0, 7), IndexError, "replace: x is (3, 4) and value is ()"),
    (lambda: ops.concatenate(), ValueError, "concatenate: expected at least one array"),
    (lambda: ops.concatenate(X, np.ones(3)), ValueError, "concatenate: (3, 4), (3,) do not fit along axis 0"),
    (lambda: ops.concatenate(X, np.ones((3, 5))), ValueError, "concatenate: (3, 4), (3, 5) do not fit along axis 0"),
    (lambda: ops.concatenate(X, X, axis=2), ValueError, "concatenate: axis 2 does not fit an array of shape (3, 4)"),
    (lambda: ops.concatenate(X, [1]), TypeError, "concatenate: expected arrays of one library"),
    (lambda: ops.concatenate_grad(X, X, X), ValueError, "concatenate_grad: dout is (3, 4) and the output is (6, 4): expected the same shape"),
    (lambda: ops.cast(X, "no dtype"), TypeError, "cast: "),
]

@pytest.mark.parametrize("call, kind, words", REFUSED, ids=[words for _, _, words in REFUSED])
def test_a_refusal_says_what_was_wrong(call, kind, words):
    with pytest.raises(kind) as error: call()
    assert words in str(error.value)
