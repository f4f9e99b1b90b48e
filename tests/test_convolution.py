"""Chapter 12: windows and their adjoint, convolution and pooling beside PyTorch's, the layers, and what they refuse."""
import copy, re

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import foundations.nn.functional as F
from foundations import convolution as chapter, nn
from foundations.autograd import Tensor, grad
from foundations.check import gradcheck, test_near as assert_near
from foundations.data import mnist
from foundations.nn import images

many = settings(max_examples=30, deadline=None, derandomize=True, database=None)
DTYPES = {np.float32: 1e-5, np.float64: 1e-10}


@pytest.fixture
def rng(): return np.random.default_rng(0)
@pytest.fixture
def torch(): return pytest.importorskip("torch")
def raises(error, match): return pytest.raises(error, match=re.escape(match))


def both(f, inputs, dtype=np.float64, second=False, seed=1):
    "f of our tensors and of PyTorch's: values, gradients, and those of a function of the gradients."
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(seed)
    ours = [Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    theirs = [torch.tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    out, other = f(F, *ours), f(torch.nn.functional, *theirs)
    tol = DTYPES[dtype]
    assert out.dtype == dtype and out.shape == tuple(other.shape)
    def near(a, b): assert_near(a, b.detach(), tol, 10 * tol * max([1.0, *b.detach().abs().flatten().tolist()]))
    near(out.data, other)
    dout = rng.standard_normal(out.shape).astype(dtype)
    first = grad(out, ours, dout, create_graph=second)
    their_first = torch.autograd.grad(other, theirs, torch.tensor(dout), create_graph=second)
    for g, t in zip(first, their_first): near(g.data if second else g, t)
    if not second: return
    total = sum((g * g).sum() for g in first)
    their_total = sum((t * t).sum() for t in their_first)
    found = grad(total, ours, allow_unused=True)
    wanted = torch.autograd.grad(their_total, theirs, allow_unused=True)
    for g, t in zip(found, wanted):
        if t is not None and (g is not None or t.any()): near(g, t)


sizes, seeds, dtypes = st.integers(1, 3), st.integers(0, 99), st.sampled_from(list(DTYPES))
pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))


def fitting(h, w, size, padding): assume(all(k <= n + 2 * p for n, k, p in zip((h, w), size, padding)))


# ---- windows ----

@many
@given(sizes, sizes, st.integers(1, 7), st.integers(1, 7), pairs(1, 4), pairs(1, 3), pairs(0, 2), seeds)
def test_windows_are_what_loops_cut_out_and_add_windows_is_their_adjoint(n, c, h, w, size, stride, padding, seed):
    fitting(h, w, size, padding)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, c, h, w))
    seen = images.windows(x, size, stride, padding)
    whole = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    for i in range(seen.shape[4]):
        for j in range(seen.shape[5]):
            rows, columns = slice(i * stride[0], i * stride[0] + size[0]), slice(j * stride[1], j * stride[1] + size[1])
            assert np.array_equal(seen[..., i, j], whole[:, :, rows, columns])
    g = rng.standard_normal(seen.shape)
    assert_near((seen * g).sum(), (x * images.add_windows(g, x.shape, stride, padding)).sum(), 1e-9, 1e-9)
    t = Tensor(x, requires_grad=True)
    (gx,) = grad(images.windows(t, size, stride, padding), [t], g)
    assert_near(gx, images.add_windows(g, x.shape, stride, padding))


def test_windows_copy_nothing_and_cannot_be_written(rng):
    x = rng.standard_normal((2, 3, 6, 5))
    seen = images.windows(x, 3)
    assert np.shares_memory(seen, x) and not seen.flags.writeable
    assert seen.strides == (*x.strides, *x.strides[2:])
    turned = x.transpose(0, 1, 3, 2)                            # any strides will do
    assert np.array_equal(images.windows(turned, 3), images.windows(turned.copy(), 3))


