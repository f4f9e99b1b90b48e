"""Chapter 8 and what it stands on: optimiser, batches, measuring, `fit`, and a state in a file."""
import contextlib, io, math, os, signal, struct, subprocess, sys, threading, time, tracemalloc, zipfile, zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from foundations import nn
from foundations.autograd import Tensor
from foundations.check import test_near as assert_near
from foundations.data import mnist, normalize
from foundations.training import SGD, DataLoader, Dataset, History, accuracy, evaluate, fit, load, save

ROOT = Path(__file__).resolve().parent.parent
many = settings(max_examples=60, deadline=None, derandomize=True, database=None)
quiet = dict(show=False)


def network(seed=0, dtype=None):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Linear(4, 5, generator=rng, dtype=dtype), nn.ReLU(), nn.Linear(5, 3, generator=rng, dtype=dtype))


def rows(n=40, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)).astype(dtype), rng.integers(0, 3, n)


def loader(n=40, size=8, **options): return DataLoader(Dataset(*rows(n)), size, **options)
def sgd(model, lr=0.1, **options): return SGD(model.parameters(), lr, **options)
def equal(a, b): return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
def same(found, state): return list(found) == list(state) and all(equal(found[k], v) for k, v in state.items())
def state_of(model): return {name: x.copy() for name, x in model.state_dict().items()}


@pytest.fixture
def torch(): return pytest.importorskip("torch")


# ---- the optimiser ----

def test_two_steps_by_hand():
    w = nn.Parameter(np.array(1.0))
    optimizer, seen = SGD([w], lr=0.1, momentum=0.5), []
    for _ in range(2):
        optimizer.zero_grad()
        (3 * w).backward()
        optimizer.step()
        seen.append((float(optimizer.velocities[0]), w.item()))
    assert_near(np.array(seen), np.array([(3, 0.7), (4.5, 0.25)]))


@many
@given(st.floats(0, 0.1), st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([0.0, 0.01, 1.0]), st.integers(0, 99))
def test_steps_are_those_of_torch(lr, momentum, decay, seed):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(seed)
    ours = [nn.Parameter(rng.standard_normal(s)) for s in ((2, 3), (3,), (2,))]
    theirs = [torch.tensor(p.data, requires_grad=True) for p in ours]
    options = {"lr": lr, "momentum": momentum, "weight_decay": decay}
    mine, other = SGD(ours, **options), torch.optim.SGD(theirs, **options)
    for step in range(4):
        for optimizer, (w, b, unused) in ((mine, ours), (other, theirs)):
            if step != 2: optimizer.zero_grad()          # once, let them add up
            loss = (w * w).sum() + (w * b).mean() * 3.0
            if step == 1: loss = loss + (unused * unused).sum()
            loss.backward()
            optimizer.step()
    for p, t in zip(ours, theirs): assert_near(p.data, t.detach(), 1e-10, 1e-12)


def test_momentum_switched_on_later_as_in_torch(torch):
    ours, theirs = nn.Parameter(np.ones(3)), torch.ones(3, dtype=torch.float64, requires_grad=True)
    mine, other = SGD([ours], 0.1), torch.optim.SGD([theirs], 0.1)
    for momentum in (0.0, 0.9, 0.9):
        mine.momentum = other.param_groups[0]["momentum"] = momentum
        for optimizer, p in ((mine, ours), (other, theirs)):
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
    assert_near(ours.data, theirs.detach())


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}, {"momentum": 0.9, "weight_decay": 0.1}], ids=str)
def test_fifty_steps_of_a_network_as_torch(torch, options):
    (x, y), ours = rows(dtype=np.float64), network(dtype=np.float64)
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).double()
    theirs.load_state_dict({name: torch.tensor(v) for name, v in ours.state_dict().items()})
    for lib, kind, model, tensor in ((nn, SGD, ours, np.asarray), (torch.nn, torch.optim.SGD, theirs, torch.from_numpy)):
        optimizer = kind(model.parameters(), lr=0.05, **options)
        for _ in range(50):
            optimizer.zero_grad()
            lib.CrossEntropyLoss()(model(tensor(x)), tensor(y)).backward()
            optimizer.step()
    for p, t in zip(ours.parameters(), theirs.parameters()): assert_near(p.data, t.detach(), 1e-10)


def test_velocities_are_no_gradients():
    w = nn.Parameter(np.ones(2))
    optimizer = SGD([w], 0.1, 0.9)
    (w * w).sum().backward()
    optimizer.step()
    w.grad *= 0                                          # in place, as clipping does it
    assert_near(optimizer.velocities[0], np.array([2.0, 2.0]))


