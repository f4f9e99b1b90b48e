"""What chapter 9 needs of `nn`: the layers and functions for tokens in a row, beside PyTorch's; buffers; and what they refuse."""
import copy, pickle, re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import foundations.nn.functional as F
from foundations import nn
from foundations.autograd import Tensor, grad
from foundations.check import gradcheck, test_near as assert_near
from foundations.nn import sequences

many = settings(max_examples=60, deadline=None, derandomize=True, database=None)
DTYPES = {np.float32: 1e-5, np.float64: 1e-10}


@pytest.fixture
def torch(): return pytest.importorskip("torch")
def raises(error, match): return pytest.raises(error, match=re.escape(match))


def both(f, inputs, dtype=np.float64, seed=0):
    "f of our tensors and of PyTorch's: the values, and the gradients of a random sum of them."
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(seed)
    ours = [Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    theirs = [torch.tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    out, other = f(F, Tensor, *ours), f(torch.nn.functional, torch.tensor, *theirs)
    dout = np.asarray(rng.standard_normal(tuple(other.shape)), dtype)
    out.backward(dout)
    other.backward(torch.tensor(dout))
    tol = DTYPES[dtype]
    assert out.dtype == dtype
    assert_near(out.data, other.detach(), tol, tol)
    for x, t in zip(ours, theirs):
        if t.grad is None: assert x.grad is None
        else: assert_near(x.grad, t.grad, tol, 10 * tol * max(float(abs(t.grad).max()), 1))


shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
seeds, dtypes = st.integers(0, 99), st.sampled_from(list(DTYPES))


# ---- tokens ----

@many
@given(shapes, st.integers(1, 6), st.integers(1, 5), st.none() | st.integers(-6, 5), seeds, dtypes)
def test_an_embedding_is_that_of_torch(shape, n, width, padding, seed, dtype):
    rng = np.random.default_rng(seed)
    if padding is not None: padding = padding % n - n * (padding < 0)
    picked, weight = rng.integers(0, n, shape), rng.standard_normal((n, width))
    both(lambda F, tensor, w: F.embedding(tensor(picked), w, padding), [weight], dtype)


@many
@given(shapes, st.integers(1, 6), seeds)
def test_one_hot_is_that_of_torch(shape, n, seed):
    torch, x = pytest.importorskip("torch"), np.random.default_rng(seed).integers(0, n, shape)
    for classes in (n, n + 2, -1):
        ours, theirs = F.one_hot(x, classes), torch.nn.functional.one_hot(torch.tensor(x), classes)
        assert ours.dtype == np.int64 and np.array_equal(ours.data, theirs)


def test_tokens_outside_are_refused():
    table = nn.Embedding(27, 4)
    with raises(ValueError, "embedding: the token at [1, 0] is 27; expected 0 to 26"): table(np.array([[0], [27]]))
    with raises(ValueError, "embedding: the token at [0] is -1; expected 0 to 26"): table([-1, 2])
    with raises(TypeError, "embedding: the tokens are float64; expected integers"): table([1.0])
    with raises(ValueError, "one_hot: the token at [0] is -1; expected 0 or more"): F.one_hot([-1])
    with raises(ValueError, "weight is (3,); expected (num_embeddings, embedding_dim)"): F.embedding([0], np.ones(3))


# ---- normalisation and activation ----

@many
@given(shapes, st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple), st.booleans(), st.booleans(), seeds, dtypes)
def test_layer_norm_is_that_of_torch(before, after, weight, bias, seed, dtype):
    rng = np.random.default_rng(seed)
    x, w, b = rng.standard_normal((*before, *after)) * 3 + 2, rng.standard_normal(after), rng.standard_normal(after)
    given = [x, *[w] * weight, *[b] * bias]
    def f(F, tensor, x, *more):
        more = list(more)
        options = {"weight": more.pop(0)} if weight else {}
        if bias: options["bias"] = more.pop(0)
        return F.layer_norm(x, after, **options)
    both(f, given, dtype)


def test_layer_norm_of_wide_numbers_and_of_one_row(torch):
    for x in (np.full((2, 3), 7.0), np.array([[1e4, 1e4 + 1, 1e4 + 2]]), np.zeros((1, 3))):
        both(lambda F, tensor, x: F.layer_norm(x, (3,)), [x])
    with raises(ValueError, "layer_norm: input is (2, 3) and normalized_shape (2,)"): F.layer_norm(np.ones((2, 3)), (2,))


@many
@given(shapes, st.sampled_from(["none", "tanh"]), seeds, dtypes)
def test_gelu_is_that_of_torch(shape, approximate, seed, dtype):
    x = np.asarray(np.random.default_rng(seed).standard_normal(shape)) * 4
    both(lambda F, tensor, x: F.gelu(x, approximate=approximate), [x], dtype)


def test_gelu_far_away_and_its_formula_on_torch(torch):
    far = np.array([-np.inf, -50.0, 50.0, np.inf, np.nan])
    assert_near(F.gelu(far[1:3]).data, np.array([-0.0, 50.0]))
    x = np.linspace(-3, 3, 7)
    for how in ("none", "tanh"):
        assert_near(sequences.smooth_relu(torch.tensor(x), how), F.gelu(x, how).data)
    assert np.isnan(F.gelu(far[4:]).data).all()


# ---- attention ----

@many
@given(st.lists(st.integers(1, 3), max_size=2).map(tuple), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4),
       st.sampled_from(["none", "causal", "bool", "float", "scale"]), seeds, dtypes)