def test_the_formulas_take_tensors_of_torch(torch, rng):
    x, w, b = rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((4, 3, 3, 2)), rng.standard_normal(4)
    given = [torch.tensor(v) for v in (x, w, b)]
    assert_near(images.convolution(*given, stride=2, padding=1), images.convolution(x, w, b, 2, 1))
    assert_near(images.max_pool(given[0], 2, 2, 1), images.max_pool(x, 2, 2, 1))
    dout = rng.standard_normal((2, 3, 3, 2))
    assert_near(images.max_pool_grad(torch.tensor(dout), given[0], 2, 2)[0], images.max_pool_grad(dout, x, 2, 2)[0])


# ---- conv2d ----

@many
@given(sizes, sizes, sizes, st.integers(1, 6), st.integers(1, 6), pairs(1, 3), pairs(1, 3), pairs(0, 2), st.booleans(), seeds, dtypes)
def test_conv2d_is_that_of_torch(n, c, out, h, w, size, stride, padding, bias, seed, dtype):
    fitting(h, w, size, padding)
    rng = np.random.default_rng(seed)
    given = [rng.standard_normal(s) for s in ((n, c, h, w), (out, c, *size), (out,))[:2 + bias]]
    both(lambda F, x, w, *b: F.conv2d(x, w, *b, stride=stride, padding=padding), given, dtype, second=dtype is np.float64)


def test_one_image_no_image_and_gradcheck(torch, rng):
    x, w = rng.standard_normal((2, 5, 6)), rng.standard_normal((3, 2, 2, 3))
    both(lambda F, x, w: F.conv2d(x, w, padding=1), [x, w])
    both(lambda F, x, w: F.conv2d(x, w), [np.ones((0, 2, 5, 6)), w])
    b = rng.standard_normal(3)
    def by_engine(dout, *inputs):
        tensors = [Tensor(v, requires_grad=True) for v in inputs]
        return grad(images.convolution(*tensors, stride=2), tensors, dout)
    gradcheck(lambda x, w, b: images.convolution(x, w, b, 2), by_engine, x[None], w, b)


# ---- max_pool2d ----