def test_a_parameter_keeps_its_array_and_dtype():
    w = nn.Parameter(np.ones(2, np.float32))
    array, w.grad = w.data, np.ones(2)                   # a gradient in float64
    SGD([w], 0.1).step()
    assert w.data is array and w.dtype == np.float32 and array[0] < 1


REFUSED = {
    "the model": (lambda m: SGD(m), TypeError, "write model.parameters()"),
    "a method": (lambda m: SGD(m.parameters), TypeError, "got a method"),
    "a parameter": (lambda m: SGD(m[0].weight), TypeError, "got a Parameter"),
    "nothing": (lambda m: SGD(nn.Module().parameters()), ValueError, "Are the layers in a plain list?"),
    "a result": (lambda m: SGD([Tensor([1.0], True) * 2]), ValueError, "is a result"),
    "an array": (lambda m: SGD([np.ones(2)]), TypeError, "got numpy.ndarray"),
    "one twice": (lambda m: SGD([*m.parameters(), *m.parameters()]), ValueError, "given twice"),
    "a rate in words": (lambda m: sgd(m, "0.1"), TypeError, "lr is '0.1'; expected a number"),
    "a rate below 0": (lambda m: sgd(m, -1), ValueError, "lr is -1"),
    "no rate": (lambda m: sgd(m, math.nan), ValueError, "lr is nan"),
    "momentum below 0": (lambda m: sgd(m, momentum=-1), ValueError, "momentum is -1"),
    "decay below 0": (lambda m: sgd(m, weight_decay=-1), ValueError, "weight_decay is -1"),
}

@pytest.mark.parametrize("what", REFUSED)
def test_sgd_refuses(what):
    call, error, message = REFUSED[what]
    with pytest.raises(error) as caught: call(network())
    assert str(caught.value).startswith("SGD: ") and message in str(caught.value)


def test_sgd_refuses_parameters_of_torch(torch):
    with pytest.raises(TypeError, match=r"got torch\.nn\.parameter\.Parameter"): SGD(torch.nn.Linear(2, 2).parameters())


def test_a_misspelt_rate_is_no_silent_attribute():
    with pytest.raises(AttributeError, match="learning_rate"): sgd(network()).learning_rate = 1
    with pytest.raises(TypeError, match="learning_rate"): SGD(network().parameters(), learning_rate=1)


def test_a_gradient_of_another_shape_is_refused_before_anything_moves():
    a, b = nn.Parameter(np.ones(2)), nn.Parameter(np.ones((3, 3)))
    a.grad, b.grad = np.ones(2), np.ones(3)
    with pytest.raises(ValueError, match=r"SGD\.step: a parameter is \(3, 3\) and its gradient \(3,\)"): SGD([a, b], 0.1).step()
    assert (a.data == 1).all() and (b.data == 1).all()


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=["plain", "momentum"])
def test_a_step_between_two_walks_is_noticed(options):
    "Else the second gradient would be of neither the old nor the new weights."
    (x, y), model = rows(), network()
    optimizer, loss = sgd(model, **options), nn.CrossEntropyLoss()
    first, second = loss(model(x), y), loss(model(x), y)
    first.backward()
    optimizer.step()
    with pytest.raises(ValueError, match="was changed after it was used"): second.backward()


# ---- batches ----

@many
@given(st.integers(0, 30), st.integers(1, 12), st.booleans(), st.integers(0, 99))
def test_batches_are_those_of_torch(n, size, drop_last, seed):
    torch = pytest.importorskip("torch")
    x = np.arange(n * 2.0).reshape(n, 2)
    plain = DataLoader(Dataset(x, np.arange(n)), size, drop_last=drop_last)
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.arange(n))
    theirs = torch.utils.data.DataLoader(pairs, size, drop_last=drop_last)
    assert len(plain) == len(theirs) == len(list(plain))
    for (a, b), (c, d) in zip(plain, theirs, strict=True): assert (a == c.numpy()).all() and (b == d.numpy()).all()


@many
@given(st.integers(0, 30), st.integers(1, 12), st.booleans(), st.integers(0, 99))
def test_shuffled_batches_have_each_row_once_and_can_be_repeated(n, size, drop_last, seed):
    data = Dataset(np.arange(n * 2.0).reshape(n, 2), np.arange(n))
    def epochs():
        batches = DataLoader(data, size, True, drop_last=drop_last, generator=np.random.default_rng(seed))
        orders = [np.concatenate([*(y for _, y in batches), np.zeros(0, int)]) for _ in range(2)]
        for x, y in batches: assert (x[:, 0] == 2 * y).all()
        return orders
    for order, again in zip(epochs(), epochs()):
        assert len(set(order)) == len(order) == (n - n % size if drop_last else n) and list(order) == list(again)