def test_attention_is_that_of_torch(stack, t, s, d, mask, seed, dtype):
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((*stack, n, d)) for n in (t, s, s))
    where = rng.random((t, s)) < 0.5
    where[:, 0] = True
    def f(F, tensor, q, k, v):
        options = {"none": {}, "causal": {"is_causal": True}, "bool": {"attn_mask": tensor(where)},
                   "float": {"attn_mask": tensor(np.where(where, 0.5, -np.inf).astype(dtype))}, "scale": {"scale": 0.3}}
        return F.scaled_dot_product_attention(q, k, v, **options[mask])
    both(f, [q, k, v], dtype)


def test_attention_refuses_empty_rows_and_two_masks():
    q = np.ones((2, 3))
    with raises(ValueError, "the mask leaves a query without any key"):
        F.scaled_dot_product_attention(q, q, q, np.array([[True, True], [False, False]]))
    with raises(ValueError, "either attn_mask or is_causal"):
        F.scaled_dot_product_attention(q, q, q, np.ones((2, 2), bool), is_causal=True)


def test_weights_of_attention_are_dropped():
    q, v = np.zeros((1, 4)), np.ones((1, 1))
    found = {round(F.scaled_dot_product_attention(q, q, v, dropout_p=0.5).item()) for _ in range(40)}
    assert found == {0, 2}


# ---- losses that do not count ----

@many
@given(st.integers(1, 8), st.integers(1, 5), st.sampled_from([-100, -1, 0]), st.sampled_from(["mean", "sum", "none"]), seeds, dtypes)
def test_ignored_rows_are_those_of_torch(n, c, ignore, reduction, seed, dtype):
    rng = np.random.default_rng(seed)
    targ = np.where(rng.random(n) < 0.4, ignore, rng.integers(0, c, n))
    if (targ == ignore).all(): targ[0] = c - 1
    if (targ == ignore).all(): return                   # one class, and it is ignored
    both(lambda F, tensor, x: F.cross_entropy(x, tensor(targ), ignore_index=ignore, reduction=reduction),
         [rng.standard_normal((n, c)) * 3], dtype)


def test_the_mean_of_no_rows_is_nan_and_other_classes_are_refused():
    x = np.zeros((2, 3))
    assert np.isnan(F.cross_entropy(x, np.array([-100, -100])).item())
    with raises(ValueError, "targ[1] is -1: expected a class from 0 to 2"): F.cross_entropy(x, np.array([-100, -1]))
    assert nn.CrossEntropyLoss(ignore_index=0)(x, np.array([0, 1])).item() == pytest.approx(np.log(3))


# ---- modules ----

MODULES = {"Embedding(5, 3)": lambda nn: nn.Embedding(5, 3), "padding": lambda nn: nn.Embedding(5, 3, padding_idx=-1),
           "LayerNorm": lambda nn: nn.LayerNorm(3), "two axes": lambda nn: nn.LayerNorm((2, 3), eps=1e-3),
           "no bias": lambda nn: nn.LayerNorm(3, bias=False), "plain": lambda nn: nn.LayerNorm([3], elementwise_affine=False),
           "GELU": lambda nn: nn.GELU(), "tanh": lambda nn: nn.GELU("tanh")}

@pytest.mark.parametrize("name", MODULES)
def test_modules_are_built_named_and_printed_as_in_torch(name, torch):
    ours, theirs = MODULES[name](nn), MODULES[name](torch.nn)
    shapes = lambda m: [(n, tuple(x.shape)) for n, x in m.state_dict().items()]
    assert shapes(ours) == shapes(theirs)
    assert repr(ours) == re.sub(r", bias=(True|False)(?=\))", "", repr(theirs))     # newer ones say it
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({n: torch.tensor(x) for n, x in ours.state_dict().items()})
    x = np.array([[0, 4], [1, 4]]) if "Embedding" in repr(ours) else np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    assert_near(ours(Tensor(x)).data, theirs(torch.tensor(x)).detach(), atol=1e-6)


def test_first_numbers_are_those_of_torch():
    rng = np.random.default_rng(0)
    weight = nn.Embedding(500, 40, padding_idx=3, generator=rng).weight.data
    assert abs(weight.mean()) < 0.02 and abs(weight.std() - 1) < 0.02 and not weight[3].any()
    assert weight.dtype == np.float32 and nn.Embedding(2, 2, dtype=np.float64).weight.dtype == np.float64
    layer = nn.LayerNorm((2, 3))
    assert (layer.weight.data == 1).all() and not layer.bias.data.any()


