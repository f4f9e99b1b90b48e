"""A short case for each chapter, in plain pytest: no Jupyter, no PyTorch, a few seconds in all."""
import os, subprocess, sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from foundations import autograd, backward, broadcasting, convolution, forward, language, layers
from foundations import matmul, nn, scaling, training
from foundations.autograd import Tensor
from foundations.check import gradcheck, test_near
from foundations.data import mnist
from foundations.scaling.__main__ import main as scaling_main

ROOT = Path(__file__).resolve().parent.parent
ABSENT = "torch", "numba", "IPython", "ipykernel", "nbformat", "nbdev"


@pytest.fixture
def rng(): return np.random.default_rng(0)


def test_all_of_this_runs_without_torch_and_jupyter():
    "The rest of this file again, where importing those fails."
    if os.environ.get("WITHOUT"): pytest.skip("here it does")
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}: raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import pytest
sys.exit(pytest.main([{str(__file__)!r}, "-q", "-p", "no:cacheprovider"]))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"WITHOUT": "1"},
                          capture_output=True, text=True)
    if done.returncode: pytest.fail(done.stdout + done.stderr)


# ---- 1: the matrix product ----

RUNGS = ["loops", "rowcol", "broadcast", "einsum", "compiled"]

def rung(name):
    if name == "compiled": pytest.importorskip("numba")
    return getattr(matmul, f"matmul_{name}") if name else matmul.matmul


@pytest.mark.parametrize("name", [*RUNGS, ""])
def test_every_version_gives_the_same_product(name, rng):
    a, b = rng.standard_normal((5, 7)), rng.standard_normal((7, 3))
    test_near(rung(name)(a, b), np.array(matmul.matmul_lists(a.tolist(), b.tolist())))
    test_near(rung(name)(a, b), a @ b)


@pytest.mark.parametrize("name", [*RUNGS, ""])
def test_shapes_that_do_not_fit_are_refused_by_name(name):
    f = rung(name)
    with pytest.raises(ValueError, match=rf"^{f.__name__}: .*\(3, 4\).*\(5, 2\)"):
        f(np.ones((3, 4)), np.ones((5, 2)))


# ---- 2: broadcasting ----

SHAPES = [((3, 1), (4,)), ((2, 1, 5), (3, 1)), ((), (2, 3)), ((0, 3), (1, 1)), ((1,), (7, 1))]

@pytest.mark.parametrize("one, other", SHAPES)
def test_shapes_broadcast_as_in_numpy(one, other):
    assert broadcasting.broadcast_shapes(one, other) == np.broadcast_shapes(one, other)


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"broadcast_shapes: .*\(3,\).*\(4,\)"):
        broadcasting.broadcast_shapes((3,), (4,))


@pytest.mark.parametrize("one, other", SHAPES)
def test_the_gradient_of_a_broadcast_is_a_sum(one, other, rng):
    "Adjoint: <broadcast(x), g> = <x, unbroadcast(g)>."
    full = np.broadcast_shapes(one, other)
    x, g = rng.standard_normal(one), rng.standard_normal(full)
    back = broadcasting.unbroadcast(g, one)
    assert back.shape == one
    test_near((np.broadcast_to(x, full) * g).sum(), (x * back).sum())


# ---- 3: the forward pass ----

def test_softmax_is_a_distribution_in_each_row(rng):
    p = forward.softmax(rng.standard_normal((4, 10)) * 100)
    test_near(p.sum(1), np.ones(4))
    assert (p >= 0).all()


def test_cross_entropy_is_minus_the_log_of_the_true_class(rng):
    logits, targ = rng.standard_normal((3, 4)), np.array([2, 0, 3])
    e = np.exp(logits)
    p = (e / e.sum(1, keepdims=True))[range(3), targ]
    test_near(forward.cross_entropy(logits, targ), -np.log(p).mean())


def test_mse_refuses_what_would_broadcast():
    test_near(forward.mse(np.array([[1.0], [2.0]]), np.array([0.0, 0.0])), 2.5)
    with pytest.raises(ValueError, match=r"mse: .*\(4, 1\).*\(5,\)"):
        forward.mse(np.ones((4, 1)), np.ones(5))


# ---- 4: gradients by hand ----

def drawn(*shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]