def test_epochs_differ():
    batches = loader(shuffle=True, generator=np.random.default_rng(0))
    one, two = ([y.tolist() for _, y in batches] for _ in range(2))
    assert one != two


def test_batches_are_copies():
    data = Dataset(*rows())
    for x, _ in DataLoader(data, 8): x[:] = 0
    assert data.x.any()


@pytest.mark.parametrize("call, error, message", [
    (lambda: Dataset(np.ones((10, 4)), np.ones(9)), ValueError, "x is (10, 4) and y is (9,)"),
    (lambda: Dataset(1.0, 2.0), ValueError, "x is () and y is ()"),
    (lambda: Dataset(np.ma.masked_array([1.0]), [1]), TypeError, "masked array"),
    (lambda: loader(size=0), ValueError, "expected a whole number"),
    (lambda: loader(size=1.5), ValueError, "expected a whole number"),
    (lambda: loader(shuffle=np.random.default_rng(0)), TypeError, "expected True or False"),
    (lambda: loader(shuffle=True, generator=3), TypeError, "np.random.Generator"),
])
def test_dataset_and_loader_refuse(call, error, message):
    with pytest.raises(error) as caught: call()
    assert message in str(caught.value)


# ---- measuring ----

def test_accuracy_counts_rows():
    assert accuracy(np.eye(3), np.array([0, 1, 1])) == 2 / 3
    assert accuracy(Tensor(np.eye(3), True), Tensor([0, 1, 2])) == 1
    assert accuracy(np.array([[1, np.nan], [1, 0]]), np.array([0, 0])) == 0.5
    assert math.isnan(accuracy(np.ones((0, 3)), np.ones(0, int)))


@pytest.mark.parametrize("logits, targ, error, message", [
    (np.ones((2, 3)), np.ones(2), TypeError, "expected classes, integers"),
    (np.ones(3), np.ones(3, int), ValueError, "expected (n, c) and (n,)"),
    (np.ones((3, 2)), np.ones(2, int), ValueError, "logits is (3, 2) and targ is (2,)"),
    (np.ones((3, 0)), np.ones(3, int), ValueError, "c above 0"),
], ids=str)
def test_accuracy_refuses(logits, targ, error, message):
    with pytest.raises(error) as caught: accuracy(logits, targ)
    assert message in str(caught.value)


@many
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_evaluate_is_the_mean_over_all_rows_whatever_the_batches(n, size, seed):
    rng = np.random.default_rng(seed)
    model, x, y = nn.Linear(3, 4, dtype=np.float64, generator=rng), rng.standard_normal((n, 3)), rng.integers(0, 4, n)
    loss, right = evaluate(model, DataLoader(Dataset(x, y), size))
    assert_near(loss, nn.CrossEntropyLoss()(model(x), y).item(), 1e-10)
    assert_near(right, np.mean([int(np.argmax(row)) == t for row, t in zip(model(x).data, y)]), 1e-12)


def test_evaluate_uses_the_model_and_gives_back_each_mode():
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 3))
    model[0].eval()
    assert evaluate(model, loader()) == evaluate(model, loader())
    assert [m.training for m in model.modules()] == [True, False, True, True]
    with pytest.raises(ValueError): evaluate(model, [(np.ones((2, 5), np.float32), np.ones(2, int))])
    assert model.training


def test_evaluate_without_rows_or_classes():
    assert all(map(math.isnan, evaluate(network(), [])))
    assert all(map(math.isnan, evaluate(network(), [rows(0)])))
    loss, right = evaluate(nn.Linear(2, 1), [(np.ones((3, 2)), np.ones((3, 1), int))], nn.MSELoss())
    assert math.isfinite(loss) and math.isnan(right)
    assert evaluate(network(), (batch for batch in loader())) == evaluate(network(), loader())


def test_evaluate_refuses_what_is_no_model():
    with pytest.raises(TypeError, match="expected a model, ours or PyTorch's, got function"): evaluate(network, loader())
    with pytest.raises(TypeError, match=r"evaluate: batches gives a ndarray; expected pairs"): evaluate(network(), rows())
    with pytest.raises(TypeError, match=r"evaluate: batches is a Dataset"): evaluate(network(), Dataset(*rows()))


