"""Chapter 3's functions on any shape, dtype, device and library, what they refuse, and the first weights."""
import math, warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from foundations import forward
from foundations.check import test_near as near, test_near_zero as near_zero
from foundations.data import mnist, normalize
from foundations.forward import (
    add_bias, cross_entropy, exp, kaiming_normal, kaiming_std, kaiming_uniform, linear, log,
    log_softmax, mean, mse, relu, softmax, square, subtraction, sum, xavier_normal)

FOUR = np.zeros((4, 10))


@pytest.fixture
def torch(): return pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def no_warnings():
    "Whatever NumPy would warn of is an error here."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ---- on any shape, as PyTorch has it ----

many = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@st.composite
def arrays(pick, low, high, min_dims=0):
    "An array of up to four axes, numbers from `low` to `high`, float32 or float64, some a view with gaps."
    shape = pick(hnp.array_shapes(min_dims=min_dims, max_dims=4, min_side=0, max_side=4))
    dtype, numbers = pick(st.sampled_from([np.float32, np.float64])), st.floats(low, high, width=32)
    x = pick(hnp.arrays(dtype, (*shape, 2), elements=numbers))[..., 0]
    return x if pick(st.booleans()) else x.copy()


def agree(ours, theirs, *args, **kwargs):
    "`ours` on arrays and on tensors gives what `theirs` gives on tensors: shape, dtype and numbers."
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(np.array(x)) for x in args]
    expected = theirs(*tensors).numpy()
    for out in (ours(*args, **kwargs), ours(*tensors, **kwargs)):
        out = np.asarray(out)
        assert out.shape == expected.shape and out.dtype == expected.dtype
        if np.isnan(expected).any(): np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
        else: near(out, expected, atol=1e-6 if out.dtype == np.float32 else 1e-12)


def test_one_by_one(torch):
    @many
    @given(arrays(-50, 50), arrays(0.125, 100))
    def check(x, positive):
        agree(relu, torch.relu, x)
        agree(square, torch.square, x)
        agree(exp, torch.exp, x.clip(-10, 10))
        agree(log, torch.log, positive)
        for f, theirs in ((sum, torch.sum), (mean, torch.mean)): agree(f, theirs, x)
    check()


def test_along_an_axis(torch):
    @many
    @given(arrays(-50, 50, min_dims=1), st.data())
    def check(x, data):
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        agree(softmax, lambda t: torch.softmax(t, axis), x, axis=axis)
        agree(log_softmax, lambda t: torch.log_softmax(t, axis), x, axis=axis)
        for f, theirs in ((sum, torch.sum), (mean, torch.mean)):
            agree(f, lambda t: theirs(t, axis), x, axis=axis)
            agree(f, lambda t: theirs(t, axis, keepdim=True), x, axis=axis, keepdims=True)
        b = np.arange(x.shape[axis]).astype(x.dtype)
        agree(lambda x, b: add_bias(x, b, axis), lambda t, c: (t.movedim(axis, -1) + c).movedim(-1, axis), x, b)
    check()


def test_several_axes(torch):
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    for f, theirs in ((sum, torch.sum), (mean, torch.mean)):
        for axes in ((0, 1), (2, 0), (-1, 0), [1, 2]): agree(f, lambda t: theirs(t, tuple(axes)), x, axis=axes)


def test_whole_layers(torch):
    F, sizes = torch.nn.functional, st.integers(0, 5)

    @many
    @given(st.tuples(sizes, sizes, st.integers(1, 5)), st.sampled_from([np.float32, np.float64]),
           st.sampled_from([1, 1e4]), st.integers(0, 99))
    def check(shape, dtype, scale, seed):
        n, n_in, n_out = shape
        rng = np.random.default_rng(seed)
        x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((n, n_in), (n_in, n_out), (n_out,)))
        agree(linear, lambda x, w, b: F.linear(x, w.T, b), x, w, b)
        agree(subtraction, torch.sub, linear(x, w, b), b)
        agree(mse, lambda p, t: F.mse_loss(p[:, 0], t), linear(x, w, b)[:, :1], rng.standard_normal(n).astype(dtype))
        logits, targ = (scale * rng.standard_normal((n, n_out))).astype(dtype), rng.integers(0, n_out, n)
        agree(cross_entropy, F.cross_entropy, logits, targ)
    check()


