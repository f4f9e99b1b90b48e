"""The one boundary: what fits, what is converted, what is refused, and with which words."""
import inspect, pickle, subprocess, sys, textwrap, traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from foundations import backward, broadcasting, forward, matmul
from foundations.autograd import Tensor, grad
from foundations.check import test_near
from foundations.layers import Array
from foundations.shapes import (a_generator, axes, classes, common_shape, count, each, integers, largest, list_shapes,
                                mismatch, one_axis, one_hot, one_of, parse, random, rows, shapes, sizes, without, xp, zeros_for)


@shapes("n n_in, n_in n_out, n_out -> n n_out")
def linear(x, w, b):
    "A linear layer."
    return x @ w + b


@shapes("... -> -", axis=axes)
def total(x, axis=None, *, keepdims=False):
    return x.sum(axis, keepdims=keepdims)


@shapes("- -> -", axis=one_axis)
def joined(*xs, axis=0):
    "One after the other."
    return xp(xs[0]).concat(xs, axis=axis)


@shapes("n c, int n -> n", targ=classes)
def picked(logits, targ): return logits[rows(logits), targ]


@shapes("..., ... -> ...")
def relu_grad(dout, x): return (dout * ~(x <= 0),)


@shapes("(), ... [1], ... -> ... [1], ...")
def mse_grad(dout, pred, targ):
    g = dout * 2 / count(targ) * (pred.reshape(targ.shape) - targ)
    return g.reshape(pred.shape), -g


X, W, B = np.arange(6.0).reshape(2, 3), np.ones((3, 4)), np.ones(4)


# ---- patterns

@pytest.mark.parametrize("pattern, given, fits", [
    ("n p", [(3, 4)], True), ("n p", [(3,)], False), ("n p", [(3, 4, 5)], False), ("n n", [(3, 3)], True),
    ("n n", [(3, 4)], False), ("n 2", [(3, 2)], True), ("n 2", [(3, 4)], False), ("()", [()], True), ("()", [(1,)], False),
    ("...", [()], True), ("...", [(2, 3)], True), ("... n", [()], False), ("... n, n", [(2, 3, 4), (4,)], True),
    ("n ... m", [(2, 5, 5, 3)], True), ("n ... m", [(2,)], False), ("..., ...", [(2, 3), (2, 3)], True),
    ("..., ...", [(2, 3), (3,)], False), ("n p, p m", [(3, 4), (4, 2)], True), ("n p, p m", [(3, 4), (5, 2)], False),
    ("... [1], ...", [(4, 1), (4,)], True), ("... [1], ...", [(4,), (4,)], True), ("... [1], ...", [(4, 1), (4, 1)], True),
    ("... [1], ...", [(4,), (4, 1)], False), ("... [1], ...", [(1,), ()], True), ("... [1], ...", [(4, 2), (4,)], False),
    ("*a, *b", [(3, 1), (4,)], True), ("*a, *b", [(3,), (4,)], False), ("*, *a, *b", [(3, 4), (3, 1), (4,)], True),
    ("*, *a, *b", [(4,), (3, 1), (4,)], False), ("-, n", [(1, 2, 3), (4,)], True), ("n, n", [(0,), (0,)], True)])
def test_a_pattern_fits(pattern, given, fits):
    names = [f"a{i}" for i in range(len(given))]
    assert (mismatch(names, parse(pattern), given) is None) is fits


@pytest.mark.parametrize("given", [((3, 1), (4,)), ((), (2, 3)), ((0, 3), (1,)), ((2,), (3,)), ((2, 1), (3, 2, 5), ())])
def test_shapes_are_broadcast_as_numpy_does(given):
    try: expected = np.broadcast_shapes(*given)
    except ValueError: expected = None
    assert common_shape(*given) == expected


# ---- the function that is made

def test_it_is_the_formula_but_for_its_checks():
    test_near(linear(X, W, B), X @ W + B)
    assert linear.__wrapped__(X, W, B) is not None and linear.__wrapped__ is inspect.unwrap(linear)
    assert str(inspect.signature(total)) == "(x, axis=None, *, keepdims=False)"
    assert (linear.__name__, linear.__module__, linear.pattern) == ("linear", __name__, "n n_in, n_in n_out, n_out -> n n_out")
    assert linear.__doc__ == "A linear layer.\n\nShapes: `n n_in, n_in n_out, n_out -> n n_out`."
    assert "return x @ w + b" in inspect.getsource(linear)