def test_evaluate_takes_models_of_torch(torch):
    ours, theirs = nn.Linear(4, 3), torch.nn.Linear(4, 3)
    theirs.load_state_dict({name: torch.tensor(x) for name, x in ours.state_dict().items()})
    assert_near(np.array(evaluate(theirs, loader())), np.array(evaluate(ours, loader())), 1e-5)
    assert theirs.training and theirs.weight.grad is None


# ---- fit ----

def by_hand(model, optimizer, train, epochs):
    losses, loss_func = [], nn.CrossEntropyLoss()
    for _ in range(epochs):
        for x, y in train:
            loss = loss_func(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def test_fit_is_the_bare_loop():
    models = network(), network()
    losses = by_hand(models[0], sgd(models[0], momentum=0.9), loader(), 3)
    history = fit(models[1], sgd(models[1], momentum=0.9), loader(), loader(24), epochs=3, **quiet)
    assert history.losses == losses and same(models[1].state_dict(), state_of(models[0]))
    assert [step for step, _, _ in history.checks] == [5, 10, 15]
    assert history.checks[-1][1:] == evaluate(models[1], loader(24))


def test_fit_of_a_model_of_torch_makes_the_same_steps(torch):
    ours, theirs = network(), torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    theirs.load_state_dict({name: torch.tensor(x) for name, x in ours.state_dict().items()})
    options = dict(lr=0.05, momentum=0.9, weight_decay=1e-2)
    mine = fit(ours, SGD(ours.parameters(), **options), loader(), loader(24), epochs=3, **quiet)
    other = fit(theirs, torch.optim.SGD(theirs.parameters(), **options), loader(), loader(24), epochs=3, **quiet)
    assert_near(np.array(mine.losses), np.array(other.losses), 1e-4)
    assert_near(np.array(mine.checks), np.array(other.checks), 1e-4)


def test_fit_goes_on_with_a_history_and_takes_lists_and_other_losses():
    (x, _), model = rows(), nn.Linear(4, 1)
    history, batches = History(), [(x, x.sum(1, keepdims=True))]
    for _ in range(2): assert fit(model, sgd(model, 0.01), batches, batches, 5, nn.MSELoss(), history=history, **quiet) is history
    assert len(history.losses) == 10 and history.losses[-1] < history.losses[0]
    assert fit(model, sgd(model), batches, epochs=0, **quiet).losses == []


def test_fit_trains_a_model_that_was_left_in_use():
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).eval()
    fit(model, sgd(model), loader(), loader(), **quiet)
    assert model.training


def test_history_tells_numbers_without_an_accuracy():
    assert repr(History()) == "History: no steps"
    assert repr(History([2.0] * 19 + [1.0], [(20, 0.5, 0.9)])) == \
        "History: 20 steps, loss 2.000, in the end 1.000; validation: loss 0.500, accuracy 90.00%"
    (x, _), model = rows(), nn.Linear(4, 1)
    batches = [(x, x.sum(1, keepdims=True))]
    told = repr(fit(model, sgd(model, 0.01), batches, batches, loss_func=nn.MSELoss(), **quiet))
    assert "validation: loss" in told and "nan" not in told and "accuracy" not in told


class Once:
    "Batches with a length that can be gone through once."
    def __init__(self, batches): self.n, self.left = len(batches), iter(batches)
    def __len__(self): return self.n
    def __iter__(self): return self.left


def test_batches_that_end_early_are_noticed():
    model, once = network(), Once([*loader(size=10)])
    with pytest.raises(ValueError, match="fit: train has 4 batches and gave 0; can one go through it only once") as caught:
        fit(model, sgd(model), once, epochs=5, **quiet)
    assert len(caught.value.history.losses) == 4
    with pytest.raises(ValueError, match="batches has 4 batches and gave 0"):
        fit(model, sgd(model), loader(), Once([*loader(size=10)]), epochs=5, **quiet)


def test_the_optimiser_of_another_model_is_refused_before_it_begins():
    model, other = network(), network(1)
    before = state_of(model), state_of(other)
    with pytest.raises(ValueError, match=r"the optimiser has no parameter of this model.*made anew"):
        fit(model, sgd(other), loader(), **quiet)
    assert same(model.state_dict(), before[0]) and same(other.state_dict(), before[1])
    fit(model, SGD([*model[2].parameters(), *other.parameters()]), loader(), **quiet)      # a part of it is enough