# ---- numbers ----

def test_nan_stays_nan():
    assert np.isnan(relu(np.array([np.nan, -1.0]))).tolist() == [True, False]


def test_scores_that_would_overflow_or_vanish():
    near(softmax(np.array([[1000.0, 1001, 1002]])), softmax(np.array([[-1.0, 0, 1]])))
    near(log_softmax(np.array([[0, 200]], dtype=np.float32)), np.float32([[-200, 0]]))
    near(softmax(np.array([[1.5e308, -1e307]])), np.array([[1.0, 0]]))
    near(log_softmax(np.array([[1.5e308, -1e307]]))[0, 0], 0.0)
    near(cross_entropy(1e4 * np.eye(10), np.arange(10)), 0.0, atol=1e-12)


def test_a_perfect_answer_through_softmax_twice():
    near(cross_entropy(np.eye(10), np.arange(10)), math.log(1 + 9 / math.e))


def test_the_losses_of_chapter_3():
    "Templates, softmax twice, the first weights of two networks, and scales that were divided by."
    pixels, y, pixels_valid, y_valid = mnist()
    means = np.stack([pixels[y == d].mean(0) for d in range(10)], axis=1)
    logits = pixels_valid @ (means / np.sqrt((means**2).sum(0)))
    assert 1.1 < cross_entropy(logits, y_valid) < 1.3
    assert 1.7 < cross_entropy(softmax(3 * logits), y_valid) < 1.8
    x, rng = normalize(pixels, pixels.mean(), pixels.std()), np.random.default_rng(0)
    hidden = relu(x @ kaiming_normal((784, 50), rng))
    assert 2.3 < cross_entropy(hidden @ kaiming_normal((50, 10), rng), y) < 3.7
    targ, w2 = y.astype(np.float32), kaiming_normal((50, 1), rng)
    assert 10 < mse(hidden @ w2, targ) < 100
    assert 1e7 < mse(hidden * 784 / 2 @ (w2 * 25), targ) < 1e9       # both layers divided by √(2/n)


def test_mse_compares_what_belongs_together():
    pred, targ = np.array([[1.0], [2], [5]]), np.array([0.0, 4, 5])
    near(mse(pred, targ), 5 / 3)
    near(mse(pred[:1], targ[:1]), 1.0)
    near(mse(pred[:, 0], targ), 5 / 3)
    near(mse(pred, targ[:, None]), 5 / 3)
    near(mse(np.ones((2, 3, 1)), np.zeros((2, 3))), 1.0)


def test_a_copy_is_handed_out():
    "No function hands back its argument, which one might then change."
    x = np.ones((2, 3))
    for f in (relu, square, exp, softmax, log_softmax, sum, mean): assert not np.shares_memory(f(x), x)
    assert not np.shares_memory(add_bias(x, np.zeros(3)), x)


# ---- nothing, integers, halves ----

def test_an_empty_batch_is_no_error():
    empty = np.ones((0, 10), dtype=np.float32)
    assert linear(empty, np.ones((10, 3), dtype=np.float32), np.zeros(3, dtype=np.float32)).shape == (0, 3)
    assert softmax(empty).shape == log_softmax(empty).shape == (0, 10) and sum(empty) == 0
    assert math.isnan(cross_entropy(empty, np.ones(0, int))) and math.isnan(mse(empty[:, :1], empty[:, 0]))


@pytest.mark.parametrize("shape, axis", [((3, 0), -1), ((3, 0), 0), ((0, 3), 0), ((2, 0, 3), 1), ((0,), 0)])
def test_shares_of_nothing(shape, axis):
    for f in (softmax, log_softmax): assert f(np.ones(shape), axis).shape == shape


