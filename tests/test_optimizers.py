"""Adam, AdamW, learning rates that change, and clipping: beside PyTorch's, step for step; and what they refuse."""
import math, re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from foundations import nn
from foundations.check import test_near as assert_near
from foundations.lr_scheduler import CosineAnnealingLR, LambdaLR, warmup_cosine
from foundations.nn.utils import clip_grad_norm_
from foundations.training import SGD, Adam, AdamW

many = settings(max_examples=60, deadline=None, derandomize=True, database=None)
betas = st.sampled_from([0.0, 0.5, 0.9, 0.99])


@pytest.fixture
def torch(): return pytest.importorskip("torch")
def raises(error, match): return pytest.raises(error, match=re.escape(match))


def pairs(seed, dtype=np.float64):
    "The same three parameters, ours and PyTorch's."
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(seed)
    ours = [nn.Parameter(rng.standard_normal(s).astype(dtype)) for s in ((2, 3), (3,), (2,))]
    return ours, [torch.tensor(p.data.copy(), requires_grad=True) for p in ours]


def gradients(parameters, step):
    "One step's gradients; the last parameter is used in some steps only."
    w, b, unused = parameters
    loss = (w * w).sum() * (1.0 + step) + (w * b).mean() * 3.0
    if step % 3 == 1: loss = loss + (unused * unused).sum()
    loss.backward()


# ---- steps ----

@many
@given(st.sampled_from(["Adam", "AdamW"]), st.floats(0, 0.3), betas, betas, st.sampled_from([1e-8, 1e-3, 1.0]),
       st.sampled_from([0.0, 0.01, 0.5]), st.integers(0, 99))