def test_the_optimiser_of_another_model_of_torch_is_refused(torch):
    model, other = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    with pytest.raises(ValueError, match="no parameter of this model"):
        fit(model, torch.optim.SGD(other.parameters(), 0.1), loader(), **quiet)
    fit(model, torch.optim.SGD([{"params": other.parameters()}, {"params": model.parameters()}], 0.1), loader(), **quiet)


def test_an_optimiser_of_ones_own_need_not_say_what_it_has():
    class Descent:
        def __init__(self, model): self.params = model.parameters()          # a generator, not to be used up
        def zero_grad(self): self.done = False
        def step(self): self.done = bool(list(self.params))
    model = network()
    descent = Descent(model)
    fit(model, descent, [rows()], **quiet)
    assert descent.done


UNFIT = {
    "arrays": (dict(train=rows()), TypeError, "fit: train gives a ndarray; expected pairs (x, y)"),
    "arrays of two rows": (dict(train=(np.ones((2, 4)), np.ones((2, 4)))), TypeError, "fit: train gives a ndarray"),
    "a dataset": (dict(train=Dataset(*rows())), TypeError, "fit: train is a Dataset; expected batches"),
    "single rows": (dict(train=[(np.ones(4), 1)]), TypeError, "fit: train gives a tuple; expected pairs (x, y)"),
    "triples": (dict(train=[(1, 2, 3)]), TypeError, "fit: train gives a tuple"),
    "a generator": (dict(train=(batch for batch in [rows()])), TypeError, "fit: train is a generator"),
    "no batches": (dict(train=[]), ValueError, "fit: train has no batches"),
    "arrays to measure": (dict(valid=rows()), TypeError, "fit: valid gives a ndarray"),
    "a dataset to measure": (dict(valid=Dataset(*rows())), TypeError, "fit: valid is a Dataset"),
    "nothing to measure": (dict(valid=[]), ValueError, "fit: valid has no batches"),
    "epochs below 0": (dict(epochs=-1), ValueError, "epochs is -1"),
    "half an epoch": (dict(epochs=0.5), ValueError, "epochs is 0.5"),
    "no optimiser": (dict(optimizer=3), TypeError, "expected an optimiser"),
    "no model": (dict(model=network), TypeError, "expected a model, ours or PyTorch's, got function"),
    "no history": (dict(history=[]), TypeError, "expected a History"),
    "no folder": (dict(path="nowhere/here.npz"), FileNotFoundError, "fit: there is no folder"),
}

@pytest.mark.parametrize("what", UNFIT)
def test_fit_refuses_before_it_begins(what):
    change, error, message = UNFIT[what]
    model = network()
    before, given = state_of(model), dict(model=model, optimizer=sgd(model), train=loader()) | quiet | change
    with pytest.raises(error) as caught: fit(**given)
    assert message in str(caught.value) and same(model.state_dict(), before)


def test_fit_refuses_one_hot_targets_by_name():
    x, y = rows()
    with pytest.raises(TypeError, match=r"for one-hot rows use targ.argmax\(1\)"):
        model = network()
        fit(model, sgd(model), [(x, np.eye(3)[y])], **quiet)


def spoilt(at, what=np.nan):
    x, y = rows()
    x[at, 2] = what
    return DataLoader(Dataset(x, y), 8)


@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_a_number_that_is_none_is_found_in_the_data(what):
    model = network()
    with pytest.raises(FloatingPointError, match=r"at step 4 of epoch 1\. The x of batch 4 has NaN or infinite numbers") as caught:
        fit(model, sgd(model), spoilt(30, what), **quiet)
    assert len(caught.value.history.losses) == 3 and all(np.isfinite(p.data).all() for p in model.parameters())


def test_a_number_that_is_none_is_found_in_the_validation_data():
    model = network()
    with pytest.raises(FloatingPointError, match=r"is nan on valid, after epoch 1\. The x of batch 4 has NaN or infinite numbers"):
        fit(model, sgd(model), loader(), spoilt(30), epochs=3, **quiet)
    assert math.isnan(evaluate(model, spoilt(30))[0])


def test_a_target_that_is_no_number_is_found():
    model, (x, _) = nn.Linear(4, 1), rows()
    with pytest.raises(FloatingPointError, match="The y of batch 1 has NaN"):
        fit(model, sgd(model), [(x, np.full((40, 1), np.nan))], loss_func=nn.MSELoss(), **quiet)


def test_a_rate_that_is_too_large_is_named():
    model = network()
    with pytest.raises(FloatingPointError, match=r"Usually the learning rate is too large \(it is 1e\+30\)"):
        fit(model, sgd(model, 1e30), loader(), epochs=20, **quiet)
    with pytest.raises(FloatingPointError, match="the loss is inf"):
        model = network()
        fit(model, sgd(model), loader(), loss_func=lambda out, y: Tensor(np.inf, True), **quiet)


