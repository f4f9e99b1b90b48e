"A compiled step does what the step does: values, parameters, momentum, random numbers, refusals."
import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from foundations import nn
from foundations.autograd import Tensor
from foundations.check import test_near as near
from foundations.compiling import compiled
from foundations.training import SGD

BACKENDS = ["numpy", "numba"]
backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def needs(request):
    if "numba" in str(request.node.callspec.params if hasattr(request.node, "callspec") else ""): pytest.importorskip("numba")


def model_of(seed, *more, out=3):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Linear(4, 6, generator=rng), nn.ReLU(), *more, nn.Linear(6, out, generator=rng))


def training(model, loss_func, **options):
    "A step, and what it trains."
    optimizer = SGD(model.parameters(), lr=0.1, **options)

    def step(x, y):
        loss = loss_func(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss
    return step, model, optimizer


def side_by_side(make, batches, backend, rtol=1e-6):
    "The same steps compiled and as they are: each loss, and all parameters in the end."
    (plain, ours, _), (other, theirs, _) = make(), make()
    fast = compiled(other, backend)
    for batch in batches: near(fast(*batch).data, plain(*batch).data, rtol=rtol)
    for p, t in zip(ours.parameters(), theirs.parameters()): near(t.data, p.data, rtol=rtol)
    assert not fast.why, fast.why
    return fast


def batches(n, sizes, seed=0, classes=True):
    rng = np.random.default_rng(seed)
    for i in range(n):
        size = sizes[i % len(sizes)]
        x = rng.normal(size=(size, 4)).astype("f4")
        y = rng.integers(0, 3, size) if classes else rng.normal(size=(size, 3)).astype("f4")
        yield Tensor(x), Tensor(y)


@backends
@pytest.mark.parametrize("options", [{}, dict(momentum=0.9), dict(momentum=0.9, weight_decay=1e-2)])
def test_a_classifier(backend, options):
    side_by_side(lambda: training(model_of(0), nn.CrossEntropyLoss(), **options), batches(8, [5]), backend, 1e-5)


@backends
def test_mse(backend):
    side_by_side(lambda: training(model_of(0), nn.MSELoss()), batches(8, [5], classes=False), backend, 1e-5)


@backends
def test_batches_of_several_sizes(backend):
    fast = side_by_side(lambda: training(model_of(0), nn.CrossEntropyLoss(), momentum=0.5), batches(12, [5, 5, 2]), backend, 1e-5)
    assert len(fast.plans) == 2


@backends
def test_dropout_draws_the_same(backend):
    make = lambda: training(model_of(0, nn.Dropout(0.3, generator=np.random.default_rng(5))), nn.CrossEntropyLoss())
    side_by_side(make, batches(8, [5]), backend, 1e-5)


@backends
def test_a_model_in_use_is_another_program(backend):
    step, model, _ = training(model_of(0, nn.Dropout(0.5, generator=np.random.default_rng(5))), nn.CrossEntropyLoss())
    fast, (x, y) = compiled(step, backend), next(iter(batches(1, [5])))
    for _ in range(4): fast(x, y)
    model.eval()
    for _ in range(3): fast(x, y)
    assert len(fast.plans) == 2 and "random" not in fast.plans[0].program.source.rpartition("def step")[2]


@backends
def test_another_rate_and_another_momentum(backend):
    def make():
        step, model, optimizer = training(model_of(0), nn.CrossEntropyLoss())
        def scheduled(x, y):
            optimizer.lr *= 0.9
            return step(x, y)
        return scheduled, model, optimizer
    side_by_side(make, batches(8, [5]), backend, 1e-5)


@backends
def test_a_parameter_that_is_replaced(backend):
    (step, model, _), (plain, other, _) = [training(model_of(0), nn.CrossEntropyLoss()) for _ in range(2)]
    fast = compiled(step, backend)
    for i, (x, y) in enumerate(batches(10, [5])):
        if i == 6:
            for m in (model, other): m[0].weight.data = np.ones((6, 4), "f4")
        near(fast(x, y).data, plain(x, y).data, rtol=1e-5)
    near(model[0].weight.data, other[0].weight.data, rtol=1e-5)


@backends
def test_a_class_out_of_range_is_refused_as_before(backend):
    step, model, _ = training(model_of(0), nn.CrossEntropyLoss())
    fast, (x, y) = compiled(step, backend), next(iter(batches(1, [5])))
    for _ in range(4): fast(x, y)
    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(ValueError, match="expected a class from 0 to 2"): fast(x, Tensor(np.array([0, 1, 2, 3, 0])))
    for p, b in zip(model.parameters(), before): near(p.data, b)
    with pytest.raises(ValueError, match="x is"): fast(Tensor(np.ones((2, 5), "f4")), y)


def refused(step, *args, times=4):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fast = compiled(step)
        out = [fast(*args) for _ in range(times)]
    return fast.why, [str(w.message) for w in said], out


def test_a_number_taken_out_is_named():
    w = Tensor(np.ones(3), requires_grad=True)
    why, said, out = refused(lambda x: (w * x).sum().item(), np.arange(3.0))
    assert "taken out" in why and len(said) == 1 and out == [3.0] * 4


class Box: n = 0


def test_what_is_baked_in_is_noticed():
    w, box = Tensor(np.ones(3), requires_grad=True), Box()

    def counts(x):
        box.n += 1                                      # nobody looks into it
        w.data -= box.n * x
        return w.sum()
    why, said, out = refused(counts, np.ones(3))
    assert "differently" in why and len(said) == 1 and [float(o.data) for o in out] == [0, -6, -15, -27]


@backends
def test_a_count_that_can_be_seen(backend):
    w, count = Tensor(np.ones(3), requires_grad=True), dict(n=0)

    def counts(x):
        count["n"] += 1
        w.data -= count["n"] * x
        return w.sum()
    fast = compiled(counts, backend)
    assert [float(fast(np.ones(3)).data) for _ in range(5)] == [0, -6, -15, -27, -42] and not fast.why and count["n"] == 5


def test_a_new_generator_each_time_is_noticed():
    w = Tensor(np.ones(3), requires_grad=True)
    why, _, _ = refused(lambda x: (w * np.random.default_rng().random(3) * x).sum(), np.ones(3))
    assert "another result" in why


@backends
def test_a_branch(backend):
    w = Tensor(np.ones(3), requires_grad=True)

    def step(x):
        if x.sum() > 0: return (w * x).sum()
        return (w * x * 100).sum()
    fast = compiled(step, backend)
    for s in (1, 1, 1, -1, 1, -1): assert float(fast(s * np.ones(3)).data) == (3 if s > 0 else -300)
    assert not fast.why


UNARY = ["exp", "tanh", "sigmoid", "relu", "square", "sin", "cos"]
steps = st.lists(st.tuples(st.sampled_from([*UNARY, "+", "-", "*", "/", "@", "T", "sum", "mean", "softmax", "log_softmax", "amax", "[]", "reshape", "where"]),
                           st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8)


def running(program, w, x):
    "A program of operators, on values (3, 3) or what becomes of them."
    found = [w, x, w * 0.5]
    for name, i, j in program:
        a, b = found[i % len(found)], found[j % len(found)]
        if name in UNARY: out = getattr(a * 0.5, name)()
        elif name == "+": out = a + b
        elif name == "-": out = a - b
        elif name == "*": out = a * b
        elif name == "/": out = a / (b * b + 1)
        elif name == "@": out = a @ b * 0.3
        elif name == "T": out = a.T
        elif name == "sum": out = a - a.sum(0, keepdim=True) * 0.1
        elif name == "mean": out = a + a.mean(1, keepdim=True)
        elif name == "softmax": out = a.softmax(1)
        elif name == "log_softmax": out = a.log_softmax(0)
        elif name == "amax": out = a - a.amax(1, keepdim=True)
        elif name == "[]": out = a[1:2] + b
        elif name == "reshape": out = a.reshape(9).reshape(3, 3)
        else: out = a.where(Tensor(np.eye(3) > 0), b)
        found.append(out)
    return found[-1]


@backends
@settings(max_examples=40, deadline=None)
@given(program=steps, seed=st.integers(0, 99))
def test_random_programs(backend, program, seed):
    def make():
        w = Tensor(np.random.default_rng(seed).normal(size=(3, 3)), requires_grad=True)

        def step(x):
            loss = running(program, w, x).square().mean()
            w.grad = None
            if loss.requires_grad:
                loss.backward()
                w.data -= 0.01 * w.grad
            return loss
        return step, w
    (plain, w), (step, v) = make(), make()
    fast, rng = compiled(step, backend), np.random.default_rng(seed)
    for _ in range(5):
        x = Tensor(rng.normal(size=(3, 3)))
        near(fast(x).data, plain(x).data, rtol=1e-9)
    near(v.data, w.data, rtol=1e-9)
    assert not fast.why, fast.why
