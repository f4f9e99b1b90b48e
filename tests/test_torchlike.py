"""Programs in the manner of tutorials, on our engine and on PyTorch; and the methods of tensors, one by one."""
import subprocess, sys

import numpy as np
import pytest

import foundations.torchlike as ours
from foundations.autograd import Tensor
from foundations.methods import along

@pytest.fixture(params=["ours", "torch"])
def torch(request): return ours if request.param == "ours" else pytest.importorskip("torch")


@pytest.fixture
def real(): return pytest.importorskip("torch")


# ---- programs

def sine(torch):
    "A sine fitted by a polynomial of the third degree, weights changed by hand."
    x = torch.linspace(-3, 3, 200)
    y = torch.sin(x)
    a, b, c, d = (torch.tensor(0.1 * i, requires_grad=True) for i in range(4))
    losses = []
    for _ in range(300):
        guess = a + b * x + c * x ** 2 + d * x ** 3
        loss = (guess - y).pow(2).mean()
        loss.backward()
        with torch.no_grad():
            for w, rate in ((a, 0.05), (b, 0.05), (c, 0.005), (d, 0.001)):
                w -= rate * w.grad
                w.grad = None
        losses.append(loss.item())
    return losses[::50] + [w.item() for w in (a, b, c, d)]


NAMES = ["ada", "alan", "anna", "dana", "ida", "lana", "nadia", "nan"]

def bigrams(torch):
    "Which letter follows which, counted; and how likely the names are."
    letters = [".", *sorted(set("".join(NAMES)))]
    place = {letter: i for i, letter in enumerate(letters)}
    counts = torch.zeros((len(letters), len(letters)), dtype=torch.int64)
    for name in NAMES:
        for one, other in zip("." + name, name + "."): counts[place[one], place[other]] += 1
    chances = (counts + 1).float()
    chances /= chances.sum(1, keepdim=True)
    assert torch.allclose(chances.sum(1), torch.ones(len(letters)))
    total, n = 0.0, 0
    for name in NAMES:
        for one, other in zip("." + name, name + "."):
            total += torch.log(chances[place[one], place[other]])
            n += 1
    return counts.tolist(), (-total / n).item(), chances, letters


def bigrams_by_gradient(torch):
    "The same by a layer without hidden units, one-hot rows times weights."
    letters = [".", *sorted(set("".join(NAMES)))]
    place = {letter: i for i, letter in enumerate(letters)}
    pairs = [(place[a], place[b]) for name in NAMES for a, b in zip("." + name, name + ".")]
    xs, ys = torch.tensor([a for a, _ in pairs]), torch.tensor([b for _, b in pairs])
    n, hot = len(letters), torch.eye(len(letters))[xs]
    w = torch.zeros((n, n), requires_grad=True)
    for _ in range(40):
        logits = hot @ w
        shares = logits.exp() / logits.exp().sum(1, keepdim=True)
        loss = -shares[torch.arange(len(pairs)), ys].log().mean() + 0.01 * (w**2).mean()
        w.grad = None
        loss.backward()
        w.data += -5 * w.grad
    return loss.item(), w.max().item()


def perceptron(torch):
    "Two moons' little sister: points in and out of a circle, two layers, mini-batches."
    points = torch.tensor([[np.cos(i) * (1 + i % 2), np.sin(i) * (1 + i % 2)] for i in range(60)]).float()
    inside = torch.tensor([i % 2 for i in range(60)])
    w1 = (torch.arange(16).reshape(2, 8).float() * 0.7).sin().requires_grad_(True)
    b1, b2 = torch.zeros(8, requires_grad=True), torch.zeros(2, requires_grad=True)
    w2 = (torch.arange(16).view(8, 2).float() * 1.3).cos().requires_grad_(True)
    for step in range(200):
        batch = slice(20 * (step % 3), 20 * (step % 3) + 20)
        hidden = torch.relu(points[batch] @ w1 + b1)
        scores = hidden @ w2 + b2
        loss = -torch.log_softmax(scores, dim=1)[torch.arange(20), inside[batch]].mean()
        for p in (w1, b1, w2, b2): p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in (w1, b1, w2, b2): p -= 0.1 * p.grad
    with torch.no_grad(): guess = torch.argmax(torch.relu(points @ w1 + b1) @ w2 + b2, dim=1)
    return loss.item(), (guess == inside).float().mean().item()


def second_derivative(torch):
    "The slope of a slope."
    x = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    [first] = torch.autograd.grad((x ** 3).sum(), x, create_graph=True)
    [second] = torch.autograd.grad(first.sum(), x)
    return np.asarray(second).tolist()


