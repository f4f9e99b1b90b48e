"""Chapter 1: what every version of the product promises, of any shapes, libraries and dtypes; and what it refuses."""
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from foundations.check import test_near
from foundations.data import mnist
from foundations.matmul import (add_products, compiled, loops_ijk, loops_ikj, matmul, matmul_broadcast,
                                matmul_compiled, matmul_einsum, matmul_lists, matmul_loops, matmul_rowcol)
from foundations.timing import Ladder

ANY_LIBRARY = matmul_loops, matmul_rowcol, matmul_broadcast, matmul_einsum, matmul
named = pytest.mark.parametrize("f", [*ANY_LIBRARY, matmul_compiled], ids=lambda f: f.__name__)


@pytest.fixture(autouse=True)
def needs_numba(request):
    f = getattr(request.node, "callspec", None)
    if f and f.params.get("f") is matmul_compiled: pytest.importorskip("numba")


@pytest.fixture
def rng(): return np.random.default_rng(0)


# ---- any shape at all ----

@st.composite
def pairs(pick):
    "Two matrices that have a product, of any sizes from 0 to 7, contiguous or not."
    n, p, m = (pick(st.integers(0, 7)) for _ in range(3))
    dtype, numbers = pick(st.sampled_from([np.float32, np.float64])), st.floats(-100, 100, width=32)
    a = pick(hnp.arrays(dtype, (p, n), elements=numbers)).T              # a transposed view
    b = pick(hnp.arrays(dtype, (p, 2 * m), elements=numbers))[:, ::2]    # every other column
    return (a, b) if pick(st.booleans()) else (a.copy(), b.copy())

often = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@named
@often
@given(pair=pairs())
def test_a_version_gives_the_product(f, pair):
    a, b = pair
    test_near(f(a, b), a @ b)
    assert f(a, b).dtype == a.dtype


@often
@given(pair=pairs())
def test_lists_give_the_product(pair):
    a, b = pair
    if not len(b): return                                                # no columns to count
    c = np.array(matmul_lists(a.tolist(), b.tolist())).reshape(len(a), b.shape[1])
    test_near(c.astype(a.dtype), a @ b)


@pytest.mark.parametrize("f", ANY_LIBRARY, ids=lambda f: f.__name__)
def test_a_version_gives_the_product_of_tensors(f):
    torch = pytest.importorskip("torch")

    @often
    @given(pairs())
    def check(pair):
        a, b = pair
        c = f(torch.from_numpy(a.copy()), torch.from_numpy(b.copy()))
        assert isinstance(c, torch.Tensor)
        test_near(c, a @ b)
    check()


def test_lists_by_hand():
    assert matmul_lists([[1, 2], [3, 4]], [[5, 6], [7, 8]]) == [[19, 22], [43, 50]]
    assert matmul_lists([[1, 2]], [[3], [4]]) == [[11]] and matmul_lists([[2]], [[3]]) == [[6]]
    assert matmul_lists([], []) == [] and matmul_lists([[], []], []) == [[], []]
    assert matmul_lists(((1, 2),), ((3,), (4,))) == [[11]]


@pytest.mark.parametrize("loops", [loops_ijk, loops_ikj])
def test_loops_add_to_what_is_there(loops, rng):
    a, b = rng.standard_normal((4, 5)), rng.standard_normal((5, 3))
    plain = np.ones((4, 3))
    loops(a, b, plain)
    test_near(plain, 1 + a @ b)
    pytest.importorskip("numba")
    for liberties in ((), ("reassoc",)):
        c = np.ones((4, 3))
        compiled(loops, *liberties)(a, b, c)
        test_near(c, 1 + a @ b)


def test_a_block_adds_to_what_is_there(rng):
    a, b, c = rng.standard_normal((8, 5)), rng.standard_normal((5, 6)), np.ones((8, 6))
    add_products(a, b.T, c)
    test_near(c, 1 + a @ b)


@pytest.mark.parametrize("shape", [(1, 1, 1), (49, 513, 4), (48, 1024, 3), (97, 30, 100)])
def test_tiles_that_are_not_full(shape, rng):
    pytest.importorskip("numba")
    n, p, m = shape
    a, b = rng.standard_normal((n, p), dtype=np.float32), rng.standard_normal((p, m), dtype=np.float32)
    c = matmul_compiled(a, b)
    assert c.shape == (n, m) and c.flags.c_contiguous and c.flags.owndata
    test_near(c, a @ b, rtol=1e-4)


# ---- dtypes, missing values ----

@named
def test_a_missing_value_does_not_vanish(f):
    a, b = mnist()[2][:5].copy(), np.ones((784, 10), np.float32)
    a[2, 300] = np.nan
    gone = np.isnan(f(a, b))
    assert gone.all(axis=1).tolist() == [False, False, True, False, False] and gone.sum() == 10


@named
def test_integers_do_not_wrap_around(f):
    pixels = (mnist()[2][:1] * 255).round().astype(np.uint8)             # (1, 784)
    squared_ink = f(pixels, pixels.T)
    assert squared_ink.item() == (pixels.astype(int)**2).sum() and squared_ink.dtype == np.float64
    assert f(pixels, np.ones((784, 2), np.float32)).dtype == np.float32
    assert f(pixels > 0, np.ones((784, 1))).item() == (pixels > 0).sum()


