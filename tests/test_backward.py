"""Gradients by hand (chapter 4): against nudges, against PyTorch on shapes that Hypothesis makes up, and what is refused."""
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foundations import backward, forward, matmul
from foundations.check import gradcheck, numerical_grad, test_near

many = settings(max_examples=100, deadline=None, derandomize=True, database=None)
shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
dtypes = st.sampled_from([np.float32, np.float64])
scales = st.sampled_from([1.0, 1e4])


def numbers(shape, dtype=np.float64, seed=0, scale=1.0):
    return np.asarray(scale * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


# ---- against nudges ----

@many
@given(st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 999))
def test_nudges_agree(shape, seed):
    n, p, m = shape
    a, b, c = (numbers(s, seed=seed) for s in ((n, p), (p, m), m))
    targ = np.random.default_rng(seed).integers(0, m, n)
    cases = dict(square=[a], exp=[a], softmax=[a], log_softmax=[a], mean=[a], sum=[a], log=[abs(a) + 0.1],
                 relu=[a + np.sign(a) * 0.01], linear=[a, b, c], subtraction=[a @ b, c], add_bias=[a @ b, c],
                 mse=[a[:, :1], a[:, 0] + 1], cross_entropy=[a @ b, targ], matmul=[a, b])   # relu: off its corner
    for name, inputs in cases.items():
        f = matmul.matmul if name == "matmul" else getattr(forward, name)
        gradcheck(f, getattr(backward, f"{name}_grad"), *inputs, rtol=1e-6, projections=2, max_elements=4)


AXES = [dict(axis=0), dict(axis=-1), dict(axis=(0, 2)), dict(axis=1, keepdims=True), dict(axis=None, keepdims=True)]