def test_arguments_may_be_named(): test_near(linear(x=X, w=W, b=B), linear(X, b=B, w=W))


def test_options_keep_their_kinds_and_defaults():
    assert total(X) == X.sum() and total(X, -1).shape == (2,) and total(X, keepdims=True).shape == (1, 1)
    with pytest.raises(TypeError, match="positional"): total(X, 0, True)


@pytest.mark.parametrize("call, words", [
    (lambda: linear(X, W), "linear() missing 1 required positional argument: 'b'"),
    (lambda: linear(X, W, B, B), "linear() takes 3 positional arguments but 4 were given"),
    (lambda: linear(X, W, c=B), "linear() got an unexpected keyword argument 'c'"),
    (lambda: matmul.matmul_lists([[1]]), "matmul_lists: missing a required argument: 'b'")])
def test_wrong_arguments_are_named_as_python_names_them(call, words):
    with pytest.raises(TypeError) as error: call()
    assert words in str(error.value)


def test_any_number_of_arrays():
    test_near(joined(X, X[:1]), np.concatenate([X, X[:1]]))
    test_near(joined(X, X, axis=-1), np.concatenate([X, X], 1))
    with pytest.raises(ValueError, match="joined: expected at least one array"): joined()


def test_a_default_may_be_anything():
    marker = object()
    @shapes("...")
    def f(x, option=marker, dtype=np.float32): return option, dtype
    assert f(X) == (marker, np.float32)


def test_names_of_a_function_and_its_parameters_are_free():
    @shapes("..., ...")
    def prepare(f, formula): return f + formula
    test_near(prepare(X, X), X + X)
    with pytest.raises(ValueError, match=r"prepare: f is \(2, 3\) and formula is \(4,\)"): prepare(X, B)


def test_it_is_pickled_by_name():
    assert pickle.loads(pickle.dumps(linear)) is linear
    assert pickle.loads(pickle.dumps(forward.linear)) is forward.linear


def test_threads_share_it():
    fresh = shapes("n p, p m")(product)
    given = [(np.ones((n, p)), np.ones((p, 2))) for n in range(1, 9) for p in range(1, 9)] * 5
    with ThreadPoolExecutor(8) as pool: out = list(pool.map(lambda ab: fresh(*ab), given))
    assert [y.shape for y in out] == [(len(a), 2) for a, _ in given]


def product(a, b): return a @ b


def test_known_shapes_do_not_pile_up():
    for n in range(3000): total(np.zeros(n, np.float16))
    fitting = total.__globals__["_fitting"]
    assert len(fitting) <= 1001


# ---- one frame

def frames(call):
    with pytest.raises((TypeError, ValueError)) as error: call()
    return traceback.extract_tb(error.value.__traceback__)[2:]


@pytest.mark.parametrize("call", [lambda: linear(X, X, B), lambda: total(X, 7), lambda: linear([1], W, B),
                                  lambda: picked(X, np.array([0, 9])), lambda: forward.linear(X, X, B)])
def test_a_traceback_has_one_frame_of_ours(call):
    [frame] = frames(call)
    assert "raise _named(" in frame.line and frame.filename.startswith("<shapes of ")


def test_no_error_hides_behind_it():
    with pytest.raises(ValueError) as error: linear(X, X, B)
    assert error.value.__cause__ is None and error.value.__suppress_context__


# ---- dtypes

@pytest.mark.parametrize("given, out", [
    (("f4", "f4"), "f4"), (("f8", "f8"), "f8"), (("f4", "f8"), "f8"), (("f4", "i8"), "f4"), (("i4", "u1"), "f8"),
    (("?", "?"), "f8"), (("f2", "f2"), "f2"), (("f2", "f4"), "f4"), (("f2", "i8"), "f2"), (("g", "f4"), "g"), ((">f8", "f8"), "f8")])
def test_mixed_dtypes_become_one(given, out):
    a, b = (np.ones((2, 2)).astype(dtype) for dtype in given)
    made = matmul.matmul(a, b)
    assert made.dtype == np.dtype(out)
    test_near(made.astype(np.float64), np.full((2, 2), 2.0))


def test_half_precision_is_summed_in_single():
    ones = np.ones((1, 4096), np.float16)
    assert total(ones, 1)[0] == 4096 and total(ones, 1).dtype == np.float16
    assert forward.mean(np.full(9, 60000, np.float16)) == 60000
    with np.errstate(over="raise"): assert np.isinf(total(np.full(4, 60000, np.float16)))