def test_the_mean_of_nothing_is_nan():
    nothing = np.ones((2, 0))
    assert math.isnan(mean(nothing)) and np.isnan(mean(nothing, axis=1)).all()
    assert mean(nothing, axis=0).shape == (0,) and mean(nothing, axis=1, keepdims=True).shape == (2, 1)
    assert sum(nothing, axis=1).tolist() == [0, 0]


def test_the_mean_of_nothing_is_nan_in_torch(torch):
    assert math.isnan(cross_entropy(torch.ones(0, 10), torch.ones(0, dtype=int)))
    assert math.isnan(mse(torch.ones(0, 1), torch.ones(0))) and math.isnan(mean(torch.ones(2, 0)))


def test_one_number():
    one = np.array(3.0)
    assert mean(one) == sum(one) == relu(one) == 3 and softmax(one) == 1 and log_softmax(one) == 0
    assert np.shape(softmax(one)) == ()


def test_integers_beside_floats():
    pred = np.ones((3, 1), dtype=np.float32)
    loss = mse(pred, np.arange(3))
    assert loss.dtype == np.float32
    near(loss, np.float32(2 / 3))
    assert mean(np.arange(4)).dtype == np.float64 and mean(np.arange(4)) == 1.5
    assert linear(np.ones((2, 2), np.float32), np.ones((2, 2), int), np.zeros(2, bool)).dtype == np.float32


def test_float32_and_float64_make_float64():
    assert subtraction(np.ones(2, np.float32), np.ones(2)).dtype == np.float64


def test_halves_are_computed_in_float32():
    ones = np.ones((3000, 2), dtype=np.float16)
    assert sum(ones, axis=0).tolist() == [3000, 3000]          # NumPy's own stops at 2,048
    big = np.full((1, 3000), 60000, dtype=np.float16)
    assert mean(big) == 60000 and mean(big).dtype == np.float16   # a sum of halves would be infinite
    assert softmax(big).dtype == log_softmax(big).dtype == relu(big).dtype == np.float16
    assert cross_entropy(ones, np.zeros(3000, int)).dtype == np.float16
    near(cross_entropy(ones, np.zeros(3000, int)), np.float16(math.log(2)))


# ---- what is refused ----

X, W, B = np.ones((5, 784), np.float32), np.ones((784, 50), np.float32), np.ones(50, np.float32)

@pytest.mark.parametrize("words, error, call", [
    ("linear: x is (5, 784), w is (50, 784) and b is (50,): expected (n, n_in), (n_in, n_out) and (n_out,)",
     ValueError, lambda: linear(X, W.T, B)),
    ("n_in is 784 in x and 50 in w", ValueError, lambda: linear(X, W.T, B)),
    ("b is (1, 50)", ValueError, lambda: linear(X, W, B[None])),
    ("relu: expected arrays of one library, NumPy or torch; got list", TypeError, lambda: relu([-1.0, 2.0])),
    ("for axis 1, expected b of shape (3,)", ValueError, lambda: add_bias(np.ones((2, 3, 4)), np.ones(4), axis=1)),
    ("sum: axis 2 does not fit an array of shape (784, 50)", ValueError, lambda: sum(W, axis=2)),
    ("mean: axis 0 and 0 does not fit", ValueError, lambda: mean(W, axis=(0, 0))),
    ("mean: axis () means none to NumPy and all to torch", ValueError, lambda: mean(W, axis=())),
    ("sum: expected an axis or a tuple of axes, got 0.5", TypeError, lambda: sum(W, axis=0.5)),
    ("softmax: expected an axis", TypeError, lambda: softmax(FOUR, (0, 1))),
    ("log_softmax: axis 2 does not fit", ValueError, lambda: log_softmax(FOUR, 2)),
    ("they do not fit: axis -1 has sizes 3 and 4, and neither is 1", ValueError,
     lambda: subtraction(np.ones(3), np.ones(4))),
    ("subtraction: a is (3,) and b is (4,)", ValueError, lambda: subtraction(np.ones(3), np.ones(4))),
    ("mse: pred is (5, 1) and targ is (4,): expected equal shapes, or one more axis of size 1 in pred",
     ValueError, lambda: mse(np.ones((5, 1)), np.ones(4))),
    ("pred is (5,) and targ is (5, 1)", ValueError, lambda: mse(np.ones(5), np.ones((5, 1)))),
    ("cross_entropy: targ[2] is 10: expected a class from 0 to 9", ValueError,
     lambda: cross_entropy(FOUR, np.array([3, 1, 10, 0]))),
    ("targ[0] is -1", ValueError, lambda: cross_entropy(FOUR, np.array([-1, 0, 0, 0]))),
    ("targ has dtype float64: expected integers", TypeError, lambda: cross_entropy(FOUR, np.ones(4))),
    ("logits is (4, 10) and targ is (3,): expected (n, c) and (n,)", ValueError,
     lambda: cross_entropy(FOUR, np.array([3, 1, 0]))),
    ("expected real numbers, got complex128", TypeError, lambda: square(np.ones(2, complex))),
])
def test_refused(words, error, call):
    with pytest.raises(error) as caught: call()
    assert words in str(caught.value)


