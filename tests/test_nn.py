"""nn beside PyTorch's: the same interface on shapes and trees of modules that Hypothesis makes up; and what it refuses."""
import pickle, re
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

import foundations.nn.functional as F
from foundations import autograd, nn
from foundations.autograd import Tensor
from foundations.check import gradcheck, tdist, test_near
from foundations.data import mnist
from foundations.nn import Dropout, Flatten, Linear, Module, ModuleList, MSELoss, Parameter, ReLU, Sequential

many = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@pytest.fixture
def rng(): return np.random.default_rng(0)


def raises(error, match):
    "An error with these words in its message."
    return pytest.raises(error, match=re.escape(match))


def bare(**attributes):
    "A module with these attributes."
    module = Module()
    for name, value in attributes.items(): setattr(module, name, value)
    return module


# ---- where things are ----

def test_functional_is_a_module_of_its_own():
    from foundations.nn import functional
    assert F is functional is nn.functional and nn.Linear.__module__ == "foundations.nn"
    for name in ("as_numpy", "state_arrays", "random_generator", "is_whole_number"): assert name in nn.__all__


def test_methods_have_docstrings():
    for cls in nn.Module.__mro__[:-1]:
        for name, f in vars(cls).items():
            if callable(f) and name[:2] != "__": assert f.__doc__, name
    for name in nn.__all__:
        if isinstance(getattr(nn, name), type): assert getattr(nn, name).__doc__, name


def test_the_steps_to_module_are_not_offered():
    "Of the classes that it stands on it alone: in the list of names, and so in the reference; the others begin with _."
    assert [c.__name__ for c in nn.Module.__mro__[:-1] if c.__name__ in nn.__all__ or c.__name__[0] != "_"] == ["Module"]


# ---- registering ----

def test_forgotten_super_is_said():
    class Forgotten(Module):
        def __init__(self): self.layer = Linear(2, 2)

    class Later(Module):
        def __init__(self): self.size = 2                   # that is allowed

    with raises(AttributeError, "Forgotten: its __init__ has to call super().__init__() first, before it sets layer"):
        Forgotten()
    with raises(AttributeError, "Later: its __init__ has to call super().__init__() first"): list(Later().parameters())


@pytest.mark.parametrize("name", ["a.b", "", "forward", "training", "_parameters", "_modules"])
@pytest.mark.parametrize("value", [Parameter([1.0]), Module()], ids=["parameter", "module"])
def test_names_that_no_path_can_contain(name, value):
    with raises(ValueError, f"Module: {name!r} cannot name a parameter or module"): setattr(Module(), name, value)


@pytest.mark.parametrize("value", [np.zeros((2, 2)), Tensor([1.0]), 1.0, "weight", Module()])
def test_nothing_else_comes_in_the_place_of_a_parameter(value):
    layer = Linear(2, 2)
    said = f"Linear: weight is a Parameter; expected a Parameter or None, got {type(value).__name__}"
    with raises(TypeError, said): layer.weight = value
    assert layer.weight.shape == (2, 2)


def test_nothing_else_comes_in_the_place_of_a_module():
    with raises(TypeError, "is a Module; expected a Module, a Parameter or None, got function"): bare(a=Module()).a = F.relu
    with raises(TypeError, "bias is a Parameter"): Linear(2, 2, bias=False).bias = Tensor([1.0, 1.0])


def test_a_name_has_one_place():
    module = bare(a=2)
    module.a = inner = Module()
    assert module._modules == {"a": inner} and "a" not in vars(module)
    module.a = p = Parameter([1.0])
    assert module._parameters == {"a": p} and not module._modules
    module.a = None
    assert module.a is None and module._parameters == {"a": None} and not list(module.parameters())