X = drawn((3, 4))
PAIRS = dict(square=X, exp=X, log=[np.exp(*X)], relu=X, sum=X, mean=X, subtraction=drawn((3, 1), 4),
             mse=drawn((5, 1), 5), linear=drawn((5, 3), (3, 2), 2), softmax=X, log_softmax=X,
             cross_entropy=[*X, np.array([1, 0, 3])])

@pytest.mark.parametrize("name", PAIRS)
def test_a_gradient_agrees_with_nudges(name):
    gradcheck(getattr(forward, name), getattr(backward, f"{name}_grad"), *PAIRS[name])


def test_the_gradient_of_the_matrix_product():
    gradcheck(matmul.matmul, backward.matmul_grad, *drawn((4, 3), (3, 2)))


def test_a_wrong_gradient_is_noticed():
    half = lambda dout, x: (dout * x,)                # x², without its 2
    with pytest.raises(AssertionError): gradcheck(forward.square, half, *X)


# ---- 5: layers ----

def test_layers_give_what_was_written_by_hand():
    x, y, w1, b1, w2, b2 = drawn((6, 4), 6, (4, 5), 5, (5, 1), 1)
    loss, (_, *gradients) = backward.forward_and_backward(x, y, w1, b1, w2, b2)
    first, last = layers.Linear(w1, b1), layers.Linear(w2, b2)
    model = layers.Model([first, layers.ReLU(), last], layers.MSELoss())
    test_near(np.asarray(model(x, y)), loss)
    model.backward()
    for p, g in zip((first.w, first.b, last.w, last.b), gradients): test_near(np.asarray(p.g), g)


# ---- 6: the engine ----

def test_the_engine_learns_xor(rng):
    x, y = Tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), Tensor([[0.0], [1], [1], [0]])
    new = lambda *shape: Tensor(rng.standard_normal(shape), requires_grad=True)
    ps = w1, b1, w2, b2 = new(2, 8), new(8), new(8, 1), new(1)
    for _ in range(500):
        out = (x @ w1 + b1).tanh() @ w2 + b2
        loss = ((out - y) ** 2).mean()
        for p in ps: p.grad = None
        loss.backward()
        for p in ps: p.data -= 0.1 * p.grad
    test_near(out.data, y.data, atol=0.1)


def test_a_tensor_used_twice_gets_both_gradients():
    x = Tensor(3.0, requires_grad=True)
    (x * x).backward()
    test_near(x.grad, 6.0)


def test_a_second_backward_adds():
    x = Tensor([1.0, 2.0], requires_grad=True)
    for _ in range(2): (x * 3).sum().backward()
    test_near(x.grad, np.array([6.0, 6.0]))


def test_paths_that_part_and_meet_are_walked_once():
    x = y = Tensor(1.0, requires_grad=True)
    for _ in range(60): y = y + y                     # 2**60 paths
    y.backward()
    assert x.grad == 2.0 ** 60


def test_a_long_chain_needs_no_deep_stack():
    x = y = Tensor(1.0, requires_grad=True)
    for _ in range(5_000): y = y + 1
    y.backward()
    assert x.grad == 1


def test_no_grad_remembers_nothing():
    x = Tensor(1.0, requires_grad=True)
    with autograd.no_grad(): assert not (x * 2).requires_grad


# ---- 7: nn ----

def network(seed):
    new = partial(nn.Linear, generator=np.random.default_rng(seed))
    return nn.Sequential(new(784, 16), nn.ReLU(), new(16, 10))