def normalised(torch):
    "Rows of mean 0 and variance 1, and a mask below the diagonal, as in attention."
    x = torch.arange(12.0).reshape(3, 4).sin().requires_grad_(True)
    y = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)
    scores = (y @ y.transpose(-2, -1)) / 2
    below = torch.tril(torch.ones(3, 3))
    shares = torch.softmax(scores.masked_fill(below == 0, float("-inf")), dim=-1)
    (shares @ torch.cat([y, y], dim=1)).square().sum().backward()
    return np.asarray(shares.detach()).tolist(), np.asarray(x.grad).tolist()


PROGRAMS = [sine, bigrams, bigrams_by_gradient, perceptron, second_derivative, normalised]

def numbers(out):
    if isinstance(out, (list, tuple)): return [n for part in out for n in numbers(part)]
    return [out] if isinstance(out, (int, float)) else []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_a_program_gives_torchs_numbers(program, real):
    np.testing.assert_allclose(numbers(program(ours)), numbers(program(real)), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_a_program_runs(program): assert np.isfinite(numbers(program(ours))).all()


def test_what_is_learned():
    assert sine(ours)[-5] < 0.1 and perceptron(ours)[1] > 0.9
    assert bigrams_by_gradient(ours)[0] < np.log(7)


def test_names_are_drawn(torch):
    "Sampling letter after letter, with a generator: the same names for the same seed."
    _, _, chances, letters = bigrams(torch)
    def names(seed):
        g, out = torch.Generator().manual_seed(seed), []
        for _ in range(5):
            ix, name = 0, ""
            while True:
                ix = torch.multinomial(chances[ix], num_samples=1, replacement=True, generator=g).item()
                if ix == 0: break
                name += letters[ix]
            out.append(name)
        return out
    assert names(1) == names(1) != names(2)


def test_chance_is_repeated_by_a_seed(torch):
    def draw():
        torch.manual_seed(3)
        return [torch.randn(2, 3), torch.rand((2,)), torch.randint(0, 5, (4,)), torch.randint(9, (2, 2)), torch.randperm(6),
                torch.randn_like(torch.zeros(2)), torch.multinomial(torch.tensor([0.2, 0.8]), 1)]
    one, other = draw(), draw()
    for a, b in zip(one, other): assert np.array_equal(np.asarray(a), np.asarray(b))
    assert [tuple(x.shape) for x in one] == [(2, 3), (2,), (4,), (2, 2), (6,), (2,), (1,)]
    assert one[2].dtype == torch.int64 and one[0].dtype == torch.float32 and sorted(one[4].tolist()) == list(range(6))


def test_chance_is_fair(torch):
    g = torch.Generator().manual_seed(0)
    x, u, k = torch.randn(20_000, generator=g), torch.rand(20_000, generator=g), torch.randint(1, 7, (6000,), generator=g)
    assert abs(x.mean().item()) < 0.05 and abs(x.std().item() - 1) < 0.05 and 0 <= u.min().item() < u.max().item() < 1
    assert k.min().item() == 1 and k.max().item() == 6
    drawn = torch.multinomial(torch.tensor([[0.0, 3.0, 1.0]] * 2), 4000, replacement=True, generator=g)
    assert tuple(drawn.shape) == (2, 4000) and not (drawn == 0).any() and abs((drawn == 1).float().mean().item() - 0.75) < 0.05


# ---- creation

CREATED = ["tensor([1, 2])", "tensor([1.0, 2])", "tensor(1.5)", "tensor([True, False])", "tensor([[1.0], [2.0]], dtype=torch.float64)",
           "tensor([1, 2], dtype=torch.float)", "zeros(2, 3)", "zeros((2, 3))", "zeros(2, dtype=torch.long)", "ones([2])", "ones(())",
           "full((2, 2), 7)", "full((2,), 0.5)", "full((2,), True)", "arange(4)", "arange(1, 4)", "arange(0, 1, 0.25)", "arange(3.0)",
           "arange(2, dtype=torch.float32)", "linspace(0, 1, 5)", "eye(3)", "eye(2, 3)", "zeros_like(torch.tensor([1, 2]))",
           "ones_like(torch.tensor([1.0]))", "zeros_like(torch.tensor([1]), dtype=torch.float32)", "from_numpy(np.ones(2))",
           "as_tensor(np.ones((1, 2)))", "as_tensor([1.0])", "empty(2, 3).shape", "tensor(3.0, requires_grad=True).requires_grad",
           "is_tensor(torch.ones(1))", "is_tensor(1)", "zeros(2).to('cpu')", "ones(2, device='cpu')"]

@pytest.mark.parametrize("code", CREATED)
def test_creation_is_torchs(code, real):
    same(*[eval(f"torch.{code}", {"torch": t, "np": np}) for t in (ours, real)])


def same(a, b):
    if isinstance(b, (tuple, list)):
        assert len(a) == len(b)
        for one, other in zip(a, b): same(one, other)
    elif not hasattr(b, "detach"): assert a == b
    else:
        assert tuple(a.shape) == tuple(b.shape) and str(b.dtype).removeprefix("torch.") == str(a.dtype)
        np.testing.assert_allclose(np.asarray(a.detach()), b.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_the_default_dtype_can_be_changed():
    before = ours.get_default_dtype()
    try:
        ours.set_default_dtype(ours.float64)
        assert {t.dtype for t in (ours.zeros(1), ours.randn(1), ours.tensor(1.0), ours.eye(1))} == {np.dtype("float64")}
    finally: ours.set_default_dtype(before)
    with pytest.raises(TypeError, match="floating-point"): ours.set_default_dtype(ours.int64)


def test_tensor_copies_and_from_numpy_does_not():
    x = np.zeros(2)
    copied, seen = ours.tensor(x), ours.from_numpy(x)
    x[0] = 1
    assert copied.tolist() == [0, 0] and seen.tolist() == [1, 0]


# ---- methods and functions

X = np.random.default_rng(0).standard_normal((3, 1, 4))
TIED = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 0.0]])
METHODS = ["x.view(3, 4)", "x.view((2, 6))", "x.view(-1)", "x.reshape(4, 3)", "x.unsqueeze(0)", "x.unsqueeze(-1)", "x.squeeze()",
           "x.squeeze(1)", "x.squeeze(0)", "x.squeeze(-2)", "x.flatten()", "x.flatten(1)", "x.flatten(0, 1)", "x.transpose(0, 2)",
           "x.transpose(-1, -2)", "x.permute(2, 0, 1)", "x.permute((0, 2, 1))", "x[:, 0].T", "x.mT", "x[:, 0].t()", "abs(x)", "x.abs()",
           "(x * x).sqrt()", "x.exp()", "(x * x + 1).log()", "x.tanh()", "x.sigmoid()", "x.relu()", "x.sin()", "x.cos()", "x.square()",
           "x.pow(2)", "x ** 3", "2 ** x", "1 / (x * x + 1)", "3 - x", "-x", "x.std()", "x.std(0)", "x.var()", "x.var(2, keepdim=True)",
           "x.var(0, unbiased=False)", "x.var((0, 2))", "x.var(-1, correction=0)", "x.var(False)", "x.std(2, False)",
           "x.mean()", "x.mean(0)", "x.mean((0, 1), keepdim=True)", "x.sum()", "x.sum(-1)", "x.amax(0)", "x.amin((0, 2))",
           "x.amax(2, True)", "x.max()", "x.min()", "x.max(0)", "x.min(2)", "x.max(dim=-1, keepdim=True)", "x.argmax()", "x.argmax(0)",
           "x.argmin(2, keepdim=True)", "x.argmin()", "x.clip(-0.5, 0.5)", "x.clamp(min=0)", "x.clamp(max=0.3)", "x.logsumexp(0)",
           "x.logsumexp((0, 2))", "x.logsumexp(-1, keepdim=True)", "x.logsumexp(1) * 100", "x.masked_fill(x > 0, 7.0)",
           "x.where(x > 0, x * 2)", "x.softmax(-1)", "x.log_softmax(0)", "x.float()", "x.double()", "x.long()", "x.int()", "x.bool()",
           "x.to(torch.float32)", "x.to(x)", "x.clone()", "x.contiguous()", "x.cpu()", "x.tolist()", "x.size()", "x.size(-1)", "x.dim()",
           "x.numel()", "x.ndim", "len(x)", "x[0, 0, 1].item()", "float(x[0, 0, 0])", "int(x[0, 0, 0] * 9)", "f'{x[0, 0, 0]:.3f}'",
           "[t.tolist() for t in x]", "(x > 0).any()", "(x > 9).any()", "(x > -9).all()", "(x > 0).any(0)", "(x > 0).all(-1)",
           "x.allclose(x + 1e-9)", "x.allclose(x + 1)", "x.equal(x)", "x.equal(x[0])", "x[0, 0, 0] in x", "99.0 in x", "x.split(2)",
           "x.split(3, dim=2)", "x.chunk(2, dim=-1)", "x.chunk(4)", "x.gather(2, x.argmax(2, keepdim=True))", "x.detach()",
           "~(x > 0)", "(x > 0) & (x < 1)", "(x > 1) | (x < 0)", "x == x", "x != 0", "x[..., 0]", "x[[0, 2]]", "x[x > 0]", "x[1:, :, ::2]",
           "x[:, None].shape", "x.view(3, 4) @ x.view(4, 3)", "x @ x.mT", "x.view(3, 4) @ x[0, 0]",
           "torch.exp(x)", "torch.sum(x, dim=1)", "torch.sum(x)", "torch.mean(x, 0)", "torch.max(x)", "torch.max(x, 0)", "torch.max(x, -x)",
           "torch.min(x)", "torch.min(x, 2)", "torch.min(x, -x)", "torch.maximum(x, x[0])", "torch.minimum(x, -x)",
           "torch.argmax(x)", "torch.argmax(x, dim=2)", "torch.matmul(x, x.mT)", "torch.mm(x[:, 0], x[:, 0].T)", "torch.cat([x, x])",
           "torch.cat((x, x * 2), dim=-1)", "torch.stack([x, x])", "torch.stack([x, x], dim=-1)", "torch.where(x > 0, x, -x)",
           "torch.where(x > 0, 1.0, x)", "torch.softmax(x, 2)", "torch.log_softmax(x, dim=0)", "torch.logsumexp(x, 1)",
           "torch.clamp(x, 0, 1)", "torch.flatten(x, 1)", "torch.squeeze(x)", "torch.unsqueeze(x, 0)", "torch.transpose(x, 0, 1)",
           "torch.permute(x, (1, 0, 2))", "torch.reshape(x, (4, 3))", "torch.std(x, 0)", "torch.var(x)", "torch.allclose(x, x)",
           "torch.equal(x, x)", "torch.tril(x[:, 0])", "torch.triu(x[:, 0], 1)", "torch.tril(torch.ones(3, 3), -1)", "torch.sqrt(x * x)",
           "torch.abs(x)", "torch.sin(x)", "torch.cos(x)", "torch.tanh(x)", "torch.sigmoid(x)", "torch.relu(x)", "torch.log(x * x + 1)",
           "torch.pow(x, 2)", "torch.square(x)", "torch.sign(x).detach()", "torch.isnan(x)", "torch.any(x > 0)", "torch.all(x > 0)", "torch.clone(x)",
           "torch.numel(x)", "torch.split(x, 2)", "torch.broadcast_to(x, (3, 2, 4))", "torch.dot(x[0, 0], x[1, 0])", "torch.pi"]