def test_none_keeps_the_place_and_del_gives_it_up():
    layer = Linear(2, 2)
    weight, layer.weight = layer.weight, None
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    layer.weight = weight
    assert list(layer.state_dict()) == ["weight", "bias"]
    del layer.bias
    assert list(layer.state_dict()) == ["weight"] and not hasattr(layer, "bias")
    with raises(AttributeError, "no attribute 'nothing'"): del layer.nothing
    layer.note = 1
    del layer.note
    assert not hasattr(layer, "note")


def test_attributes_that_are_missing_are_named():
    with raises(AttributeError, "'Linear' object has no attribute 'wieght'"): print(Linear(2, 2).wieght)


def test_dir_lists_identifiers():
    names = dir(Sequential(ReLU()))
    assert "0" not in names and {"append", "training", "parameters"} <= set(names)
    assert {"weight", "bias"} <= set(dir(Linear(2, 2)))


def test_only_parameters_are_registered():
    class Scaled(Module):
        def __init__(self):
            super().__init__()
            self.scale, self.shift = Tensor(np.ones(3), requires_grad=True), Parameter(np.zeros(3)) * 1
            self.layers = [Linear(2, 2)]

    assert not list(Scaled().parameters())


def test_a_module_without_forward():
    with raises(NotImplementedError, "Module: a module needs a method forward to be called"): Module()(1)


def test_properties_still_work():
    class Half(Module):
        @property
        def rate(self): return self.kept

        @rate.setter
        def rate(self, value): self.kept = value / 2

    half = Half()
    half.rate = 3
    assert half.rate == 1.5


# ---- Parameter ----

def test_parameters():
    p = Parameter([1.0, 2.0])
    assert p.requires_grad and not Parameter(np.array([1, 2]), requires_grad=False).requires_grad
    assert repr(p).startswith("Parameter containing:\n") and type(p * 2) is Tensor
    fixed = Parameter(np.broadcast_to(np.float64(0), (2, 2)))              # read-only memory
    fixed.data += 1
    assert (fixed.data == 1).all()