def test_a_rate_that_is_too_large_is_named_for_torch(torch):
    model = torch.nn.Linear(4, 3)
    with pytest.raises(FloatingPointError, match=r"it is 1e\+38"):
        fit(model, torch.optim.SGD(model.parameters(), 1e38), loader(), epochs=20, **quiet)


@pytest.mark.parametrize("n, message", [(4, "0.weight is not finite after epoch 1, and is not saved"), (0, "Batch 1 is empty")])
def test_a_state_that_is_not_finite_is_not_saved(n, message, tmp_path):
    (x, y), model = rows(n), network()
    with pytest.raises(FloatingPointError, match=message):
        fit(model, sgd(model, 1e308), [(x * 100, y)], path=tmp_path / "good.npz", **quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("run", [fit, evaluate])
def test_another_dtype_is_said_with_names_for_torch(torch, run):
    model, (x, y) = torch.nn.Linear(4, 3), rows(dtype=np.float64)
    batches = DataLoader(Dataset(x, y), 8)
    with pytest.raises(TypeError, match="x is float64, y is int64 and the model float32, and PyTorch does not mix them"):
        if run is fit: fit(model, torch.optim.SGD(model.parameters(), 0.1), batches, **quiet)
        else: evaluate(model, batches)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"): evaluate(model, [(x[:, :3].astype("f4"), y)])
    ours = nn.Linear(4, 3)
    fit(ours, sgd(ours), batches, **quiet)
    fit(model.double(), torch.optim.SGD(model.parameters(), 0.1), batches, **quiet)


class Impatient(DataLoader):
    "Somebody presses Ctrl-C in the second epoch."
    epoch = 0

    def __iter__(self):
        self.epoch += 1
        for i, batch in enumerate(super().__iter__()):
            if self.epoch == 2 and i == 3: raise KeyboardInterrupt
            yield batch


def test_ctrl_c_keeps_the_history_and_the_file_of_the_last_epoch(tmp_path):
    model, one, path = network(), network(), tmp_path / "state.npz"
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(model, sgd(model), Impatient(Dataset(*rows()), 8), loader(24), epochs=5, path=path, **quiet)
    assert len(caught.value.history.losses) == 8 and len(caught.value.history.checks) == 1
    assert "sys.last_value.history" in caught.value.__notes__[0]
    fit(one, sgd(one), loader(), **quiet)
    assert same(load(path), state_of(one)) and list(tmp_path.iterdir()) == [path]
    given = History()
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(model, sgd(model), Impatient(Dataset(*rows()), 8), epochs=5, history=given, **quiet)
    assert caught.value.history is given and len(given.losses) == 8


def test_ctrl_c_at_any_time_leaves_whole_steps_or_raises():
    "Interrupts of another thread: the losses that are noted are those of a run without them."
    model = network()
    whole = fit(model, sgd(model, 0.01), loader(400), epochs=30, **quiet).losses
    for i in range(12):
        model = network()
        timer = threading.Timer(0.002 * (i + 1), signal.raise_signal, [signal.SIGINT])
        timer.start()
        try: losses = fit(model, sgd(model, 0.01), loader(400), epochs=30, **quiet).losses
        except KeyboardInterrupt as error: losses = getattr(error, "history", History()).losses
        finally:
            try: timer.join()
            except KeyboardInterrupt: timer.join()
        assert losses == whole[:len(losses)]


def test_the_bar_counts_steps(capsys):
    model = network()
    fit(model, sgd(model), loader(), epochs=2)
    assert "/10" in capsys.readouterr().err


def test_no_stderr_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    model = network()
    assert len(fit(model, sgd(model), loader()).losses) == 5


# ---- a state in a file ----

ARRAYS = hnp.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.bool_, np.uint8, np.dtype(">f4")]),
                    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
STATE = {"0.weight": np.ones((1, 2)), "0.bias": np.ones(1), "2.weight": np.zeros((1, 1)), "é": np.arange(3)}


@pytest.fixture
def path(tmp_path): return tmp_path / "state.npz"


@pytest.fixture
def good(path):
    save(STATE, path)
    return path.read_bytes()