def test_sizes_are_checked():
    with raises(ValueError, "Embedding: embedding_dim is 2.5; expected a whole number"): nn.Embedding(27, 2.5)
    with raises(ValueError, "Embedding: padding_idx is -28, of 27 rows"): nn.Embedding(27, 2, -28)
    with raises(ValueError, "LayerNorm: normalized_shape is 2.5"): nn.LayerNorm([2.5])
    with raises(TypeError, "Embedding: expected a np.random.Generator, got int"): nn.Embedding(2, 2, generator=0)


def test_the_padding_row_stays_zero():
    table = nn.Embedding(4, 2, padding_idx=1)
    table([1, 2, 2]).sum().backward()
    assert table.weight.grad.tolist() == [[0, 0], [0, 0], [2, 2], [0, 0]]


PAIRS = [(sequences.normalized_rows, sequences.normalized_rows_grad, ((2, 3), (3,), (3,))),
         (sequences.smooth_relu, sequences.smooth_relu_grad, ((2, 3),)), (sequences.erf, sequences.erf_grad, ((2, 3),))]

@pytest.mark.parametrize("f, f_grad, shapes", PAIRS, ids=lambda p: getattr(p, "__name__", ""))
def test_gradients_of_gradients(f, f_grad, shapes):
    "The slope of a sum of squared gradients, by the engine and by nudges."
    inputs = [np.random.default_rng(i).standard_normal(s) for i, s in enumerate(shapes)]
    gradcheck(f, f_grad, *inputs)
    def total(*xs):
        found = grad((f(*xs) ** 2).sum(), list(xs), create_graph=True)
        return sum([(g * g).sum() for g in found[1:]], (found[0] ** 2).sum())
    def value(*xs): return total(*[Tensor(x, True) for x in xs]).data
    def slopes(dout, *xs):
        tensors = [Tensor(x, True) for x in xs]
        return tuple([dout * g for g in grad(total(*tensors), tensors, allow_unused=True)])
    gradcheck(value, slopes, *inputs, rtol=1e-5)


# ---- buffers ----

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("mean", Tensor(np.array([1.0, 2.0], np.float32)))
        self.register_buffer("seen", Tensor(3))
        self.register_buffer("unsaved", Tensor(4.0), persistent=False)

    def forward(self, x): return self.layer(x - self.mean)


def scaled(torch):
    "The same in PyTorch."
    m = torch.nn.Module()
    m.layer = torch.nn.Linear(2, 2)
    m.register_buffer("mean", torch.tensor([1.0, 2.0]))
    m.register_buffer("seen", torch.tensor(3))
    m.register_buffer("unsaved", torch.tensor(4.0), persistent=False)
    return m


def test_buffers_stand_where_torch_has_them(torch):
    ours, theirs = nn.ModuleList([Scaled()]), torch.nn.ModuleList([scaled(torch)])
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["0.mean", "0.seen", "0.layer.weight", "0.layer.bias"]
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict())
    with raises(ValueError, "missing 0.mean"): ours.load_state_dict({k: v for k, v in ours.state_dict().items() if k != "0.mean"})


def test_a_buffer_is_moved_copied_and_read_back():
    m, other = Scaled(), Scaled()
    other.mean = Tensor(np.array([5.0, 6.0], np.float32))
    m.load_state_dict(other.state_dict())
    assert m.mean.data.tolist() == [5, 6] and m.double().mean.dtype == np.float64 and m.seen.dtype == np.int64
    for twin in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert twin.mean.data.tolist() == [5, 6] and "unsaved" not in twin.state_dict() and twin.unsaved.item() == 4
    assert m(np.ones((1, 2))).shape == (1, 2) and "mean" in dir(m) and len(list(m.buffers())) == 3


def test_what_may_be_a_buffer():
    m = Scaled()
    with raises(TypeError, "Scaled: mean is a buffer; expected a Tensor or None, got ndarray"): m.mean = np.ones(2)
    with raises(TypeError, "Scaled: new is to be a buffer; expected a Tensor or None, got list"): m.register_buffer("new", [1])
    with raises(ValueError, "Scaled: there is a 'layer' already"): m.register_buffer("layer", Tensor(1))
    with raises(ValueError, "'a.b' cannot name"): m.register_buffer("a.b", Tensor(1))
    m.mean = None
    assert "mean" not in m.state_dict()
    m.mean = Tensor([1.0, 1.0])
    assert "mean" in m.state_dict()
    m.mean = nn.Parameter([1.0])                        # it is learned from here on, as in PyTorch
    assert "mean" in dict(m.named_parameters()) and "mean" not in dict(m.named_buffers())

    class Forgotten(nn.Module):
        def __init__(self): self.register_buffer("mask", Tensor(1))
    with raises(AttributeError, "Forgotten: its __init__ has to call super().__init__() first"): Forgotten()