def test_integers_do_not_wrap_around():
    assert total(np.full(300, 200, np.uint8)) == 60000
    test_near(forward.subtraction(np.array([1], np.uint8), np.array([2], np.uint8)), [-1.0])


def test_gradients_of_integers_are_none():
    da, db = backward.subtraction_grad(np.ones(2), np.ones(2), np.array([1, 2]))
    assert db is None and da is not None
    assert [g is None for g in mse_grad(1.0, np.ones(2), np.array([1, 2]))] == [False, True]
    assert relu_grad(np.ones(2), np.array([1, -1]))[0].tolist() == [1, 0]       # no floats beside them


@pytest.mark.parametrize("number", [2, 2.0, True, np.float32(2), np.float64(2)])
def test_one_number_may_be_pythons(number):
    test_near(forward.subtraction(X, number), X - float(number))
    assert forward.subtraction(X.astype("f4"), 2.5).dtype == np.float32
    assert mse_grad(1, np.float16([1, 2]), np.float16([1, 3]))[0].dtype == np.float16


def test_numpys_scalars_and_arrays_without_axes():
    assert forward.relu(np.float32(-2)) == 0 and forward.relu(np.float32(2)).dtype == np.float32
    assert forward.relu(np.array(2.0)) == 2 and total(np.array(3.0), 0) == 3 and total(np.array(3.0), -1) == 3
    assert forward.softmax(np.array(3.0), 0) == 1


def test_subclasses_stay_what_they_are(): assert type(forward.relu(Array([1.0, -1.0]))) is Array


def test_empty_arrays():
    assert linear(np.ones((0, 3)), W, B).shape == (0, 4) and total(np.ones((0, 3))) == 0
    assert np.isnan(forward.mean(np.ones(0))) and picked(np.ones((0, 3)), np.ones(0, int)).shape == (0,)
    assert forward.softmax(np.ones((2, 0))).shape == (2, 0)


def test_the_arrays_that_came_are_not_changed():
    x = X.copy()
    linear(x, W, B), total(x), relu_grad(x, x)
    np.testing.assert_array_equal(x, X)


# ---- words before a shape

def test_classes_may_be_small_integers():
    for dtype in ("i1", "u1", "i4", "u8"): test_near(picked(X, np.array([0, 2], dtype)), [0.0, 5.0])
    assert picked(np.zeros((1, 200)), np.array([150], np.uint8)).shape == (1,)


@shapes("bool ..., any ... -> ...")
def chosen(mask, x): return x * mask


def test_a_mask_is_boolean_and_any_dtype_stays():
    assert chosen(X > 2, np.arange(6).reshape(2, 3)).dtype == np.int64
    assert chosen(X > 2, X.astype(np.float16)).dtype == np.float16
    with pytest.raises(TypeError, match="chosen: mask has dtype float64: expected booleans"): chosen(X, X)
    with pytest.raises(TypeError, match="chosen: expected real numbers, got complex128"): chosen(X > 2, X * 1j)


# ---- what is refused, and in which words