def refused(words, error, f, *args):
    with pytest.raises(error) as caught: f(*args)
    assert words in str(caught.value)


def test_refused_between_libraries(torch):
    refused("linear: expected arrays of one library, NumPy or torch; got ndarray, Tensor and ndarray",
            TypeError, linear, X, torch.ones(784, 50), B)
    refused("ndarray and Tensor", TypeError, cross_entropy, FOUR, torch.tensor([3, 1, 2, 0]))


def test_refused_in_torch(torch):
    refused("targ[1] is 3", ValueError, cross_entropy, torch.zeros(2, 3), torch.tensor([0, 3]))
    refused("targ[0] is -1", ValueError, cross_entropy, torch.zeros(2, 3), torch.tensor([-1, 0], dtype=torch.int8))
    refused("meta and cpu", ValueError, cross_entropy, torch.zeros(2, 3, device="meta"), torch.tensor([0, 1]))


def test_small_integers_name_all_their_classes(torch):
    for targ in (torch.tensor([0, 255], dtype=torch.uint8), np.array([0, 255], dtype=np.uint8)):
        logits = torch.zeros(2, 256) if isinstance(targ, torch.Tensor) else np.zeros((2, 256), np.float32)
        near(cross_entropy(logits, targ), np.float32(math.log(256)))


# ---- a bias along an axis ----

def test_a_bias_along_an_axis():
    pictures, colours = np.zeros((2, 3, 4, 4)), np.array([10.0, 20, 30])
    near(add_bias(pictures, colours, axis=1), pictures + colours[:, None, None])
    near(add_bias(pictures, colours, axis=-3), pictures + colours[:, None, None])
    near(add_bias(X @ W, B), linear(X, W, B))
    near(forward.add_bias.__wrapped__(pictures, colours, -3), pictures + colours[:, None, None])


# ---- the first weights ----

def test_what_initialisers_refuse():
    rng = np.random.default_rng(0)
    refused("kaiming_normal: expected a shape (n_in, n_out), got (3,)", ValueError, kaiming_normal, (3,), rng)
    refused("kaiming_uniform: expected 'fan_in' or 'fan_out', got 'fan'", ValueError,
            kaiming_uniform, (3, 2), rng, 0, "fan")
    refused("kaiming_std: expected 'fan_in' or 'fan_out', got 'fan'", ValueError, kaiming_std, (3, 2), 0, "fan")
    refused("xavier_normal: expected a np.random.Generator or a torch.Generator, got int", TypeError,
            xavier_normal, (3, 2), 0)
    refused("xavier_normal: (-1, 3) has a negative size", ValueError, xavier_normal, (-1, 3), rng)
    refused("kaiming_normal: (-1, 3) has a negative size", ValueError, kaiming_normal, (-1, 3), rng)
    for draws in (kaiming_normal, kaiming_uniform, xavier_normal):
        refused(f"{draws.__name__}: expected a floating-point dtype, got int64", TypeError, partial(draws, dtype=np.int64), (3, 2), rng)