def test_a_state_goes_into_another_model(rng):
    one, other, x = network(0), network(1), Tensor(rng.random((3, 784)))
    assert not np.allclose(one(x).data, other(x).data)
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one(x).data, other(x).data)
    assert list(one.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_sequential_calls_one_after_the_other(rng):
    model, x = network(0), Tensor(rng.random((3, 784)))
    by_hand = x
    for layer in model: by_hand = layer(by_hand)
    np.testing.assert_array_equal(model(x).data, by_hand.data)
    assert [p.shape for p in model.parameters()] == [(16, 784), (16,), (10, 16), (10,)]


# ---- 8: training ----

def test_fit_learns_to_read_digits(tmp_path, rng):
    x_train, y_train, x_valid, y_valid = mnist()
    model, path = network(0), tmp_path / "model.npz"
    digits = training.Dataset(x_train[:2_000], y_train[:2_000])
    train = training.DataLoader(digits, batch_size=50, shuffle=True, generator=rng)
    valid = training.DataLoader(training.Dataset(x_valid[:500], y_valid[:500]), batch_size=100)
    loss, right = training.evaluate(model, valid)
    optimizer = training.SGD(model.parameters(), lr=0.1)
    history = training.fit(model, optimizer, train, valid, epochs=2, show=False)
    after, more = training.evaluate(model, valid)
    assert len(history.losses) == 80 and history.losses[-1] < history.losses[0]
    assert after < loss / 2 and more > 0.7 > right

    training.save(model.state_dict(), path)
    again = network(1)
    again.load_state_dict(training.load(path))
    assert training.evaluate(again, valid) == (after, more)


# ---- 9: a language model ----

def test_a_small_gpt_learns_to_invent_names(rng):
    x, y = language.token_rows(["anna", "hanna", "ada", "nan"], context=6)
    model = language.GPT(context=6, width=8, heads=2, layers=1, generator=rng)
    before = language.token_loss(model, x, y).item()
    optimizer = training.AdamW(model.parameters(), lr=0.03)
    losses = language.learn(model, optimizer, x, y, steps=60, rng=rng, batch=4)
    assert len(losses) == 60 and language.token_loss(model, x, y).item() < before / 3
    made = language.invent(model, 20, rng, temperature=0.5)
    assert set("".join(made)) <= set("ahnd") and {"anna", "hanna", "ada", "nan"} & set(made)


def test_attention_is_a_mean_of_what_came_before(rng):
    q, k, v = rng.standard_normal((3, 2, 5, 4))
    test_near(language.attention(0 * q, k, v)[1], language.causal_mean(v[1]))
    test_near(language.causal_shares(rng.standard_normal((2, 5, 5)) * 100).sum(-1), np.ones((2, 5)))


def test_what_the_model_does_not_know_is_refused():
    with pytest.raises(ValueError, match="encode: 'Ada' has 'A'"): language.encode("Ada")
    with pytest.raises(ValueError, match="token_rows: 'hanna' has 5 letters"): language.token_rows(["hanna"], 5)
    model = language.GPT(context=3, width=4, heads=2, layers=1)
    with pytest.raises(ValueError, match="GPT: 4 tokens, and a window of 3"): model(np.zeros((1, 4), int))
    with pytest.raises(ValueError, match=r"the token at \[0, 1\] is 27"): model(np.array([[0, 27]]))
    with pytest.raises(ValueError, match="a width of 5 and 2 heads"): language.Attention(5, 2, 3)


# ---- 11: many processes ----

def test_gradients_of_parts_add_up_to_that_of_the_batch(rng):
    x, y, model = rng.random((10, 784)), rng.integers(10, size=10), network(0).double()
    nn.CrossEntropyLoss()(model(x), y).backward()
    whole, shares = [p.grad for p in model.parameters()], []
    for part in scaling.parts(10, 3):
        loss = nn.CrossEntropyLoss(reduction="sum")(model(x[part]), y[part]) / 10
        scaling.shared_backward(loss, lambda a: lambda: None)         # nobody to share with
        shares.append([p.grad for p in model.parameters()])
    for i, g in enumerate(whole):
        for total in scaling.ring_all_reduce([share[i] for share in shares]): test_near(total, g)


def test_a_command_trains_in_one_process(capsys):
    scaling_main(["--rows", "500", "--epochs", "2"])
    assert capsys.readouterr().out.splitlines()[-1].endswith(" %")


# ---- 12: convolution ----

def test_a_convolution_is_a_product_of_a_kernel_and_windows(rng):
    image, kernel = rng.standard_normal((6, 5)), rng.standard_normal((3, 2))
    windows = convolution.image_windows(image, (3, 2))
    assert np.shares_memory(windows, image) and windows.shape == (3, 2, 4, 4)
    product = (kernel.reshape(-1) @ windows.reshape(6, 16)).reshape(4, 4)
    test_near(product, convolution.convolution_loops(image, kernel))
    with pytest.raises(ValueError, match=r"the image is \(6, 5\), and a window \(7, 1\)"):
        convolution.image_windows(image, (7, 1))


def test_the_gradient_of_a_layer_of_kernels_agrees_with_nudges(rng):
    layer, x = nn.Conv2d(2, 3, 2, stride=2, padding=1, dtype=np.float64, generator=rng), rng.standard_normal((2, 2, 4, 5))
    def back(dout, x):
        t = Tensor(x, requires_grad=True)
        layer(t).backward(dout)
        return (t.grad,)
    gradcheck(lambda x: layer(x).data, back, x)