T = np.array([0, 1])
REFUSED = [
    # shapes
    (lambda: linear(np.ones((4, 2)), np.ones((5, 2)), np.ones(5)), ValueError,
     "linear: x is (4, 2), w is (5, 2) and b is (5,): expected (n, n_in), (n_in, n_out) and (n_out,); n_in is 2 in x and 5 in w"),
    (lambda: linear(X, W, X), ValueError, "linear: x is (2, 3), w is (3, 4) and b is (2, 3): expected (n, n_in), (n_in, n_out) and (n_out,)"),
    (lambda: linear(2, W, B), ValueError, "linear: x is (), w is (3, 4) and b is (4,): expected"),
    (lambda: matmul.matmul(X, X), ValueError, "matmul: a is (2, 3) and b is (2, 3): expected (n, p) and (p, m); p is 3 in a and 2 in b"),
    (lambda: matmul.matmul(B, B), ValueError, "matmul: a is (4,) and b is (4,): expected (n, p) and (p, m)"),
    (lambda: forward.subtraction(np.ones(3), B), ValueError,
     "subtraction: a is (3,) and b is (4,): they do not fit: axis -1 has sizes 3 and 4, and neither is 1"),
    (lambda: relu_grad(B, X), ValueError, "relu_grad: dout is (4,) and x is (2, 3): expected the same shape"),
    (lambda: backward.subtraction_grad(B, X, X), ValueError, "dout is (4,), a is (2, 3) and b is (2, 3): expected dout of shape (2, 3)"),
    (lambda: backward.add_bias_grad(W, X, B[:3]), ValueError, "add_bias_grad: dout is (3, 4), x is (2, 3) and b is (3,): expected the same shape of dout and x"),
    (lambda: forward.mse(X, B), ValueError,
     "mse: pred is (2, 3) and targ is (4,): expected equal shapes, or one more axis of size 1 in pred"),
    (lambda: mse_grad(B, B, B), ValueError,
     "mse_grad: dout is (4,), pred is (4,) and targ is (4,): expected one number as dout, and equal shapes, or one more axis of size 1 in pred"),
    (lambda: backward.sum_grad(B, X, 0), ValueError, "sum_grad: dout is (4,) and the output is (3,): expected the same shape"),
    (lambda: forward.add_bias(X, B), ValueError, "add_bias: x is (2, 3) and b is (4,): for axis 1, expected b of shape (3,)"),
    # axes
    (lambda: total(X, 2), ValueError, "total: axis 2 does not fit an array of shape (2, 3)"),
    (lambda: total(X, (0, -2)), ValueError, "total: axis 0 and -2 does not fit an array of shape (2, 3)"),
    (lambda: total(X, ()), ValueError, "total: axis () means none to NumPy and all to torch"),
    (lambda: total(X, "rows"), TypeError, "total: expected an axis or a tuple of axes, got 'rows'"),
    (lambda: total(X, 1.0), TypeError, "total: expected an axis or a tuple of axes, got 1.0"),
    (lambda: forward.softmax(X, 5), ValueError, "softmax: axis 5 does not fit an array of shape (2, 3)"),
    # kinds of arrays
    (lambda: linear([[1]], W, B), TypeError, "linear: expected arrays of one library, NumPy or torch; got list, ndarray and ndarray"),
    (lambda: forward.relu("a"), TypeError, "relu: expected arrays of one library, NumPy or torch; got str"),
    (lambda: forward.relu(3), TypeError, "relu: expected arrays of one library, NumPy or torch; got int"),
    (lambda: forward.relu(None), TypeError, "relu: expected arrays of one library, NumPy or torch; got NoneType"),
    (lambda: forward.relu(np.ma.array([1.0])), TypeError, "relu: expected a plain array, got MaskedArray; use np.asarray"),
    (lambda: forward.relu(np.matrix([1.0])), TypeError, "relu: expected a plain array, got matrix; use np.asarray"),
    (lambda: forward.relu(np.array([1j])), TypeError, "relu: expected real numbers, got complex128"),
    (lambda: forward.relu(np.array(["a"])), TypeError, "relu: expected real numbers, got <U1"),
    (lambda: forward.relu(np.array([None])), TypeError, "relu: expected real numbers, got object"),
    (lambda: forward.relu(np.array([0], "m8[s]")), TypeError, "relu: expected real numbers, got timedelta64[s]"),
    # classes
    (lambda: picked(X, np.array([0, 9])), ValueError, "picked: targ[1] is 9: expected a class from 0 to 2"),
    (lambda: picked(X, np.array([-1, 0])), ValueError, "picked: targ[0] is -1: expected a class from 0 to 2"),
    (lambda: picked(X, np.ones(2)), TypeError, "picked: targ has dtype float64: expected integers"),
    (lambda: picked(X, np.array([True, False])), TypeError, "picked: targ has dtype bool: expected integers"),
    (lambda: picked(X, np.eye(2, 3)), TypeError, "picked: targ has dtype float64: expected integers, (n,); for one-hot rows use targ.argmax(1)"),
    (lambda: picked(X, np.zeros(3, int)), ValueError, "picked: logits is (2, 3) and targ is (3,): expected (n, c) and (n,); n is 2 in logits and 3 in targ"),
    (lambda: picked(B, T), ValueError, "picked: logits is (4,) and targ is (2,): expected (n, c) and (n,)"),
    (lambda: picked(X, [0, 1]), TypeError, "picked: expected arrays of one library, NumPy or torch; got ndarray and list"),
    # shapes that are given
    (lambda: broadcasting.unbroadcast(X, (2,)), ValueError, "unbroadcast: (2,) does not broadcast to (2, 3): axis -1 of size 2 cannot be stretched to 3"),
    (lambda: broadcasting.unbroadcast(X, (1, 1, 1)), ValueError, "unbroadcast: (1, 1, 1) does not broadcast to (2, 3): it has 3 axes, and that has 2"),
    (lambda: broadcasting.unbroadcast(X, 3), TypeError, "unbroadcast: expected a shape such as (3, 4), got 3"),
    (lambda: sizes((3, -1)), ValueError, "(3, -1) has a negative size"),
    (lambda: sizes((3, 1.5)), TypeError, "expected a shape such as (3, 4), got (3, 1.5)"),
    (lambda: integers("ab"), TypeError, "expected a tuple of integers such as (24, 8), got 'ab'"),
    (lambda: each(sizes)([(1,), 2]), TypeError, "expected a shape such as (3, 4), got 2"),
    # options
    (lambda: one_of("a", "b")("c"), ValueError, "expected 'a' or 'b', got 'c'"),
    (lambda: a_generator(0), TypeError, "expected a np.random.Generator or a torch.Generator, got int"),
    (lambda: random("normal", (2,), np.random.default_rng(0), np.int64), TypeError, "random: expected a floating-point dtype, got int64"),
    (lambda: matmul.matmul_compiled(X.astype("g"), W), TypeError, "matmul_compiled: at most float64"),
    # lists
    (lambda: matmul.matmul_lists([[1, 2]], [[3]]), ValueError, "matmul_lists: a is (1, 2) and b is (1, 1): expected (n, p) and (p, m); p is 2 in a and 1 in b"),
    (lambda: matmul.matmul_lists([[1], [2, 3]], [[1]]), ValueError, "matmul_lists: the rows of a have different lengths: 1 and 2"),
    (lambda: matmul.matmul_lists(X, [[1]]), TypeError, "matmul_lists: a is not a list of lists but ndarray; for an array use a.tolist()"),
    (lambda: matmul.matmul_lists([[1]], [1]), TypeError, "matmul_lists: b is not a list of lists but list"),
]