@pytest.mark.parametrize("again", [deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies(again):
    model = Sequential(Linear(2, 2), ReLU(), Linear(2, 2), Dropout())
    model[2].weight = model[0].weight
    model(np.ones((1, 2))).sum().backward()
    copy = again(model.eval())
    assert copy[0].weight is copy[2].weight is not model[0].weight and copy[0].weight.grad is None
    assert repr(copy) == repr(model) and not copy[3].training and type(copy[0].weight) is Parameter
    test_near(copy[0].weight.data, model[0].weight.data)
    drops = [again(Sequential(Dropout())) for _ in range(2)]
    assert not (drops[0](np.ones(100)).data == drops[1](np.ones(100)).data).all()         # other chances


# ---- names ----

def test_walks():
    outer = bare(inner=bare(), other=bare(weight=Parameter([1.0])))
    outer.inner.deep = outer.other
    outer.none = outer.gone = Module()
    outer.gone = None
    assert [n for n, _ in outer.named_modules()] == ["", "inner", "inner.deep", "none"]
    assert [n for n, _ in outer.named_modules(remove_duplicate=False)] == ["", "inner", "inner.deep", "other", "none"]
    assert [n for n, _ in outer.named_parameters("m")] == ["m.inner.deep.weight"]
    assert [n for n, _ in outer.named_parameters(remove_duplicate=False)] == ["inner.deep.weight", "other.weight"]
    assert not list(outer.parameters(recurse=False)) and len(list(outer.modules())) == 4
    assert [n for n, _ in outer.named_children()] == ["inner", "other", "none"] and len(list(outer.children())) == 3


def test_a_shared_parameter_is_listed_once_and_gets_both_gradients(rng):
    tied = Sequential(Linear(3, 3, generator=rng), ReLU(), Linear(3, 3, generator=rng))
    tied[2].weight = tied[0].weight
    assert len(list(tied.parameters())) == 3 and list(tied.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    x, alone = rng.standard_normal((4, 3)), deepcopy(tied)
    alone[2].weight = Parameter(tied[0].weight.data.copy())
    tied(x).sum().backward()
    alone(x).sum().backward()
    test_near(tied[0].weight.grad, alone[0].weight.grad + alone[2].weight.grad)


# ---- switches ----

def test_modes_reach_everything():
    model = Sequential(Linear(2, 2), Sequential(Dropout()))
    assert model.eval() is model and not any(m.training for m in model.modules())
    model[1].train()
    assert [m.training for m in model.modules()] == [False, False, True, True]
    for wrong in ("False", 1, None):
        with raises(ValueError, f"train: expected True or False, got {wrong!r}"): model.train(wrong)

    class StaysInUse(Dropout):
        def train(self, mode=True): return super().train(False)

    assert not Sequential(StaysInUse()).train()[0].training


def test_dtypes():
    model = Sequential(Linear(2, 2))
    model[0].place = Parameter(np.array([1, 2]), requires_grad=False)
    model(np.ones((1, 2))).sum().backward()
    assert model.double() is model and model[0].place.dtype == np.int64
    assert model[0].weight.dtype == model[0].weight.grad.dtype == np.float64
    assert model.float()[0].weight.dtype == np.float32 and model.to(np.float16)[0].bias.dtype == np.float16
    assert model.to("cpu") is model
    with raises(TypeError, "to: "): model.to(np.int64)


def test_apply_and_the_switches_of_parameters(rng):
    seen, model = [], Sequential(Linear(2, 3), Sequential(ReLU()))
    assert model.apply(seen.append) is model and seen == [model[0], model[1][0], model[1], model]

    def ones(module):
        if isinstance(module, Linear): module.weight.data = np.ones_like(module.weight.data)

    assert (model.apply(ones)[0].weight.data == 1).all()
    model(np.ones((1, 2))).sum().backward()
    model.zero_grad()
    assert model.requires_grad_(False) is model and not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_what_is_not_used_gets_no_gradient():
    model = bare(used=Linear(2, 2), unused=Linear(2, 2), frozen=Linear(2, 2).requires_grad_(False))
    model.frozen(model.used(np.ones((1, 2)))).sum().backward()
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None} == {"used"}


# ---- state ----

def test_state_is_refused_as_a_whole():
    model = bare(first=Linear(4, 3), second=Linear(3, 2))
    before = {n: x.copy() for n, x in model.state_dict().items()}
    state = {n: x + 1 for n, x in before.items()} | {"first.weight": np.zeros((3, 5)), "third.bias": np.zeros(2)}
    del state["second.bias"]
    with raises(ValueError, "Module.load_state_dict: missing second.bias; unexpected third.bias; "
                            "first.weight is (3, 5), expected (3, 4)"): model.load_state_dict(state)
    for n, x in model.state_dict().items(): np.testing.assert_array_equal(x, before[n])
    del state["first.weight"]
    answer = model.load_state_dict(state, strict=False)
    assert answer == (["first.weight", "second.bias"], ["third.bias"])
    np.testing.assert_array_equal(model.first.bias.data, before["first.bias"] + 1)


@pytest.mark.parametrize("state, error, said", [
    ([1], TypeError, "Linear.load_state_dict: expected a dictionary of arrays, such as state_dict(), got list"),
    ({"weight": "x", "bias": np.zeros(3)}, TypeError, "weight is str of dtype <U1; expected an array of real numbers"),
    ({"weight": np.ma.zeros((3, 2)), "bias": np.zeros(3)}, TypeError, "weight is MaskedArray"),
    ({"weight": [[1], [2, 3]], "bias": np.zeros(3)}, TypeError, "Linear.load_state_dict: weight: "),
    ({"weight": np.zeros((3, 2)), "bias": np.zeros(3), 0: 1.0}, ValueError, "unexpected 0"),
], ids=["list", "text", "mask", "ragged", "number"])
def test_states_that_are_none(state, error, said):
    with raises(error, said): Linear(2, 3).load_state_dict(state)


def test_one_parameter_two_values():
    model = bare(a=Linear(2, 2))
    model.b = model.a
    state = model.state_dict()
    state["a.weight"] = np.ones((2, 2), "f4")
    with raises(ValueError, "a.weight and b.weight are one parameter, and are given different values"):
        model.load_state_dict(state)
    state["b.weight"] = np.ones((2, 2))                     # equal, of another dtype
    model.load_state_dict(state)
    assert (model.b.weight.data == 1).all() and model.b.weight.dtype == np.float32
    model.load_state_dict({"b.weight": np.full((2, 2), np.nan), "a.weight": np.full((2, 2), np.nan)}, strict=False)
    model.load_state_dict({"b.weight": np.zeros((2, 2))}, strict=False)
    assert (model.a.weight.data == 0).all()


def test_loading_writes_into_the_memory_that_is_there():
    layer, other = Linear(2, 2), Linear(2, 2)
    kept = layer.state_dict()["weight"]
    layer.load_state_dict(other.state_dict())
    assert kept is layer.weight.data is not other.weight.data
    np.testing.assert_array_equal(kept, other.weight.data)
    layer.weight.data = layer.weight.data.copy()
    layer.weight.data.flags.writeable = False
    layer.load_state_dict({"weight": np.ones((2, 2)), "epoch": "x"}, strict=False)
    assert layer.weight.data.flags.writeable and (layer.weight.data == 1).all()


@pytest.mark.parametrize("change", [lambda m: m.load_state_dict(Linear(2, 2).state_dict()), lambda m: m.double()],
                         ids=["load_state_dict", "double"])
def test_the_engine_notices_changes(change):
    layer = Linear(2, 2)
    out = layer(Tensor(np.ones((1, 2)), requires_grad=True)).sum()
    change(layer)
    with raises(ValueError, "was changed after it was used"): out.backward()


# ---- layers ----

@pytest.mark.parametrize("sizes", [(-1, 3), (2.0, 3), (2, True), ("2", 3)])
def test_sizes_of_linear(sizes):
    with raises(ValueError, "Linear: in_features and out_features are"): Linear(*sizes)


def test_linear():
    layer = Linear(784, 50, generator=np.random.default_rng(0))
    for p in (layer.weight, layer.bias): assert p.dtype == np.float32 and 0.9 < abs(p.data).max() * 28 <= 1
    assert layer.weight.shape == (50, 784) and Linear(2, 3, bias=False).bias is None
    assert Linear(2, 3, dtype=np.float64).bias.dtype == np.float64 and Linear(np.int64(2), 0).weight.shape == (0, 2)
    with raises(TypeError, "Linear: expected a np.random.Generator, got int"): Linear(2, 3, generator=0)
    for x in (np.ones((2, 5)), np.ones((2, 3, 5)), np.ones(5), np.float64(1)):
        with raises(ValueError, f"x is {x.shape}, weight is (3, 4) and bias is (3,): expected (..., in_features)"):
            Linear(4, 3)(x)


@pytest.mark.parametrize("shape", [(2,), (4, 2), (3, 4, 2), (0, 2), (2, 0, 2)])
def test_linear_is_what_its_operators_say(shape, rng):
    x, weight, bias = (rng.standard_normal(s) for s in (shape, (3, 2), (3,)))
    gradcheck(F.linear_t, F.linear_t_grad, x, weight, bias)
    grads = []
    for f in (F.linear, lambda x, weight, bias: (x.reshape(-1, 1, 2) * weight).sum(2).reshape(*shape[:-1], 3) + bias):
        inputs = [Tensor(a, requires_grad=True) for a in (x, weight, bias)]
        if 0 in shape and f is not F.linear: continue
        (f(*inputs) ** 2).sum().backward()
        grads.append([t.grad for t in inputs])
    for one, other in zip(grads[0], grads[-1]): test_near(one, other)
    some = F.linear_t_grad(np.ones((*shape[:-1], 3)), x, weight, bias, needs_input_grad=(False, True, False))
    assert some[0] is some[2] is None and some[1].shape == (3, 2)


def test_gradients_of_gradients(rng):
    x, weight = (Tensor(rng.standard_normal(s), requires_grad=True) for s in ((4, 2), (3, 2)))
    y = rng.integers(0, 3, 4)
    for f in (lambda w: (F.linear(x, w) ** 3).sum(), lambda w: F.cross_entropy(F.linear(x, w), y, reduction="sum")):
        [g] = autograd.grad(f(weight), [weight], create_graph=True)
        [gg] = autograd.grad((g * g).sum(), [weight])

        def size(w):
            [g] = autograd.grad(f(t := Tensor(w, requires_grad=True)), [t])
            return float((np.asarray(g) ** 2).sum())

        step = 1e-5 * rng.standard_normal((3, 2))
        slope = (size(weight.data + step) - size(weight.data - step)) / 2
        test_near(float((np.asarray(gg) * step).sum()), slope, 1e-6)


def test_linear_formulas_on_tensors_of_torch(rng):
    torch = pytest.importorskip("torch")
    arrays = [rng.standard_normal(s) for s in ((5, 4, 3), (5, 4, 2), (3, 2), (3,))]
    for ours, theirs in zip(F.linear_t_grad(*arrays), F.linear_t_grad(*map(torch.from_numpy, arrays))): test_near(ours, theirs)


def test_activations_and_flatten():
    for cls in (ReLU, Dropout):
        with raises(ValueError, f"{cls.__name__}: inplace=True is not possible"): cls(inplace=True)
    assert Flatten()(np.ones((3, 4, 5))).shape == (3, 20) and Flatten(0)(np.ones((3, 4))).shape == (12,)
    with raises(ValueError, "Flatten: x is (3,): it has no axes 1 to -1"): Flatten()(np.ones(3))


def test_dropout():
    ones, drop = Tensor(np.ones(100_000), requires_grad=True), Dropout(0.3, generator=np.random.default_rng(0))
    out = drop(ones)
    assert abs((out.data == 0).mean() - 0.3) < 0.01 and abs(out.data.mean() - 1) < 0.01
    out.backward(np.ones(100_000))
    test_near(ones.grad, out.data)
    few = Tensor(np.ones(10, np.float32))
    assert (Dropout(1.0)(few).data == 0).all() and Dropout(0.0)(few) is few and Dropout().eval()(few) is few
    assert Dropout(0.5)(few).dtype == np.float32 and F.dropout(few, 0.5, training=False) is few
    test_near(Dropout(0.9)(Tensor(np.full(1000, 10))).data.max(), 100.0)
    same = [Dropout(0.5, generator=np.random.default_rng(3))(few).data for _ in range(2)]
    np.testing.assert_array_equal(*same)
    for wrong in (lambda: Dropout(1.5), lambda: F.dropout(few, 1.5)):
        with raises(ValueError, "dropout: p is 1.5; expected a probability, from 0 to 1"): wrong()
    with raises(TypeError, "Dropout: expected a np.random.Generator"): Dropout(generator=1)


# ---- containers ----

def test_containers():
    model = Sequential(Linear(4, 3), ReLU())
    assert model.append(Linear(3, 2)) is model and len(model) == 3 and model[-1] is model[2]
    assert model(np.ones((5, 4))).shape == (5, 2) and list(model) == [model[0], model[1], model[2]]
    assert type(model[:2]) is Sequential and [n for n, _ in model[1:].named_children()] == ["1", "2"]
    model[1] = nn.Tanh()
    assert repr(model[1]) == "Tanh()"
    named = Sequential({"first": Linear(2, 2), "last": ReLU()})
    assert named.first is named[0] and list(named.state_dict()) == ["first.weight", "first.bias"]
    assert repr(ModuleList([ReLU(), ReLU(), Linear(1, 1)])[1:]) == repr(ModuleList([ReLU(), Linear(1, 1)]))
    for wrong in (lambda: model[3], lambda: ModuleList()[0], lambda: model.__setitem__(5, ReLU())):
        with raises(IndexError, "modules, and none at"): wrong()


@pytest.mark.parametrize("make", [lambda x: Sequential(ReLU(), x), lambda x: ModuleList([x]), lambda x: ModuleList().append(x),
                                  lambda x: Sequential({"a": x}), lambda x: Sequential(ReLU()).__setitem__(0, x)])
@pytest.mark.parametrize("x", [F.relu, None, 1], ids=["function", "None", "number"])
def test_containers_take_modules(make, x):
    with raises(TypeError, f"expected modules, got a {type(x).__name__}; for relu(x) there is the module ReLU()"): make(x)


# ---- losses ----

def test_losses_refuse():
    with raises(ValueError, "mse_loss: pred is (3, 1) and target is (3,): expected the same shape"):
        MSELoss()(np.ones((3, 1)), np.ones(3))
    with raises(ValueError, "reduction is 'max'; expected 'mean', 'sum' or 'none'"): MSELoss(reduction="max")(np.ones(1), np.ones(1))
    for reduction in ("mean", "sum", "none"):
        loss = nn.CrossEntropyLoss(reduction=reduction)
        with raises(ValueError, "targ[1] is 3: expected a class from 0 to 2"): loss(np.ones((2, 3)), np.array([0, 3]))
        with raises(ValueError, "logits is (2, 3) and targ is (1,)"): loss(np.ones((2, 3)), np.array([0]))
        with raises(TypeError, "expected integers"): loss(np.ones((2, 3)), np.ones(2))


# ---- beside PyTorch ----

@pytest.fixture(scope="module")
def torch(): return pytest.importorskip("torch")


def agree(torch, f, *inputs, modules=()):
    "f(nn, *tensors): value and gradients are PyTorch's, also those of `modules`, (ours, theirs)."
    mine = [Tensor(x.copy(), x.dtype.kind == "f") for x in inputs]
    other = [torch.from_numpy(x.copy()).requires_grad_(x.dtype.kind == "f") for x in inputs]
    out, expected = f(nn, *mine), f(torch.nn, *other)
    test_near(out.data, expected.detach(), 1e-9, 1e-12)
    dout = np.asarray(np.random.default_rng(1).standard_normal(out.shape))
    out.backward(dout)
    expected.backward(torch.from_numpy(dout))
    pairs = list(zip(mine, other))
    if modules: pairs += zip(*(m.parameters() for m in modules), strict=True)
    for a, b in pairs:
        if b.requires_grad: test_near(a.grad, b.grad, 1e-9, 1e-12)


@many
@given(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_linear_beside_torch(torch, before, n_in, n_out, bias):
    x = np.random.default_rng(0).standard_normal((*before, n_in))
    ours, theirs = Linear(n_in, n_out, bias).double(), torch.nn.Linear(n_in, n_out, bias).double()
    ours.load_state_dict(theirs.state_dict())
    agree(torch, lambda lib, x: (ours if lib is nn else theirs)(x), x, modules=(ours, theirs))
    assert repr(ours) == repr(theirs)


def test_first_weights_beside_torch(torch):
    ours, theirs = (lib.Linear(784, 50) for lib in (nn, torch.nn))
    for a, b in zip(ours.parameters(), theirs.parameters()): assert a.shape == tuple(b.shape) and a.dtype == np.float32
    test_near(ours.weight.data.std(), theirs.weight.detach().numpy().std(), 0.03)


@many
@given(hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=3), st.data())
def test_flatten_beside_torch(torch, shape, data):
    start = data.draw(st.integers(0, len(shape) - 1))
    end = data.draw(st.integers(start, len(shape) - 1)) - data.draw(st.sampled_from([0, len(shape)]))
    agree(torch, lambda lib, x: lib.Flatten(start, end)(x), np.random.default_rng(0).standard_normal(shape))


@many
@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["mean", "sum", "none"]), st.integers(0, 99))
def test_losses_and_functions_beside_torch(torch, n, c, reduction, seed):
    rng = np.random.default_rng(seed)
    x, y, classes = rng.standard_normal((n, c)), rng.standard_normal((n, c)), rng.integers(0, c, n)
    agree(torch, lambda lib, x, y: lib.MSELoss(reduction=reduction)(x, y), x, y)
    agree(torch, lambda lib, x: lib.MSELoss(reduction=reduction)(x, x), x.ravel())
    wanted = Tensor(classes), torch.from_numpy(classes)
    agree(torch, lambda lib, x: lib.CrossEntropyLoss(reduction=reduction)(x, wanted[lib is torch.nn]), x)
    for name in ("relu", "tanh", "sigmoid"): agree(torch, lambda lib, x: getattr(lib.functional, name)(x), x)
    for name in ("softmax", "log_softmax"): agree(torch, lambda lib, x: getattr(lib.functional, name)(x, dim=1), x)