@pytest.mark.parametrize("options", AXES, ids=str)
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_sums_along_axes(name, options):
    f, f_grad = getattr(forward, name), getattr(backward, f"{name}_grad")
    gradcheck(lambda x: f(x, **options), lambda dout, x: f_grad(dout, x, **options), numbers((2, 3, 4)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_along_one_axis(axis):
    x = numbers((2, 3, 4))
    for name in ("softmax", "log_softmax"):
        f, f_grad = getattr(forward, name), getattr(backward, f"{name}_grad")
        gradcheck(lambda x: f(x, axis), lambda dout, x: f_grad(dout, x, axis), x)
    gradcheck(lambda x, b: forward.add_bias(x, b, axis), lambda dout, x, b: backward.add_bias_grad(dout, x, b, axis),
              x, numbers(x.shape[axis]))


def test_a_bias_alone_has_a_gradient_of_its_own():
    dout = np.ones(3)
    dx, db = backward.add_bias_grad(dout, np.ones(3), np.ones(3))
    test_near(db, dout)
    assert not np.shares_memory(dx, db)


@pytest.mark.parametrize("b", [(3,), (1,), (), (4, 1), (2, 1, 1)])
def test_what_was_stretched_is_summed(b):
    gradcheck(forward.subtraction, backward.subtraction_grad, numbers((2, 4, 3)), numbers(b))
    gradcheck(forward.subtraction, backward.subtraction_grad, numbers(b), numbers((2, 4, 3)))


def test_the_steps_of_mse_are_its_formula():
    pred, targ = numbers(5), numbers(5, seed=1)
    difference = forward.subtraction(pred, targ)
    [dsquared] = backward.mean_grad(1.0, forward.square(difference))
    [d] = backward.square_grad(dsquared, difference)
    for ours, g in zip(backward.mse_grad(1.0, pred, targ), backward.subtraction_grad(d, pred, targ)): test_near(ours, g)


def test_cross_entropy_is_shares_minus_truth():
    scores, true = np.array([[2.0, 1, 0, 3]]), np.array([3])
    test_near(backward.cross_entropy_grad(1.0, scores, true)[0], forward.softmax(scores) - np.eye(4)[true])


def test_the_whole_way_back():
    x, y, *weights = (numbers(s, seed=i) for i, s in enumerate([(3, 7), 3, (7, 5), 5, (5, 1), 1]))
    loss, grads = backward.forward_and_backward(x, y, *weights)
    test_near(loss, ((np.maximum(x @ weights[0] + weights[1], 0) @ weights[2] + weights[3])[:, 0] - y)**2 @ np.ones(3) / 3)
    nudged = numerical_grad(lambda x, *w: backward.forward_and_backward(x, y, *w)[0], x, *weights)
    for ours, g in zip(grads, nudged, strict=True): test_near(ours, g, rtol=1e-7)


def test_a_wrong_transpose_is_noticed():
    wrong = lambda dout, a, b: (dout @ b, a.T @ dout)
    with pytest.raises(AssertionError, match="argument 0"): gradcheck(matmul.matmul, wrong, numbers((6, 4)), numbers((4, 4)))


# ---- corners, infinities, dtypes ----

def test_the_corner_of_relu():
    [g] = backward.relu_grad(np.ones(1), np.zeros(1))
    assert g == 0
    assert numerical_grad(lambda x: forward.relu(x)[0], np.zeros(1))[0] == 0.5


def test_relu_lets_nan_through():
    [g] = backward.relu_grad(np.full(5, 7.0), np.array([np.nan, -np.inf, np.inf, -1, 2]))
    assert g.tolist() == [7, 0, 7, 0, 7]


@pytest.mark.parametrize("x", [np.array([0.0, 1000]), np.array([-np.inf, 0.0])])
def test_log_softmax_does_not_divide_by_a_share(x):
    assert np.isfinite(backward.log_softmax_grad(np.ones(2), x)[0]).all()


def test_integers_have_no_gradient():
    pred, logits, classes = numbers((4, 1)), numbers((4, 3)), np.array([0, 2, 1, 0])
    dpred, none = backward.mse_grad(1.0, pred, classes)
    test_near(dpred, backward.mse_grad(1.0, pred, classes * 1.0)[0])
    assert none is None and backward.cross_entropy_grad(1.0, logits, classes)[1] is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_have_the_dtype_of_the_inputs(dtype):
    x, w, b, dout = (numbers(s, dtype) for s in ((4, 3), (3, 2), 2, (4, 2)))
    found = [*backward.linear_grad(dout, x, w, b), *backward.relu_grad(x, x), *backward.softmax_grad(x, x),
             *backward.mse_grad(1.0, dout[:, :1], dout[:, 0]), backward.cross_entropy_grad(1.0, x, np.array([0, 1, 2, 0]))[0]]
    assert {g.dtype for g in found} == {np.dtype(dtype)}


def test_the_mean_of_nothing():
    assert backward.mse_grad(1.0, np.ones((0, 1)), np.ones(0))[0].shape == (0, 1)
    assert backward.cross_entropy_grad(1.0, np.ones((0, 3)), np.ones(0, int))[0].shape == (0, 3)
    assert backward.mean_grad(np.ones(2), np.ones((2, 0)), axis=1)[0].shape == (2, 0)


def test_inputs_are_not_written_into():
    given = numbers((4, 3)), numbers((4, 3), seed=1)
    kept = [v.copy() for v in given]
    for name in ("square", "exp", "log", "relu", "softmax", "log_softmax"): getattr(backward, f"{name}_grad")(*map(abs, given))
    backward.cross_entropy_grad(1.0, given[0], np.array([0, 1, 2, 0]))
    for v, old in zip(given, kept): np.testing.assert_array_equal(v, old)


# ---- what is refused ----

ONES = np.ones
REFUSED = [
    ("relu_grad", (ONES(3), ONES((2, 3))), "dout is (3,) and x is (2, 3)"),
    ("square_grad", (ONES((2, 1)), ONES((2, 3))), "dout is (2, 1) and x is (2, 3)"),
    ("matmul_grad", (ONES((4, 3)), ONES((4, 5)), ONES((5, 4))), "dout is (4, 3), a is (4, 5) and b is (5, 4)"),
    ("matmul_grad", (ONES((4, 4)), ONES((4, 5)), ONES((6, 4))), "a is (4, 5) and b is (6, 4)"),
    ("mse_grad", (1.0, ONES((5, 1)), ONES(4)), "pred is (5, 1) and targ is (4,)"),
    ("mse_grad", (ONES(5), ONES((5, 1)), ONES(5)), "dout is (5,)"),
    ("linear_grad", (ONES((5, 3)), ONES((5, 4)), ONES((3, 4)), ONES(3)), "x is (5, 4), w is (3, 4)"),
    ("subtraction_grad", (ONES((2, 3)), ONES((2, 3)), ONES((2, 2))), "sizes 3 and 2"),
    ("subtraction_grad", (ONES(3), ONES((2, 3)), ONES(3)), "dout"),
    ("sum_grad", (ONES(2), ONES((2, 3)), 0), "dout is (2,) and the output is (3,)"),
    ("mean_grad", (ONES(2), ONES((2, 3)), 2), "axis 2 does not fit an array of shape (2, 3)"),
    ("softmax_grad", (ONES((2, 3)), ONES((2, 3)), 2), "axis 2 does not fit"),
    ("add_bias_grad", (ONES((2, 3)), ONES((2, 3)), ONES(2)), "expected b of shape (3,)"),
    ("cross_entropy_grad", (1.0, np.zeros((1, 10)), np.array([10])), "targ[0] is 10"),
    ("cross_entropy_grad", (1.0, np.zeros((1, 10)), np.array([-1])), "targ[0] is -1"),
    ("cross_entropy_grad", (1.0, np.zeros((2, 10)), np.array([1])), "logits is (2, 10) and targ is (1,)"),
]

@pytest.mark.parametrize("name, given, words", REFUSED)
def test_shapes_that_do_not_fit_are_refused_by_name(name, given, words):
    with pytest.raises(ValueError, match=rf"^{name}: .*{re.escape(words)}"): getattr(backward, name)(*given)


def test_other_kinds_are_refused():
    with pytest.raises(TypeError, match=r"cross_entropy_grad: .*expected integers"):
        backward.cross_entropy_grad(1.0, np.zeros((1, 10)), np.array([1.0]))
    with pytest.raises(TypeError, match=r"square_grad: .*got tuple and ndarray"):
        backward.square_grad(backward.relu_grad(ONES(3), ONES(3)), ONES(3))
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"square_grad: .*got ndarray and Tensor"): backward.square_grad(ONES(3), torch.ones(3))


# ---- against PyTorch: any shape, empty ones too; on arrays and on tensors ----

def agree(f_grad, theirs, *inputs):
    "`f_grad`, on arrays and on tensors, gives what autograd finds for `theirs`, in the same dtypes."
    import torch
    leaves = [torch.from_numpy(v).requires_grad_(v.dtype.kind == "f") for v in inputs]
    out = theirs(*leaves)
    dout = numbers(tuple(out.shape), inputs[0].dtype, seed=1)
    out.backward(torch.from_numpy(dout))
    tensors = [torch.from_numpy(v) for v in (dout, *inputs)]
    for grads in (f_grad(dout, *inputs), f_grad(*tensors)):
        assert isinstance(grads, tuple) and len(grads) == len(inputs)
        for g, leaf, x in zip(grads, leaves, inputs):
            if g is None: assert x.dtype.kind != "f"; continue
            assert tuple(g.shape) == x.shape and str(g.dtype).removeprefix("torch.") == str(x.dtype)
            test_near(g, leaf.grad, *((1e-4, 1e-5) if x.dtype == np.float32 else (1e-9, 1e-11)))


@many
@given(shapes, dtypes, st.integers(0, 99))
def test_as_pytorch_number_by_number(shape, dtype, seed):
    torch = pytest.importorskip("torch")
    x = numbers(shape, dtype, seed)
    agree(backward.square_grad, torch.square, x)
    agree(backward.exp_grad, torch.exp, x)
    agree(backward.log_grad, torch.log, abs(x) + np.asarray(0.1, dtype))
    agree(backward.relu_grad, torch.relu, x)
    agree(backward.relu_grad, torch.relu, np.round(x))   # with zeros
    agree(backward.sum_grad, torch.sum, x)
    agree(backward.mean_grad, torch.mean, x)


def test_relu_is_pytorchs_at_nan():
    torch = pytest.importorskip("torch")
    x = torch.tensor([float("nan"), -1.0, 0.0, 2.0], requires_grad=True)
    torch.relu(x).backward(torch.full((4,), 7.0))
    assert backward.relu_grad(torch.full((4,), 7.0), x.detach())[0].tolist() == x.grad.tolist()


@many
@given(shapes, dtypes, st.data(), st.booleans(), scales)
def test_as_pytorch_along_an_axis(shape, dtype, data, keepdims, scale):
    torch = pytest.importorskip("torch")
    x, axis = numbers(shape, dtype), data.draw(st.integers(-len(shape), len(shape) - 1))
    agree(lambda dout, x: backward.sum_grad(dout, x, axis, keepdims), lambda t: t.sum(axis, keepdim=keepdims), x)
    agree(lambda dout, x: backward.mean_grad(dout, x, axis, keepdims), lambda t: t.mean(axis, keepdim=keepdims), x)
    large = numbers(shape, dtype, scale=scale)
    agree(lambda dout, x: backward.softmax_grad(dout, x, axis), lambda t: torch.softmax(t, axis), large)
    agree(lambda dout, x: backward.log_softmax_grad(dout, x, axis), lambda t: torch.log_softmax(t, axis), large)
    agree(lambda dout, x, b: backward.add_bias_grad(dout, x, b, axis),
          lambda t, c: (t.movedim(axis, -1) + c).movedim(-1, axis), x, numbers(shape[axis], dtype, seed=2))


sizes = st.integers(0, 5)

@many
@given(st.tuples(sizes, sizes, st.integers(1, 5)), dtypes, scales, st.integers(0, 99))
def test_as_pytorch_whole_layers(shape, dtype, scale, seed):
    F = pytest.importorskip("torch").nn.functional
    n, p, m = shape
    a, b, c = numbers((n, p), dtype, seed), numbers((p, m), dtype, seed + 1), numbers(m, dtype, seed + 2)
    agree(backward.matmul_grad, lambda a, b: a @ b, a, b)
    agree(backward.linear_grad, lambda x, w, b: F.linear(x, w.T, b), a, b, c)
    agree(backward.subtraction_grad, lambda a, b: a - b, a @ b, c)
    classes = np.random.default_rng(seed).integers(0, m, n)
    agree(backward.cross_entropy_grad, F.cross_entropy, numbers((n, m), dtype, seed, scale), classes)
    pred, targ = numbers((n, 1), dtype, seed), numbers(n, dtype, seed + 1)
    agree(backward.mse_grad, lambda p, t: F.mse_loss(p[:, 0], t), pred, targ)


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-4), (np.float64, 1e-10)])
def test_as_pytorch_the_whole_way_back(dtype, rtol):
    torch = pytest.importorskip("torch")
    arrays = [numbers(s, dtype, i) for i, s in enumerate([(64, 784), 64, (784, 50), 50, (50, 1), 1])]
    leaves = [torch.from_numpy(v).requires_grad_() for v in arrays]
    x, y, w1, b1, w2, b2 = leaves
    torch.nn.functional.mse_loss((torch.relu(x @ w1 + b1) @ w2 + b2)[:, 0], y).backward()
    for given_ in (arrays, [leaf.detach() for leaf in leaves]):
        grads = backward.forward_and_backward(*given_)[1]
        for g, leaf in zip(grads, (x, w1, b1, w2, b2), strict=True):
            assert type(g) is type(given_[0]) and g.dtype == given_[0].dtype
            test_near(g, leaf.grad, rtol=rtol)