@many
@given(st.dictionaries(NAMES, ARRAYS, max_size=3))
def test_what_is_saved_is_loaded(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("states") / "state"
    save(state, path)
    assert same(load(path), state)


def test_arrays_by_columns_and_of_npz_files(path):
    state = {"a": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "b": np.arange(24).reshape(2, 3, 4)[:, ::2]}
    save(state, path)
    assert same(load(path), state)
    np.savez(path, **state)
    assert same(load(path), state)
    with np.load(path) as z: assert same(dict(z), state)
    load(path)["a"][:] = 0                                # a copy, to be written on


def test_states_of_torch(path, torch):
    theirs, ours = torch.nn.Linear(4, 3), nn.Linear(4, 3)
    save(theirs.state_dict(), path)
    ours.load_state_dict(load(path))
    assert_near(ours.weight.data, theirs.weight.detach())
    theirs.load_state_dict({name: torch.from_numpy(x) for name, x in load(path).items()})


def test_a_changed_byte_is_refused_or_makes_no_difference(path, good):
    refused = 0
    for i in range(len(good)):
        for value in {good[i] ^ 1 << i % 8, 0, 255} - {good[i]}:
            path.write_bytes(good[:i] + bytes([value]) + good[i + 1:])
            try: assert same(load(path), STATE), (i, value)
            except ValueError as error: refused += str(error).startswith(f"load: {path} is damaged")
    assert refused > 2 * len(good)


def test_zeros_anywhere_are_refused_or_make_no_difference(path, good):
    "Four at once: at 12 before the end, the number of entries and the size of their list, it used to read as empty."
    for i in range(len(good) - 3):
        path.write_bytes(good[:i] + bytes(4) + good[i + 4:])
        with contextlib.suppress(ValueError): assert same(load(path), STATE), i
    path.write_bytes(good[:-12] + bytes(4) + good[-8:])
    with pytest.raises(ValueError, match="list of contents is damaged"): load(path)


def test_bytes_cut_off_or_put_in_are_refused(path, good):
    for data in [*(good[:i] for i in range(len(good))), good + b"x", b"x" + good, good[:50] + b"x" + good[50:], b"Dear model, ..."]:
        path.write_bytes(data)
        with pytest.raises(ValueError, match="is damaged, or no file that save wrote"): load(path)


def crafted(head, numbers=b"", **how):
    "A zip file with one array of this head, its checksum right."
    file, head = io.BytesIO(), head.encode().ljust(117) + b"\n"
    with zipfile.ZipFile(file, "w", **how) as z: z.writestr("x.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + numbers)
    return file.getvalue()


def head(descr="<f4", shape="(2,)"): return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"


LIES = {
    "more than there is": (head(shape="(1000000000000,)"), b""), "much more": (head(shape="(1000000, 1000000, 1000000)"), bytes(8)),
    "below 0": (head(shape="(-1,)"), bytes(8)), "twice below 0": (head(shape="(-2, -1)"), bytes(8)), "nothing, and much": (head(shape=f"(0, {10**30})"), b""),
    "a byte too few": (head(), bytes(7)), "a byte too many": (head(), bytes(9)), "objects": (head("|O"), bytes(16)), "letters": (head("<U1"), bytes(8)),
    "complex": (head("<c8"), bytes(16)), "a deep sum": ("-" * 9000 + "1", b""), "a torn head": ("[" * 100, b""),
}

@pytest.mark.parametrize("what", LIES)
def test_heads_that_lie_are_refused_before_memory_is_taken(path, what):
    path.write_bytes(crafted(*LIES[what]))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is damaged, or no file that save wrote"): load(path)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally: tracemalloc.stop()


def test_the_crafted_file_of_these_tests_would_be_read(path):
    path.write_bytes(crafted(head(), struct.pack("<2f", 1, 2)))
    assert load(path)["x"].tolist() == [1, 2]


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_compressed_is_refused_before_memory_is_taken(path, compression):
    path.write_bytes(crafted(head(shape="(25000000,)"), bytes(100_000_000), compression=compression))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="compressed, and save does not compress"): load(path)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally: tracemalloc.stop()


def test_other_contents_are_refused(path):
    for names in (["x"], ["x.npy", "x.npy"]):
        with zipfile.ZipFile(path, "w") as z, np.errstate(all="ignore"):
            for name in names:
                file = io.BytesIO()
                np.save(file, np.ones(2))
                with pytest.warns(UserWarning) if name in z.namelist() else np.errstate(): z.writestr(name, file.getvalue())
        with pytest.raises(ValueError, match="is damaged"): load(path)


@pytest.mark.parametrize("state, message", [
    ([1], "expected a dictionary"), ({1: np.ones(2)}, "1 cannot name an array"), ({"a\0": np.ones(2)}, "cannot name an array"),
    ({"weight": "x"}, "weight is str"), ({"weight": np.ones(2, complex)}, "weight is ndarray of dtype complex128"),
    ({"weight": np.ma.masked_array([1.0])}, "weight is MaskedArray"), ({"weight": [None]}, "weight is list of dtype object")], ids=str)
def test_save_refuses_and_writes_nothing(path, state, message):
    with pytest.raises(TypeError, match=message): save(state, path)
    assert not list(path.parent.iterdir())


def test_places_that_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match="save: there is no folder"): save(STATE, tmp_path / "no" / "file")
    with pytest.raises(OSError, match="is no ordinary file"): save(STATE, tmp_path)
    with pytest.raises(FileNotFoundError): load(tmp_path / "no")