@named
def test_a_dtype_holds_both(f, rng):
    a, b = rng.standard_normal((3, 4)), rng.standard_normal((4, 2))
    assert f(a.astype(np.float32), b).dtype == np.float64
    half = f(a.astype(np.float16), b.astype(np.float16))
    assert half.dtype == np.float16
    test_near(half, (a.astype(np.float16).astype(float) @ b.astype(np.float16)).astype(np.float16))


def test_integers_of_torch():
    torch = pytest.importorskip("torch")
    pixels = torch.tensor([[200, 100]], dtype=torch.uint8)
    assert matmul(pixels, torch.ones(2, 3)).dtype == torch.float32
    assert matmul(pixels, pixels.T).item() == 50_000


# ---- what is refused ----

@named
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_what_has_no_product_is_refused(f):
    tall, name = np.ones((5, 2)), f.__name__
    for a, b, error, why in [
        (np.ones((3, 4)), tall, ValueError, "a is (3, 4) and b is (5, 2): expected (n, p) and (p, m); p is 4 in a and 5 in b"),
        (np.ones(5), tall, ValueError, "a is (5,) and b is (5, 2): expected (n, p) and (p, m)"),
        (np.ones((1, 2, 5)), tall, ValueError, "a is (1, 2, 5) and b is (5, 2): expected (n, p) and (p, m)"),
        ([[1.0, 2.0]], tall, TypeError, "expected arrays of one library, NumPy or torch; got list and ndarray"),
        (tall, None, TypeError, "expected arrays of one library, NumPy or torch; got ndarray and NoneType"),
        (np.ma.masked_equal(tall, 1), tall.T, TypeError, "expected a plain array, got MaskedArray; use np.asarray"),
        (np.asmatrix(tall), tall.T, TypeError, "expected a plain array, got matrix; use np.asarray"),
        (tall.astype(complex), tall.T, TypeError, "expected real numbers, got complex128"),
    ]:
        with pytest.raises(error) as raised: f(a, b)
        assert str(raised.value) == f"{name}: {why}"


@pytest.mark.parametrize("f", ANY_LIBRARY, ids=lambda f: f.__name__)
def test_tensors_that_have_no_product_are_refused(f):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="ndarray and Tensor"): f(np.ones((3, 5)), torch.ones(5, 2))
    with pytest.raises(ValueError, match="arrays on cpu and meta; move them to one device"):
        f(torch.ones(3, 5), torch.ones(5, 2, device="meta"))
    with pytest.raises(ValueError, match=rf"^{f.__name__}: a is \(3, 4\) and b is \(5, 2\)"):
        f(torch.ones(3, 4), torch.ones(5, 2))


def test_tiles_are_for_numpy():
    tall = np.ones((5, 2))
    if np.dtype(np.longdouble).itemsize > 8:                             # where there is such a thing
        with pytest.raises(TypeError, match=r"^matmul_compiled: at most float64, got"):
            matmul_compiled(tall.T.astype(np.longdouble), tall)
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"^matmul_compiled: NumPy arrays only, got Tensor and Tensor"):
        matmul_compiled(torch.ones(2, 5), torch.ones(5, 2))


def test_lists_that_have_no_product_are_refused():
    for a, b, error, why in [
        (np.ones((5, 7)), [[1.0]], TypeError, "a is not a list of lists but ndarray; for an array use a.tolist()"),
        ([1, 2], [[1]], TypeError, "a is not a list of lists but list"),
        ([[1, 2], [3]], [[1], [2]], ValueError, "the rows of a have different lengths: 1 and 2"),
        ([[1, 2]], [[1]], ValueError, "a is (1, 2) and b is (1, 1): expected (n, p) and (p, m); p is 2 in a and 1 in b"),
    ]:
        with pytest.raises(error) as raised: matmul_lists(a, b)
        assert str(raised.value).startswith(f"matmul_lists: {why}")


def test_without_numba_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match="numba is missing; pip install numba"): compiled(lambda x: x)


# ---- what the page says ----

def test_templates_read_four_digits_of_five():
    "Another processor may round a near tie otherwise."
    x_train, y_train, x_valid, y_valid = mnist()
    means = np.stack([x_train[y_train == d].mean(0) for d in range(10)], axis=1)
    right = lambda t: (matmul(x_valid, t).argmax(1) == y_valid).sum()
    length = lambda t: t / np.sqrt((t**2).sum(0))
    assert abs(right(length(means)) - 1617) <= 2 and abs(right(means) - 1282) <= 2
    assert abs(right(length(means - means.mean(0))) - 1620) <= 2
    five = means[:, 5] @ means
    assert set(np.flatnonzero(five > five[5])) == {0, 3, 8}


def test_einsum_reads_as_it_is_told():
    small = np.array([[0, 1, 2], [3, 4, 5]])
    assert np.einsum("ij,ij->", small, small) == (small * small).sum() == 55


def test_a_ladder_says_which_is_faster():
    ladder, f = Ladder(), lambda n: sum(range(n))
    assert ladder.add(f, 3000).endswith("<lambda>: the first rung")
    def less(n): return f(n // 10)
    def more(n): return f(n * 10)
    assert "less: " in (told := ladder.add(less, 3000)) and "times as fast as <lambda>" in told
    assert "more: takes " in (told := ladder.add(more, 3000)) and "times as long as <lambda>" in told