def test_shapes_and_dtypes_of_the_first_weights():
    rng = np.random.default_rng(0)
    assert xavier_normal((3, 2), rng, gain=np.sqrt(2)).dtype == np.float32
    assert kaiming_normal((3, 2), rng, a=np.sqrt(5)).dtype == np.float32
    assert kaiming_normal((0, 3), rng).shape == (0, 3) and kaiming_std((0, 3)) == math.sqrt(2)
    assert xavier_normal((2, 3), rng, dtype=np.float64).dtype == np.float64


def test_one_seed_gives_the_same_weights():
    for make in (kaiming_normal, kaiming_uniform, xavier_normal):
        near(make((4, 5), np.random.default_rng(1)), make((4, 5), np.random.default_rng(1)))


def test_the_standard_deviations():
    near(kaiming_std((100, 7)), math.sqrt(2 / 100))
    near(kaiming_std((100, 8), mode="fan_out"), 0.5)
    near(kaiming_std((784, 50), a=1), 1 / 28)
    near(np.float32(abs(kaiming_uniform((784, 50), np.random.default_rng(0), a=math.sqrt(5))).max()),
         np.float32(1 / 28), rtol=1e-3)


def test_of_fifty_layers_only_the_right_scale_is_level():
    for act, factor, right in ((relu, 2, True), (relu, 1, False), (lambda z: z, 1, True), (lambda z: z, 2, False)):
        rng = np.random.default_rng(0)
        h = rng.standard_normal((200, 100), dtype=np.float32)
        for _ in range(50): h = act(h @ (kaiming_normal((100, 100), rng) * math.sqrt(factor / 2)))
        assert (0.01 < float(np.sqrt(square(h).mean())) < 100) == right


def same_distribution(ours, theirs, torch):
    "`ours` of shape (400, 300) against PyTorch's initialiser of the transposed shape."
    w, t = np.asarray(ours), theirs(torch.empty(300, 400)).numpy()
    assert w.shape == (400, 300) and w.dtype == np.float32
    near_zero(w.mean(), tol=5 * t.std() / math.sqrt(w.size))
    near(w.std(), t.std(), rtol=0.01)          # of 120,000 numbers it is known to about 0.2 percent
    near(np.quantile(w, [0.01, 0.25, 0.75, 0.99]), np.quantile(t, [0.01, 0.25, 0.75, 0.99]), rtol=0.04)
    return w, t


@pytest.mark.parametrize("library", ["NumPy", "torch"])
def test_the_same_distributions_as_in_torch(torch, library):
    torch.manual_seed(0)
    init, shape = torch.nn.init, (400, 300)
    g = np.random.default_rng(0) if library == "NumPy" else torch.Generator().manual_seed(0)
    same_distribution(xavier_normal(shape, g, gain=5 / 3), lambda t: init.xavier_normal_(t, gain=5 / 3), torch)
    for mode in ("fan_in", "fan_out"):
        for a in (0, 0.2, math.sqrt(5)):
            same_distribution(kaiming_normal(shape, g, a, mode), lambda t: init.kaiming_normal_(t, a, mode), torch)
            w, t = same_distribution(kaiming_uniform(shape, g, a, mode),
                                     lambda t: init.kaiming_uniform_(t, a, mode), torch)
            near(abs(w).max(), abs(t).max(), rtol=1e-3)


def test_a_layer_of_torch_is_ours_transposed(torch):
    torch.manual_seed(0)
    layer, images = torch.nn.Linear(784, 50), torch.randn(5, 784)
    weight, bias = layer.weight.detach(), layer.bias.detach()
    near(layer(images).detach(), linear(images, weight.T, bias), rtol=1e-4)
    near(weight.std(), torch.tensor(1 / math.sqrt(3 * 784)), rtol=0.01)