def test_links_are_followed_and_modes_kept(tmp_path, path, good):
    link = tmp_path / "link"
    link.symlink_to(path)
    path.chmod(0o640)
    save({"a": np.ones(1)}, link)
    assert link.is_symlink() and list(load(path)) == ["a"] and path.stat().st_mode & 0o777 == 0o640


def test_ctrl_c_while_saving_leaves_the_old_file_and_nothing_else(path, good, monkeypatch):
    def interrupted(*args): raise KeyboardInterrupt
    for name in ("fsync", "replace"):
        with monkeypatch.context() as m:
            m.setattr(os, name, interrupted)
            with pytest.raises(KeyboardInterrupt): save({"a": np.ones(1)}, path)
        assert list(path.parent.iterdir()) == [path] and path.read_bytes() == good


@pytest.mark.skipif(sys.platform == "win32", reason="it has no SIGKILL")
def test_parts_of_killed_programs_are_cleaned_up(path, good):
    code = f"""
import os, signal
import numpy as np
from foundations.training import save
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
save({{"a": np.ones(1)}}, {str(path)!r})"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL and path.read_bytes() == good
    [part] = set(path.parent.iterdir()) - {path}
    assert part.name[0] == "." and part.suffix == ".part"
    other = path.with_name("another.npz")
    save(STATE, path)
    assert part.exists()                                  # somebody may be writing it
    os.utime(part, (time.time() - 100,) * 2)
    save(STATE, other)
    assert part.exists()                                  # it is no part of this file
    save(STATE, path)
    assert set(path.parent.iterdir()) == {path, other}


def test_a_long_name_leaves_room_for_its_part(tmp_path):
    path = tmp_path / ("n" * 250)
    save(STATE, path)
    assert same(load(path), STATE)


def test_two_save_at_once(path):
    def run(value):
        for _ in range(40): save({"a": np.full(1000, value)}, path)
    threads = [threading.Thread(target=run, args=(v,)) for v in (1, 2)]
    save({"a": np.full(1000, 1)}, path)
    for t in threads: t.start()
    while any(t.is_alive() for t in threads): assert len(set(load(path)["a"])) == 1
    assert list(path.parent.iterdir()) == [path]


def test_checksums_of_numbers_are_compared(path, good):
    "Two bytes that cancel in a sum, not in a checksum."
    i = good.index(np.ones(1).tobytes())
    changed = good[:i] + struct.pack("<d", 2.0) + good[i + 8:]
    assert zlib.crc32(changed) != zlib.crc32(good)
    path.write_bytes(changed)
    with pytest.raises(ValueError, match="is damaged"): load(path)


# ---- the digits ----

def test_fifteen_epochs_read_the_digits():
    x, y, more, answers = mnist()
    mean, std, rng = x.mean(), x.std(), np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(784, 50, generator=rng), nn.ReLU(), nn.Linear(50, 10, generator=rng))
    train = DataLoader(Dataset(normalize(x, mean, std), y), 64, shuffle=True, generator=rng)
    valid = DataLoader(Dataset(normalize(more, mean, std), answers), 500)
    history = fit(model, SGD(model.parameters(), 0.02, 0.8, weight_decay=1e-3), train, valid, epochs=15, **quiet)
    assert len(history.losses) == 15 * 157 and history.checks[-1][2] >= 0.94


@pytest.mark.parametrize("given", [[(np.ones(2), 0)], (np.ones((3, 2)), np.zeros(3, int))], ids=["pairs", "tuple"])
def test_a_loader_of_what_gives_no_rows_says_so(given):
    with pytest.raises(TypeError, match=rf"DataLoader: dataset is a {type(given).__name__}; expected a Dataset\(x, y\)"): DataLoader(given, 2)