def test_steps_are_those_of_torch(name, lr, b1, b2, eps, decay, seed):
    torch, (ours, theirs) = pytest.importorskip("torch"), pairs(seed)
    options = {"lr": lr, "betas": (b1, b2), "eps": eps, "weight_decay": decay}
    mine, other = {"Adam": Adam, "AdamW": AdamW}[name](ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(7):
        for optimizer, parameters in ((mine, ours), (other, theirs)):
            if step != 3: optimizer.zero_grad()          # once, let them add up
            gradients(parameters, step)
            optimizer.step()
    for p, t in zip(ours, theirs): assert_near(p.data, t.detach(), 1e-10, 1e-12)


@pytest.mark.parametrize("dtype, tol", [(np.float32, 1e-4), (np.float64, 1e-12)])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_defaults_and_two_hundred_steps_are_those_of_torch(name, dtype, tol, torch):
    ours, theirs = pairs(0, dtype)
    mine, other = {"Adam": Adam, "AdamW": AdamW}[name](ours), getattr(torch.optim, name)(theirs)
    schedules = LambdaLR(mine, warmup_cosine(200, 20)), torch.optim.lr_scheduler.LambdaLR(other, warmup_cosine(200, 20))
    for step in range(200):
        for optimizer, parameters, clip, schedule in ((mine, ours, clip_grad_norm_, schedules[0]),
                                                      (other, theirs, torch.nn.utils.clip_grad_norm_, schedules[1])):
            optimizer.zero_grad()
            gradients(parameters, step)
            clip(parameters, 1.0)
            optimizer.step()
            schedule.step()
    for p, t in zip(ours, theirs): assert_near(p.data, t.detach(), tol, tol)
    assert all(p.dtype == dtype for p in ours)


def test_a_parameter_without_a_gradient_rests():
    w, b = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = AdamW([w, b], lr=0.1, weight_decay=0.5)
    (w * 3).sum().backward()
    optimizer.step()
    assert b.data.tolist() == [1.0] and optimizer.steps == [1, 0]
    assert_near(w.data, np.array([1 - 0.05 - 0.1]), 1e-8)    # decay, and a first step of lr
    optimizer.zero_grad()
    assert w.grad is None


def test_the_array_and_the_gradient_stay_what_they_were():
    w = nn.Parameter(np.ones(2, np.float32))
    array, w.grad = w.data, np.array([1.0, 2.0])         # in float64
    for kind in (Adam, AdamW): kind([w], weight_decay=0.1).step()
    assert w.data is array and w.dtype == np.float32 and w.grad.tolist() == [1, 2]


REFUSED = {"the model": (lambda k, m: k(m), TypeError, "write model.parameters()"),
           "betas": (lambda k, m: k(m.parameters(), betas=(0.9, 1.0)), ValueError, "betas is (0.9, 1.0)"),
           "one beta": (lambda k, m: k(m.parameters(), betas=(0.9,)), ValueError, "betas is (0.9,)"),
           "rate": (lambda k, m: k(m.parameters(), lr=-1), ValueError, "lr is -1"),
           "eps": (lambda k, m: k(m.parameters(), eps="0"), TypeError, "eps is '0'"),
           "decay": (lambda k, m: k(m.parameters(), weight_decay=-1), ValueError, "weight_decay is -1")}

@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(kind, what):
    call, error, message = REFUSED[what]
    with raises(error, message) as caught: call(kind, nn.Linear(2, 2))
    assert str(caught.value).startswith(f"{kind.__name__}: ")


def test_a_gradient_of_another_shape_is_refused_before_anything_moves():
    w, b = nn.Parameter([1.0]), nn.Parameter([1.0, 2.0])
    w.grad, b.grad = np.ones(1), np.ones(3)
    with raises(ValueError, "AdamW.step: a parameter is (2,) and its gradient (3,)"): AdamW([w, b]).step()
    assert w.data.tolist() == [1.0]
    with pytest.raises(AttributeError): AdamW([w]).learning_rate = 1


# ---- rates ----

@pytest.mark.parametrize("T, least", [(10, 0.0), (7, 0.01)])
def test_the_cosine_is_that_of_torch(T, least, torch):
    ours, theirs = pairs(0)
    mine, other = SGD(ours, lr=0.3), torch.optim.SGD(theirs, lr=0.3)
    a, b = CosineAnnealingLR(mine, T, eta_min=least), torch.optim.lr_scheduler.CosineAnnealingLR(other, T, eta_min=least)
    for _ in range(3 * T):
        other.step()
        assert a.get_last_lr() == pytest.approx(b.get_last_lr(), abs=1e-12) and mine.lr == a.get_last_lr()[0]
        a.step()
        b.step()
    assert a.last_epoch == b.last_epoch


def test_warm_up_and_cosine():
    factor = warmup_cosine(100, 10, least=0.1)
    rates = [factor(t) for t in range(101)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == max(rates) == 1 and rates[100] == pytest.approx(0.1)
    assert factor(500) == pytest.approx(0.1) and all(a >= b for a, b in zip(rates[10:], rates[11:]))
    assert warmup_cosine(10, 0)(0) == 1
    with raises(ValueError, "warmup_cosine: 10 steps of 10 to warm up"): warmup_cosine(10, 10)
    with raises(TypeError, "LambdaLR: expected an optimiser of this library, got Linear"): LambdaLR(nn.Linear(2, 2), factor)


# ---- clipping ----

@many
@given(st.integers(0, 99), st.sampled_from([0.1, 1.0, 100.0]), st.sampled_from([1.0, 2.0, 3.0, math.inf]), st.sampled_from([np.float32, np.float64]))
def test_clipping_is_that_of_torch(seed, bound, kind, dtype):
    torch, (ours, theirs) = pytest.importorskip("torch"), pairs(seed, dtype)
    for parameters in (ours, theirs): gradients(parameters, 0)
    total = clip_grad_norm_(iter(ours), bound, kind), torch.nn.utils.clip_grad_norm_(theirs, bound, kind)
    tol = 1e-5 if dtype == np.float32 else 1e-10
    assert_near(total[0].data, total[1], tol)
    for p, t in zip(ours[:2], theirs): assert_near(p.grad, t.grad, tol, 1e-6 * tol)
    assert ours[2].grad is None


def test_clipping_nothing_one_tensor_and_nan():
    w = nn.Parameter([3.0, 4.0])
    assert clip_grad_norm_([w], 1.0).item() == 0
    w.grad = np.array([3.0, 4.0])
    assert clip_grad_norm_(w, 1.0).item() == 5
    assert_near(w.grad, np.array([0.6, 0.8]), rtol=1e-5)
    w.grad[0] = np.inf
    with raises(ValueError, "clip_grad_norm_: the gradients have norm inf"): clip_grad_norm_([w], 1.0, error_if_nonfinite=True)