@many
@given(sizes, sizes, st.integers(1, 7), st.integers(1, 7), pairs(1, 3), st.none() | pairs(1, 3), st.booleans(), st.booleans(), seeds, dtypes)
def test_max_pool2d_is_that_of_torch(n, c, h, w, size, stride, margin, ties, seed, dtype):
    padding = tuple(k // 2 for k in size) if margin else (0, 0)
    fitting(h, w, size, padding)
    x = np.random.default_rng(seed).standard_normal((n, c, h, w))
    if ties: x = x.round()                        # the first of several has the whole gradient
    both(lambda F, x: F.max_pool2d(x, size, stride, padding) ** 2, [x], dtype, second=dtype is np.float64)


# ---- layers ----

def test_layers_are_torch_s(torch, rng):
    for options in (dict(), dict(stride=2, padding=1), dict(bias=False, padding=(1, 0)), dict(stride=(2, 1))):
        ours, theirs = nn.Conv2d(3, 4, (3, 2), **options), torch.nn.Conv2d(3, 4, (3, 2), **options)
        assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
        theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
        x = rng.standard_normal((2, 3, 7, 6)).astype(np.float32)
        assert_near(ours(x).data, theirs(torch.tensor(x)).detach(), 1e-5, 1e-5)
        ours.load_state_dict(copy.deepcopy(theirs).state_dict())
        assert (ours.stride, ours.padding, ours.kernel_size) == (theirs.stride, theirs.padding, theirs.kernel_size)
    for args in ((2,), ((2, 3), 1, 1), (3, 2, (1, 0))):
        ours, theirs = nn.MaxPool2d(*args), torch.nn.MaxPool2d(*args)
        assert repr(ours) == repr(theirs)
        assert_near(ours(x).data, theirs(torch.tensor(x)))


def test_a_layer_begins_as_torch_s(torch):
    ours, theirs = nn.Conv2d(8, 200, 5, generator=np.random.default_rng(0)), torch.nn.Conv2d(8, 200, 5)
    for a, b in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        assert np.abs(a.data).max() <= 1 / np.sqrt(200) and a.dtype == np.float32
        assert_near(a.data.std(), b.detach().numpy().std(), 0.1)
    assert nn.Conv2d(1, 2, 3, dtype=np.float64).weight.dtype == np.float64


def test_the_chapter_s_network_learns(rng):
    x, y, *_ = mnist()
    model, x, y = chapter.DigitReader(generator=rng), x[:30] * 2 - 0.5, y[:30]
    assert model(x).shape == model(x.reshape(-1, 1, 28, 28)).shape == (30, 10)
    losses = []
    for _ in range(60):
        loss = F.cross_entropy(model(x), y)
        model.zero_grad()
        loss.backward()
        for p in model.parameters(): p.data -= 0.1 * p.grad
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    image, kernel = rng.standard_normal((6, 5)), rng.standard_normal((3, 2))
    assert_near(chapter.convolution_loops(image, kernel), F.conv2d(image[None], kernel[None, None]).data[0])


# ---- what is refused ----

@pytest.mark.parametrize("call, message", [
    (lambda x: F.conv2d(x, np.ones((4, 2, 3, 3))), "conv2d: input is (1, 3, 5, 5) and weight is (4, 2, 3, 3): expected (n, c, h, w) and (out, c, kh, kw), of the same c"),
    (lambda x: F.conv2d(x[0, 0], np.ones((4, 3, 3, 3))), "conv2d: input is (5, 5); expected (n, c, h, w)"),
    (lambda x: F.conv2d(x, np.ones((4, 3, 3))), "weight is (4, 3, 3)"),
    (lambda x: F.conv2d(x, np.ones((4, 3, 6, 3))), "windows: the window is (6, 3), and the image with its padding (5, 5)"),
    (lambda x: F.conv2d(x, np.ones((4, 3, 3, 3)), np.ones(3)), "bias is (3,)"),
    (lambda x: F.conv2d(x, np.ones((4, 3, 3, 3)), stride=0), "conv2d: stride is 0; expected a whole number, 1 or more"),
    (lambda x: F.conv2d(x, np.ones((4, 3, 3, 3)), padding=-1), "padding is -1; expected a whole number, 0 or more"),
    (lambda x: F.conv2d(x, np.ones((4, 3, 3, 3)), padding="same"), "padding is 'same'"),
    (lambda x: F.conv2d(x, np.ones((4, 3, 3, 3)), dilation=2), "conv2d: dilation=2 is not known here"),
    (lambda x: F.max_pool2d(x, 6), "max_pool: the window is (6, 6), and the image with its padding (5, 5)"),
    (lambda x: F.max_pool2d(x, 0), "max_pool2d: kernel_size is 0"),
    (lambda x: F.max_pool2d(x, 2, padding=2), "max_pool2d: padding is (2, 2); expected at most half of the window, (2, 2)"),
    (lambda x: F.max_pool2d(x, 2, return_indices=True), "max_pool2d: return_indices=True is not known here"),
    (lambda x: nn.Conv2d(4, 6, 3, groups=2), "Conv2d: groups=2 is not known here; expected 1"),
    (lambda x: nn.Conv2d(4, 6, 3, padding_mode="reflect"), "Conv2d: padding_mode='reflect' is not known here"),
    (lambda x: nn.Conv2d(4, 6, (3, 3, 3)), "Conv2d: kernel_size is (3, 3, 3)"),
    (lambda x: nn.Conv2d(4.0, 6, 3), "Conv2d: in_channels is 4.0"),
    (lambda x: nn.MaxPool2d(2, ceil_mode=True), "MaxPool2d: ceil_mode=True is not known here"),
    (lambda x: nn.MaxPool2d(0), "MaxPool2d: kernel_size is 0"),
    (lambda x: images.add_windows(np.ones((1, 3, 2, 2, 5, 5)), x.shape), "the windows are (1, 3, 2, 2, 5, 5); images of (1, 3, 5, 5) have (1, 3, 2, 2, 4, 4)"),
])
def test_what_does_not_fit_is_refused(call, message, rng):
    with raises(ValueError, message): call(rng.standard_normal((1, 3, 5, 5)))