@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("call, kind, words", REFUSED, ids=[words[:60] for _, _, words in REFUSED])
def test_a_refusal_says_what_was_wrong(call, kind, words):
    with pytest.raises(kind) as error: call()
    assert words in str(error.value)


def test_a_refused_kind_stays_refused():
    for _ in range(2):
        with pytest.raises(TypeError): forward.relu(np.ma.array([1.0]))


# ---- on PyTorch

@pytest.fixture
def torch(): return pytest.importorskip("torch")


def test_torch_computes_the_same(torch):
    x, w, b = map(torch.from_numpy, (X, W, B))
    test_near(linear(x, w, b), linear(X, W, B))
    assert linear(x.float(), w.float(), b).dtype == torch.float64 and total(x, 1).shape == (2,)
    test_near(picked(x, torch.tensor([0, 2])), [0.0, 5.0])
    assert picked(x, torch.tensor([0, 2], dtype=torch.uint8)).tolist() == [0, 5]
    assert joined(x, x).shape == (4, 3) and total(torch.ones(3, dtype=torch.int32)).dtype == torch.float64


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_torchs_own_dtypes_stay(torch, dtype):
    x = torch.ones(2, 3, dtype=getattr(torch, dtype))
    assert linear(x, torch.ones(3, 1, dtype=x.dtype), torch.zeros(1, dtype=x.dtype)).dtype == x.dtype
    assert forward.subtraction(x, 1).dtype == x.dtype


def test_torchs_gradients_flow_through(torch):
    w = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    linear(torch.from_numpy(X), w, torch.zeros(4)).sum().backward()
    test_near(w.grad, np.repeat(X.sum(0)[:, None], 4, 1))
    assert forward.relu(torch.nn.Parameter(torch.ones(2))).requires_grad


def test_tensors_without_numbers(torch):
    x = torch.ones(2, 3, device="meta")
    assert linear(x, torch.ones(3, 4, device="meta"), torch.ones(4, device="meta")).shape == (2, 4)
    assert picked(x, torch.zeros(2, dtype=torch.int64, device="meta")).device.type == "meta"


