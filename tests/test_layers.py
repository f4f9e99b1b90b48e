"""Layers (chapter 5): random networks against nudges and PyTorch, what adds up, and what is refused."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundations.backward import forward_and_backward
from foundations.check import numerical_grad, test_near
from foundations.layers import Array, CrossEntropyLoss, Layer, Linear, Model, MSELoss, ReLU, add_gradient, takes_gradient


def numbers(*shape, seed=0): return Array(np.random.default_rng(seed).standard_normal(shape))
def network(): return [numbers(*s, seed=i) for i, s in enumerate([(6, 4), (6,), (4, 5), (5,), (5, 1), (1,)])]
def model_of(w1, b1, w2, b2): return Model([Linear(w1, b1), ReLU(), Linear(w2, b2)], MSELoss())


class Same(Layer): pair = lambda x: x, lambda dout, x: (dout,)
class Double(Layer): pair = lambda x: 2 * x, lambda dout, x: (2 * dout,)


# ---- the gradients ----

def test_as_by_hand():
    x, y, *weights = network()
    loss, grads = forward_and_backward(x, y, *weights)
    model = model_of(*weights)
    test_near(model(x, y), loss)
    model.backward()
    for v, g in zip((x, *weights), grads, strict=True): test_near(v.g, g)


def by_torch(x, targ, params, regression):
    "Gradients of x and of all parameters, by autograd."
    import torch
    leaves = [torch.from_numpy(np.array(v)).requires_grad_() for v in (x, *params)]
    out, *params = leaves
    for i in range(0, len(params), 2): out = (torch.relu(out) if i else out) @ params[i] + params[i + 1]
    targ, F = torch.from_numpy(np.array(targ)), torch.nn.functional
    (F.mse_loss(out[:, 0], targ) if regression else F.cross_entropy(out, targ)).backward()
    return [leaf.grad for leaf in leaves]


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(1, 6), st.booleans(), st.booleans(), st.integers(0, 999))
def test_any_network_is_as_pytorchs(widths, n, regression, tensors, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    widths = [*widths, 1] if regression else widths
    params = [rng.standard_normal(s) for a, b in zip(widths, widths[1:]) for s in ((a, b), (b,))]
    x = rng.standard_normal((n, widths[0]))
    targ = rng.standard_normal(n) if regression else rng.integers(0, widths[-1], n)
    expected = by_torch(x, targ, params, regression)
    take = (lambda v: torch.from_numpy(np.array(v))) if tensors else (lambda v: Array(v.copy()))
    x, targ, *params = map(take, (x, targ, *params))
    linears = [Linear(w, b) for w, b in zip(params[::2], params[1::2])]
    layers = [layer for linear in linears for layer in (linear, ReLU())][:-1]
    model = Model(layers, MSELoss() if regression else CrossEntropyLoss())
    model(x, targ)
    model.backward()
    for v, g in zip((x, *params), expected, strict=True): test_near(v.g, g, atol=1e-12)


def test_classes_have_no_gradient():
    x, targ = numbers(4, 3), Array(np.array([0, 1, 2, 0]))
    loss = CrossEntropyLoss()
    loss(x, targ)
    loss.backward()
    assert targ.g is None
    test_near(x.g, *numerical_grad(lambda x: loss(x, targ), x), rtol=1e-6)


def test_parameters_of_pytorch_get_a_gradient_without_a_history():
    torch = pytest.importorskip("torch")
    w = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    layer = Linear(w, torch.zeros(3, dtype=torch.float64))
    layer(torch.ones(2, 4, dtype=torch.float64)).g = torch.ones(2, 3, dtype=torch.float64)
    layer.backward()
    assert not w.g.requires_grad and w.grad is None


# ---- what adds up, and what is forgotten ----

def test_a_value_used_twice_gets_both_gradients():
    x, y, w1, _, w2, b2 = network()
    h, heads, losses = Array(x @ w1), [Linear(w2, b2), Linear(Array(2 * w2), Array(b2 + 1))], [MSELoss(), MSELoss()]
    def total(h): return sum(loss(head(h), y) for head, loss in zip(heads, losses))
    total(h)
    for head, loss in zip(heads, losses):
        loss.backward()
        head.backward()
    test_near(h.g, *numerical_grad(total, h), rtol=1e-6)


def test_a_second_backward_adds_to_parameters_and_x_only():
    x, y, *weights = network()
    model = model_of(*weights)
    model(x, y)
    model.backward()
    once = [v.g.copy() for v in (x, *weights)]
    model.backward()
    for v, g in zip((x, *weights), once, strict=True): test_near(v.g, 2 * g)
    model.zero_grad()
    assert all(w.g is None for w in weights) and x.g is not None


def test_gradients_that_share_memory_stay_apart():
    x = numbers(3)
    y, dout = Same(), np.ones(3)
    for _ in range(2):
        y(x).g = dout
        y.backward()
    test_near(x.g, np.full(3, 2.0))
    test_near(dout, np.ones(3))


def test_a_pair_that_returns_its_input_keeps_its_gradient():
    x = Array(np.ones(3))
    x.g = np.ones(3)
    layer = Same()
    layer(x).g = np.ones(3)
    layer.backward()
    test_near(x.g, 2 * np.ones(3))


def test_a_plain_array_takes_no_gradient():
    x, y, *weights = network()
    plain, model = np.asarray(x), model_of(*weights)
    model(plain, y)
    model.backward()
    assert not hasattr(plain, "g") and weights[0].g is not None
    add_gradient(plain, plain)
    add_gradient(x, None)
    assert x.g is None


def test_a_parameter_may_be_put_in_anew():
    layer, x = Linear(numbers(4, 5), numbers(5)), numbers(6, 4)
    layer.w = numbers(4, 2, seed=1)
    layer.b = numbers(2)
    assert layer(x).shape == (6, 2)


def test_an_array_and_what_is_made_of_it():
    x = Array(np.ones(3))
    x.g = np.zeros(3)
    assert all(type(v) is Array and v.g is None for v in (x + 1, x[:2]))
    old = np.ones(3)
    Array(old)[0] = 7
    assert old[0] == 7 and takes_gradient(x) is x and x.g is None
    assert type(takes_gradient(np.float64(3))) is Array


# ---- what is refused, and that nothing is half done ----

def test_backward_too_early():
    x, _, w1, b1, *_ = network()
    with pytest.raises(ValueError, match=r"^ReLU\.backward: the layer has not been called yet"): ReLU().backward()
    with pytest.raises(ValueError, match=r"^MSELoss\.backward: the layer has not been called yet"):
        Model([ReLU()], MSELoss()).backward()
    layer = Linear(w1, b1)
    layer(x)
    with pytest.raises(ValueError, match=r"^Linear\.backward: the output, of shape \(6, 5\), has no gradient yet"): layer.backward()


def test_shapes_that_do_not_fit():
    x, y, w1, b1, w2, b2 = network()
    with pytest.raises(ValueError, match=r"^linear: x is \(6, 4\), w is \(5, 1\)"): Model([Linear(w2, b2)], MSELoss())(x, y)
    with pytest.raises(ValueError, match=r"^mse: pred is \(6, 5\) and targ is \(6,\)"): Model([Linear(w1, b1)], MSELoss())(x, y)
    with pytest.raises(TypeError, match="expected integers"): Model([Linear(w1, b1)], CrossEntropyLoss())(x, y)


def test_after_a_call_that_fails_there_is_no_way_back():
    x, y, *weights = network()
    model = model_of(*weights)
    model(x, y)
    model.backward()
    kept = [w.g.copy() for w in weights]
    with pytest.raises(ValueError, match=r"x is \(6, 3\)"): model(x[:, :3], y)
    with pytest.raises(ValueError, match="has not been called"): model.backward()
    for w, g in zip(weights, kept): np.testing.assert_array_equal(w.g, g)


def test_predicting_is_no_call():
    x, y, *weights = network()
    model = model_of(*weights)
    model(x, y)
    model.predict(x)
    with pytest.raises(ValueError, match=r"MSELoss\.backward: the layer has not been called"): model.backward()


def test_what_is_no_layer_or_there_twice():
    same = ReLU()
    with pytest.raises(ValueError, match="Model: a layer stands in the list twice"): Model([same, Double(), same], MSELoss())
    with pytest.raises(ValueError, match="Model: a layer stands in the list twice"): Model([same], same)
    with pytest.raises(TypeError, match="Model: expected layers and a loss, got None"): Model([ReLU()], None)
    with pytest.raises(TypeError, match="takes_gradient: expected an array or a tensor, got list"): Linear([[1.0]], [0.0])


def tanh(x): return np.tanh(x)
def no_tuple(dout, x): return dout * (1 - np.tanh(x)**2)
def nothing(dout, x): return None
def too_many(dout, x): return no_tuple(dout, x), None
def too_few(dout, x): return ()
def one_row(dout, x): return (no_tuple(dout, x).sum(0),)

@pytest.mark.parametrize("f_grad, gave", [(no_tuple, "Array"), (nothing, "NoneType"), (too_few, r"shapes \[\]"),
                                          (too_many, r"shapes \[\(4, 3\), None\]"), (one_row, r"shapes \[\(3,\)\]")])
def test_a_pair_that_answers_otherwise_is_named(f_grad, gave):
    class Tanh(Layer): pair = tanh, f_grad
    x, layer = numbers(4, 3), Tanh()
    layer(x).g = np.ones((4, 3))
    words = rf"^Tanh\.backward: of its pair, tanh and {f_grad.__name__}, the second gave {gave}; expected a tuple .* \[\(4, 3\)\]$"
    with pytest.raises(ValueError, match=words): layer.backward()
    assert x.g is None