# trees of modules, up to four deep

leaf = st.sampled_from([("Linear", 4, 4), ("Linear", 4, 4, False), ("Linear", 4, 4), ("ReLU",), ("Tanh",),
                        ("Sigmoid",), ("Dropout", 0.3), ("Flatten",), ("Flatten", 0, -1)])
containers = st.sampled_from(["Sequential"] * 5 + ["ModuleList"])
within = lambda children: st.tuples(containers, st.lists(children, min_size=1, max_size=4))
planned = st.recursive(leaf, within, max_leaves=12).filter(lambda tree: tree[0] in ("Sequential", "ModuleList"))


def planted(lib, tree):
    "The module that a tree such as ('Sequential', [('ReLU',), ...]) describes."
    name, *options = tree
    if name not in ("Sequential", "ModuleList"): return getattr(lib, name)(*options)
    children = [planted(lib, child) for child in options[0]]
    return lib.Sequential(*children) if name == "Sequential" else lib.ModuleList(children)


def facts(module):
    "What can be compared as text and numbers."
    names = [name for name, _ in module.named_modules()], [name for name, _ in module.named_children()]
    names += ([name for name, _ in module.named_parameters(remove_duplicate=False)],)
    params = [(name, tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()]
    modes = [m.training for m in module.modules()]
    return repr(module), names, params, modes, [(k, tuple(v.shape)) for k, v in module.state_dict().items()]


@many
@given(planned, st.integers(0, 3), st.booleans())
def test_trees_beside_torch(torch, tree, place, frozen):
    ours, theirs = (planted(lib, tree) for lib in (nn, torch.nn))
    assert facts(ours) == facts(theirs) and len(ours) == len(theirs)
    for m in (ours, theirs):
        if place > 1 and tree[1][0][0] == "Linear": m[0].bias = None
        m.eval().double()
        if place < len(m): m[place].train().requires_grad_(not frozen)
        if place and len(m): m[-1] = m[0]                # the same module twice
    assert facts(ours) == facts(theirs) and facts(ours[:place]) == facts(theirs[:place])
    ours.load_state_dict(theirs.state_dict())
    copy = pickle.loads(pickle.dumps(deepcopy(ours)))
    assert facts(copy) == facts(ours) and not {*map(id, copy.parameters())} & {*map(id, ours.parameters())}
    if "ModuleList" in repr(ours) or "start_dim=0" in repr(ours): return         # no forward; no rows any more
    run = lambda lib, x: (ours.eval() if lib is nn else theirs.eval())(x * 1)
    agree(torch, run, np.random.default_rng(0).standard_normal((3, 4)))


def model_class(lib):
    "A network of every kind of layer, built on this nn."
    class Model(lib.Module):
        def __init__(self, n_hidden=50):
            super().__init__()
            self.flat = lib.Flatten()
            self.layers = lib.ModuleList([lib.Linear(784, n_hidden), lib.Linear(n_hidden, n_hidden)])
            self.acts = lib.ModuleList([lib.ReLU(), lib.Tanh()])
            self.head = lib.Sequential(lib.Linear(n_hidden, n_hidden, bias=False), lib.Sigmoid(),
                                       lib.Dropout(0.1), lib.Linear(n_hidden, 10))

        def forward(self, x):
            x = self.flat(x)
            for layer, act in zip(self.layers, self.acts): x = act(layer(x))
            return self.head(x)
    return Model


@pytest.mark.parametrize("dtype, limit", [(np.float32, 1e-5), (np.float64, 1e-10)], ids=["float32", "float64"])
def test_one_class_two_libraries(torch, dtype, limit):
    torch.manual_seed(0)
    ours, theirs = (model_class(lib)().eval() for lib in (nn, torch.nn))
    if dtype is np.float64: ours, theirs = ours.double(), theirs.double()
    ours.load_state_dict(theirs.state_dict())
    assert facts(ours) == facts(theirs)
    x_train, y_train, *_ = mnist()
    x, y = x_train[:64].reshape(-1, 28, 28).astype(dtype), y_train[:64]
    results = []
    for model, loss, tensor in ((ours, nn.CrossEntropyLoss(), Tensor), (theirs, torch.nn.CrossEntropyLoss(), torch.from_numpy)):
        out = model(tensor(x))
        loss = loss(out, tensor(y))
        loss.backward()
        results.append([out.detach().numpy(), loss.item(), *(p.grad for p in model.parameters())])
    assert len(results[0]) == 9
    for a, b in zip(*results): assert tdist(a, b) < limit * tdist(b, 0 * b)


def test_states_of_torch(torch):
    layer = Linear(2, 2)
    layer.load_state_dict({"weight": torch.ones(2, 2, dtype=torch.bfloat16), "bias": torch.zeros(2, requires_grad=True)})
    assert (layer.weight.data == 1).all() and layer.weight.dtype == np.float32
    theirs = torch.nn.Linear(2, 2)
    theirs.load_state_dict({n: torch.from_numpy(x) for n, x in layer.state_dict().items()})
    test_near(theirs.weight.detach(), layer.weight.data)


@pytest.mark.parametrize("lib", ["ours", "torch"])
def test_ten_steps_as_with_the_layers_of_chapter_5(lib, rng, request):
    from foundations.layers import Array, CrossEntropyLoss, Linear, Model, ReLU
    torch = request.getfixturevalue("torch") if lib == "torch" else None
    library, tensor = (torch.nn, torch.from_numpy) if torch else (nn, Tensor)
    arrays = [rng.standard_normal(s) / 10 for s in ((8, 20), (8,), (3, 8), (3,))]
    x, y = rng.standard_normal((16, 20)), rng.integers(0, 3, 16)

    w1, b1, w2, b2 = (Array(v.T.copy()) for v in arrays)
    model, by_layers = Model([Linear(w1, b1), ReLU(), Linear(w2, b2)], CrossEntropyLoss()), []
    for _ in range(10):
        by_layers.append(float(model(Array(x), y)))
        model.zero_grad()
        model.backward()
        for p in (w1, b1, w2, b2): p -= 0.1 * p.g

    model, losses = library.Sequential(library.Linear(20, 8), library.ReLU(), library.Linear(8, 3)).double(), []
    model.load_state_dict({n: v if lib == "ours" else tensor(v) for n, v in zip(model.state_dict(), arrays)})
    for _ in range(10):
        loss = library.CrossEntropyLoss()(model(tensor(x)), tensor(y))
        losses.append(loss.item())
        model.zero_grad()
        loss.backward()
        for p in model.parameters(): p.data -= 0.1 * p.grad
    test_near(np.array(losses), np.array(by_layers), 1e-10)