@pytest.mark.parametrize("call, kind, words", [
    (lambda t: linear(t.ones(2, 3), W, B), TypeError, "linear: expected arrays of one library, NumPy or torch; got Tensor, ndarray and ndarray"),
    (lambda t: linear(t.ones(2, 3), t.ones(3, 4), t.ones(4, device="meta")), ValueError, "linear: arrays on cpu and meta; move them to one device"),
    (lambda t: picked(t.ones(2, 3), T), TypeError, "picked: expected arrays of one library"),
    (lambda t: picked(t.ones(2, 3), t.tensor([0, 3])), ValueError, "picked: targ[1] is 3: expected a class from 0 to 2"),
    (lambda t: picked(t.ones(2, 3), t.ones(2)), TypeError, "picked: targ has dtype torch.float32: expected integers"),
    (lambda t: linear(t.ones(2, 3), t.ones(2, 3), t.ones(4)), ValueError, "linear: x is (2, 3), w is (2, 3) and b is (4,)"),
    (lambda t: forward.relu(t.ones(2) * 1j), TypeError, "relu: expected real numbers, got torch.complex64"),
    (lambda t: total(t.ones(2, 3), ()), ValueError, "total: axis () means none to NumPy and all to torch"),
    (lambda t: forward.subtraction(t.ones(2).to(t.float8_e4m3fn), t.ones(2).half()), TypeError,
     "subtraction: no floating-point dtype holds torch.float8_e4m3fn and torch.float16"),
    (lambda t: matmul.matmul_compiled(t.ones(2, 3), t.ones(3, 2)), TypeError, "matmul_compiled: NumPy arrays only, got Tensor and Tensor")])
def test_torch_is_refused_in_the_same_words(torch, call, kind, words):
    with pytest.raises(kind) as error: call(torch)
    assert words in str(error.value)


def test_random_numbers_of_both_libraries(torch):
    x = random("uniform", (50,), torch.Generator().manual_seed(0), torch.float64)
    assert x.dtype == torch.float64 and x.abs().max() <= 1
    y = random("normal", (1000,), np.random.default_rng(0))
    assert y.dtype == np.float32 and 0.9 < y.std() < 1.1
    with pytest.raises(TypeError, match="random: expected a floating-point dtype"):
        random("normal", (2,), torch.Generator(), torch.int64)


def test_helpers_on_torch(torch):
    x = torch.arange(6.0).reshape(2, 3)
    assert largest(x, 1).tolist() == [[2], [5]] and rows(x).tolist() == [0, 1]
    assert one_hot(torch.tensor([2, 0]), x).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert zeros_for(x, x.T).shape == (2, 2) and one_hot(torch.tensor([2, 0]), x).dtype == x.dtype


# ---- on the tensors of chapter 6

def test_tensors_record_a_formula():
    x, w = Tensor(X, requires_grad=True), Tensor(W, requires_grad=True)
    out = linear(x, w, B)
    assert isinstance(out, Tensor)
    test_near(out.data, linear(X, W, B))
    _, dw = grad(out.sum(), [x, w])
    test_near(dw, np.repeat(X.sum(0)[:, None], 4, 1))
    test_near(forward.softmax(x, 1).data, forward.softmax(X, 1))
    with pytest.raises(ValueError, match=r"linear: x is \(2, 3\), w is \(2, 3\) and b is \(4,\)"): linear(x, x, B)


def test_numbers_and_arrays_beside_a_tensor():
    x = Tensor(X.astype(np.float32), requires_grad=True)
    assert forward.subtraction(x, 1).dtype == np.float32 and forward.subtraction(1.5, x).requires_grad
    assert mse_grad(1.0, x, Tensor(X))[0].shape == (2, 3)


# ---- helpers

def test_counting_and_shapes_without_axes():
    assert without((2, 3), 1) == (2,) and without((2, 3), (0, -1), keepdims=True) == (1, 1) and without((), None) == ()
    assert count(X) == 6 and count(X, 1) == 3 and np.isnan(count(np.ones((0, 3)), 0)) and count(X, (0, 1)) == 6
    assert largest(X, 0).tolist() == [[3, 4, 5]] and largest(np.ones((2, 0)), 1).shape == (2, 1)
    assert zeros_for(X.astype("f4"), W).dtype == np.float32 and one_hot(T, X).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_lists_of_lists():
    @list_shapes("n p, p m -> n m")
    def product(a, b): return a, b
    assert product([[1, 2]], ((3,), (4,))) == ([[1, 2]], ((3,), (4,)))
    assert product(b=[], a=[]) == ([], []) and product([], [[1]]) == ([], [[1]])


def test_importing_it_imports_no_torch():
    code = "import sys; import foundations.shapes, foundations.operators; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)]).returncode == 0