def evaluated(code, torch, x): return eval(code, {"torch": torch, "x": x})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", METHODS)
def test_a_method_is_torchs(code, real):
    leaves = Tensor(X, requires_grad=True), real.tensor(X, requires_grad=True)
    a, b = evaluated(code, ours, leaves[0]), evaluated(code, real, leaves[1])
    same(a, b)
    if not getattr(b, "requires_grad", False): return
    assert a.requires_grad
    (a * 3).sum().backward()
    (b * 3).sum().backward()
    np.testing.assert_allclose(leaves[0].grad, leaves[1].grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("code", ["x.max(1).values", "x.amax(1)", "x.max()", "x.min(1).values", "x.amin(1)", "torch.maximum(x, x)",
                                  "torch.max(x, x * 1)", "x.clamp(2.0, 3.0)", "x.clip(max=2.0)", "x.abs()", "x.relu()"])
def test_ties_share_as_in_torch(code, real):
    leaves = Tensor(TIED, requires_grad=True), real.tensor(TIED, requires_grad=True)
    for torch, x in zip((ours, real), leaves): (evaluated(code, torch, x) * 2).sum().backward()
    np.testing.assert_allclose(leaves[0].grad, leaves[1].grad.numpy())


def test_integers_stay_integers():
    x = ours.arange(6).view(2, 3)
    for y in (x.T, x.flatten(), x[0], x.max(1).values, x.max(), x.min(), ours.cat([x, x]), ours.stack([x, x]), x.clone(), x.unsqueeze(0)):
        assert y.dtype == np.int64, y


def test_both_names_of_an_option():
    x = Tensor(X)
    assert x.sum(axis=1, keepdims=True).shape == x.sum(dim=1, keepdim=True).shape == (3, 1, 4)
    assert along([0, 1]) == dict(axis=(0, 1), keepdims=False) and along(()) == dict(axis=None, keepdims=False)
    for method in (x.sum, x.mean, x.amax, x.amin, x.var):
        with pytest.raises(TypeError, match="two names of one thing"): method(dim=1, axis=0)


def test_logsumexp_neither_overflows_nor_makes_nan():
    with np.errstate(over="raise", invalid="raise", divide="ignore"):
        assert Tensor([1000.0, 1000.0]).logsumexp(0).item() == pytest.approx(1000 + np.log(2))
        assert Tensor([-np.inf, -np.inf]).logsumexp(0).item() == -np.inf
        assert Tensor([np.inf, 0.0]).logsumexp(0).item() == np.inf


def test_a_copy_has_its_own_memory():
    x = Tensor(X.copy())
    x.clone().zero_()
    assert not (x == 0).any() and x.detach().zero_() is not x and (x == 0).all()


# ---- in place

def test_numbers_change_in_place(torch):
    x = torch.zeros(2, 2)
    y = x
    x += 1; x *= 6; x -= 2; x /= 4
    x[0, 1] = 5
    x[1] += torch.tensor([1.0, 2.0])
    assert y is x and x.tolist() == [[1, 5], [2, 3]]
    assert x.fill_(3).zero_() is x and x.sum().item() == 0


def test_a_leaf_changes_within_no_grad_alone(torch):
    w = torch.ones(2, requires_grad=True)
    for change in (lambda: w.zero_(), lambda: w.__setitem__(0, 1.0), lambda: w.__iadd__(1)):
        with pytest.raises((ValueError, RuntimeError)): change()
    with torch.no_grad():
        w -= 0.5
        w[0] = 7.0
    assert w.tolist() == [7, 0.5] and w.requires_grad


def test_a_change_is_written_down(torch):
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y[0] = 10.0
    y[1] = x[2]
    y.sum().backward()
    assert np.asarray(x.grad).tolist() == [0, 0, 3]


def test_a_change_that_the_way_back_would_not_see_is_refused(torch):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    z = (y * y).sum()
    with torch.no_grad(): y += 1
    with pytest.raises((ValueError, RuntimeError)): z.backward()


# ---- refusals

@pytest.mark.parametrize("call, kind, words", [
    (lambda: ours.ones(2, 2).item(), ValueError, "item: expected one number, the tensor is (2, 2)"),
    (lambda: ours.ones(2, requires_grad=True).numpy(), ValueError, "numpy: this tensor needs a gradient"),
    (lambda: ours.ones(2).to("cuda"), TypeError, "to: expected a dtype, or the one device 'cpu', got 'cuda'"),
    (lambda: ours.ones(2, 3).view(4), ValueError, "reshape: x is (2, 3), which does not fit (4,)"),
    (lambda: ours.ones(2, 3).unsqueeze(4), ValueError, "unsqueeze: 4 is no place for an axis in (2, 3)"),
    (lambda: ours.ones(2, 3).flatten(1, 0), ValueError, "flatten: from axis 1 to 0 there is none"),
    (lambda: ours.zeros(0).argmax(), ValueError, "argmax: x is (0,): of no numbers"),
    (lambda: ours.zeros(0).max(), ValueError, "amax: x is (0,): of no numbers, none is the largest"),
    (lambda: ours.cat([ours.ones(2), ours.ones(2, 2)]), ValueError, "concatenate: (2,), (2, 2) do not fit along axis 0"),
    (lambda: ours.maximum(ours.ones(2), ours.ones(3)), ValueError, "maximum: (2,) and (3,) do not fit"),
    (lambda: ours.device("cuda"), ValueError, "device: expected 'cpu', got 'cuda'"),
    (lambda: ours.convolve, AttributeError, "has no attribute 'convolve'"),
    (lambda: iter(ours.tensor(1.0)), TypeError, "iteration over a tensor of one number"),
    (lambda: ours.ones(2).where(ours.ones(2), 0.0), TypeError, "where: mask has dtype float32: expected booleans")])
def test_a_refusal_says_what_was_wrong(call, kind, words):
    with pytest.raises(kind) as error: call()
    assert words in str(error.value)


def test_nn_and_optim_are_loaded_when_asked_for():
    code = """
import sys, foundations.torchlike as torch
assert not {"torch", "foundations.nn", "foundations.training"} & set(sys.modules)
torch.nn.Linear(2, 3), torch.optim.SGD"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("a, b", [([7.5, -7.5, 3.0, -3.0], [2.0, 2.0, -2.0, 0.5]), ([7, -7, 7, -7], [2, 2, -2, -2]), ([7.0, -7.0], 2), (7, [2.0, -2.0])])
def test_whole_parts_of_quotients_are_rounded_down(real, a, b):
    pair = lambda make: [x if isinstance(x, int) else make(x) for x in (a, b)]
    (x, y), (u, v) = pair(ours.tensor), pair(real.tensor)
    assert (x // y).tolist() == (u // v).tolist() and not (x // y).requires_grad
