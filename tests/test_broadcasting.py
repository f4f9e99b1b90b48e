"""Chapter 2: the rule, the strides and the adjoint, against NumPy and PyTorch on hundreds of shapes; and what is refused."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.stride_tricks import as_strided

from foundations.broadcasting import broadcast_shapes, broadcast_strides, unbroadcast
from foundations.check import gradcheck, test_near
from foundations.data import mnist

often = settings(max_examples=200, deadline=None, derandomize=True, database=None)
some_shapes = st.lists(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4), min_size=1, max_size=3)
fitting = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4)


def answer(f, *shapes):
    "What `f` makes of shapes; None where it refuses them."
    try: return tuple(f(*shapes))
    except (ValueError, RuntimeError): return None


# ---- the rule ----

@often
@given(some_shapes)
def test_the_rule_is_numpys(shapes):
    assert answer(broadcast_shapes, *shapes) == answer(np.broadcast_shapes, *shapes)


def test_the_rule_is_torchs():
    torch = pytest.importorskip("torch")

    @often
    @given(some_shapes)
    def check(shapes): assert answer(broadcast_shapes, *shapes) == answer(torch.broadcast_shapes, *shapes)
    check()
    assert broadcast_shapes(torch.ones(3).shape, (4, 1)) == (4, 3)


def test_no_axes_one_of_size_zero_and_lists():
    assert broadcast_shapes() == () and broadcast_shapes([3, 1], (4,)) == (3, 4)
    assert broadcast_shapes((0, 3), (1, 3)) == (0, 3) and broadcast_shapes((np.int64(2),), (1,)) == (2,)


@pytest.mark.parametrize("shapes, error, why", [
    ([(4,), (4, 3)], ValueError, "(4,) and (4, 3) do not fit: axis -1 has sizes 4 and 3, and neither is 1"),
    ([(2, 3), (1, 3), (4, 3)], ValueError, "(2, 3) and (4, 3) do not fit: axis -2 has sizes 2 and 4, and neither is 1"),
    ([(0,), (2,)], ValueError, "(0,) and (2,) do not fit: axis -1 has sizes 0 and 2, and neither is 1"),
    ([(3, -1)], ValueError, "(3, -1) has a negative size"),
    ([(2, 3), 3], TypeError, "expected a shape such as (3, 4), got 3"),
    (["ab"], TypeError, "expected a shape such as (3, 4), got 'ab'"),
    ([(2.0,)], TypeError, "expected a shape such as (3, 4), got (2.0,)"),
])
def test_shapes_that_are_refused(shapes, error, why):
    with pytest.raises(error) as raised: broadcast_shapes(*shapes)
    assert str(raised.value) == f"broadcast_shapes: {why}"


# ---- strides ----

@often
@given(fitting)
def test_strides_are_numpys(shapes):
    (shape, _), to = shapes
    a = np.arange(np.prod(shape)).reshape(shape[::-1]).T                 # a view with unusual strides
    ours, numpys = broadcast_strides(a.shape, a.strides, to), np.broadcast_to(a, to)
    assert ours == numpys.strides
    np.testing.assert_array_equal(as_strided(a, to, ours), numpys)


def test_strides_are_torchs():
    torch = pytest.importorskip("torch")

    @often
    @given(fitting)
    def check(shapes):
        (shape, _), to = shapes
        t = torch.arange(int(np.prod(shape))).reshape(shape[::-1]).permute(tuple(range(len(shape)))[::-1])
        for step, theirs, size in zip(broadcast_strides(t.shape, t.stride(), to), t.expand(to).stride(), to):
            assert step == theirs or size < 2 or 0 in to                 # else no step is ever taken
    check()


@pytest.mark.parametrize("args, error, why", [
    (((3,), (8,), (2, 4)), ValueError, "(3,) does not broadcast to (2, 4)"),
    (((1, 3), (24, 8), (3,)), ValueError, "(1, 3) does not broadcast to (3,)"),
    (((5,), (8,), (1,)), ValueError, "(5,) does not broadcast to (1,)"),
    (((2, 3), (8,), (2, 3)), ValueError, "shape (2, 3) and strides (8,) differ in length"),
    (((3,), 8, (2, 3)), TypeError, "expected a tuple of integers such as (24, 8), got 8"),
    ((3, (8,), (2, 3)), TypeError, "expected a shape such as (3, 4), got 3"),
    (((3,), (8,), (2, -3)), ValueError, "(2, -3) has a negative size"),
])
def test_strides_that_are_refused(args, error, why):
    with pytest.raises(error) as raised: broadcast_strides(*args)
    assert str(raised.value) == f"broadcast_strides: {why}"


# ---- the way back ----

def times(a, b): return a * b
def times_grad(dout, a, b): return unbroadcast(dout * b, a.shape), unbroadcast(dout * a, b.shape)

def drawn(shapes, dtype):
    rng = np.random.default_rng(0)
    return [np.asarray(rng.uniform(0.5, 2, shape), dtype) for shape in shapes]


@often
@given(fitting, st.sampled_from([np.float32, np.float64]))
def test_unbroadcast_is_the_adjoint(shapes, dtype):
    (shape_a, shape_b), to = shapes
    a, b, grad = drawn([shape_a, shape_b, to], dtype)
    for g, x in zip(times_grad(grad, a, b), (a, b)): assert g.shape == x.shape and g.dtype == dtype
    test_near((np.broadcast_to(b, to) * grad).sum(), (b * unbroadcast(grad, shape_b)).sum())


def test_unbroadcast_is_torchs_gradient():
    torch = pytest.importorskip("torch")

    @often
    @given(fitting, st.sampled_from([np.float32, np.float64]))
    def check(shapes, dtype):
        (shape_a, shape_b), to = shapes
        a, b, grad = drawn([shape_a, shape_b, to], dtype)
        a_t, b_t = (torch.from_numpy(x).requires_grad_() for x in (a, b))
        (a_t * b_t).backward(torch.from_numpy(grad))
        for g, leaf in zip(times_grad(grad, a, b), (a_t, b_t)): test_near(g, leaf.grad)
        ours = unbroadcast(torch.from_numpy(grad), shape_b)
        assert isinstance(ours, torch.Tensor)
        test_near(ours, unbroadcast(grad, shape_b))
    check()


@pytest.mark.parametrize("a, b", [((4, 3), (3,)), ((4, 1), (1, 3)), ((), (2, 3)), ((2, 1, 3), (4, 1))])
def test_gradients_of_a_product_agree_with_nudges(a, b):
    gradcheck(times, times_grad, *drawn([a, b], np.float64))


def test_a_mean_or_no_sum_is_noticed():
    a, b = drawn([(4, 3), (3,)], np.float64)
    with pytest.raises(AssertionError, match=r"shape \(3,\), and f_grad gives it a gradient of shape \(4, 3\)"):
        gradcheck(times, lambda dout, a, b: (dout * b, dout * a), a, b)
    with pytest.raises(AssertionError, match="argument 1"):
        gradcheck(times, lambda dout, a, b: (dout * b, (dout * a).mean(0)), a, b)


def test_what_is_seen_nowhere_has_gradient_zero():
    test_near(unbroadcast(np.ones((0, 3)), (1, 3)), np.zeros((1, 3)))
    test_near(unbroadcast(np.ones((0, 3)), ()), 0.0)


def test_nothing_to_sum_gives_the_gradient_itself():
    grad = np.ones((4, 3))
    assert unbroadcast(grad, (4, 3)) is grad
    assert unbroadcast(np.ones((2, 3), int), (3,)).dtype == np.float64    # integers become floats


@pytest.mark.parametrize("grad, shape, error, why", [
    (np.ones((4, 3)), (2,), ValueError, "(2,) does not broadcast to (4, 3): axis -1 of size 2 cannot be stretched to 3"),
    (np.ones((4, 3)), (1, 4, 3), ValueError, "(1, 4, 3) does not broadcast to (4, 3): it has 3 axes, and that has 2"),
    (np.ones((4, 3)), (2.0,), TypeError, "expected a shape such as (3, 4), got (2.0,)"),
    ([1.0, 2.0], (), TypeError, "expected arrays of one library, NumPy or torch; got list"),
])
def test_gradients_that_are_refused(grad, shape, error, why):
    with pytest.raises(error) as raised: unbroadcast(grad, shape)
    assert str(raised.value) == f"unbroadcast: {why}"


# ---- what the page says ----

def test_all_pairs_of_rows_read_as_well_as_templates():
    x_train, y_train, x_valid, y_valid = mnist()
    mean_images = np.stack([x_train[y_train == d].mean(0) for d in range(10)])
    u2, v2 = (x_valid**2).sum(1, keepdims=True), (mean_images**2).sum(1)
    d = u2 - 2 * x_valid @ mean_images.T + v2                            # exercise 3
    test_near(d[:100], ((x_valid[:100, None] - mean_images)**2).sum(-1))
    assert abs((d.argmin(1) == y_valid).sum() - 1598) <= 2               # a near tie may round otherwise


def test_the_loss_of_all_pairs_likes_the_constant_model_best():
    targ = mnist()[1][:2000].astype(np.float32)
    perfect, constant = targ[:, None], np.full((2000, 1), targ.mean())
    pairs = lambda pred: ((pred - targ)**2).mean()
    own = lambda pred: ((pred[:, 0] - targ)**2).mean()
    assert own(perfect) == 0 and pairs(perfect) > 16 > pairs(constant)
    test_near(own(constant), pairs(constant), rtol=1e-4)
    for pred in (perfect, constant, 0.5 * perfect):
        test_near(pairs(pred), pred.var() + targ.var() + (pred.mean() - targ.mean())**2, rtol=1e-4)
