"The world of a step may change between steps: a compiled step sees it, or refuses by name."
import copy, dataclasses, enum, gc, json, math, os, subprocess, sys, warnings
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from steps import backends, needs, refused      # noqa: F401

from foundations import nn
from foundations.autograd import Tensor, no_grad
from foundations.check import test_near as near
from foundations.compiling import compiled
from foundations.compiling.traces import Node
from foundations.training import SGD, AdamW


class Box:
    rate = 0.5

    def __init__(self, **given): vars(self).update(given)
    def of_lr(self, x): return self.lr * x


def scale(x): return 0.1 * x


READS = [                                                # what a step does with a number
    lambda box, x: box.lr * x, lambda box, x: np.float64(2) * box.lr * x, lambda box, x: box.lr * np.float64(2) * x,
    lambda box, x: np.array([1, 2, 3.0]) * box.lr, lambda box, x: np.sqrt(box.lr) * x, lambda box, x: math.sqrt(box.lr) * x,
    lambda box, x: float(box.lr) * x, lambda box, x: (box.t // 2) * x, lambda box, x: (box.t % 2) * x, lambda box, x: (7 % box.t) * x,
    lambda box, x: divmod(7, box.t)[1] * x, lambda box, x: abs(-box.lr) * x, lambda box, x: max(box.lr, 0.3) * x, lambda box, x: np.full(3, box.lr),
    lambda box, x: np.array([box.lr, 1, 2]), lambda box, x: np.float32(box.lr) * x, lambda box, x: np.where(x > 0.15, box.lr, 0.0),
    lambda box, x: x * len(range(box.t)), lambda box, x: x * float(f"{box.lr:.2f}"), lambda box, x: x * {0.5: 1.0, 0.25: 2.0, 1: 3.0}[box.lr],
    lambda box, x: x * np.clip(box.lr, 0, 0.3), lambda box, x: x * (+box.lr).real, lambda box, x: x**box.t, lambda box, x: 0.5**box.t * x,
    lambda box, x: x * 0.1 if box.lr == 0.5 else x * 0.2, lambda box, x: x * 0.1 if box.on else x * 0.2, lambda box, x: x * len(box.name),
    lambda box, x: x * box.inner.lr, lambda box, x: x * box.many[1], lambda box, x: x * box.named["a"], lambda box, x: box.array * x, lambda box, x: box.of_lr(x),
    lambda box, x: x * sum([v * box.lr for v in box.many]), lambda box, x: np.ones(box.t)[:3].sum() * x, lambda box, x: scale(x),
    lambda box, x: (Tensor(x) * box.lr).data, lambda box, x: (box.t - Tensor(x.astype("f4"))).data, lambda box, x: (Tensor(x) ** Tensor(box.t)).data,
    lambda box, x: x * (0.1 if isinstance(box.lr, float) else 0.2), lambda box, x: x * box.single, lambda box, x: x * box.pair[0], lambda box, x: box.f(x),
    lambda box, x: x * len(box.names[0]), lambda box, x: x if box.extra else 2 * x, lambda box, x: x * box.rate, lambda box, x: x * Box.rate,
    lambda box, x: x * 0.1 if np.allclose(box.lr * x, 0.5 * x) else x * 0.2, lambda box, x: np.split(box.lr * x, 3)[0] * x,
]


@backends
@pytest.mark.parametrize("read", READS)
def test_what_changes_between_steps_is_seen(backend, read, monkeypatch):
    boxes = [Box(lr=0.5, t=3, on=True, name="a", inner=Box(lr=0.5), many=[0.1, 0.5], named=dict(a=0.5), array=np.ones(3),
                 single=np.float32(0.5), pair=(0.5, 1), f=np.sqrt, names=["a"], extra=[]) for _ in range(2)]

    def make(box):
        w = Tensor(np.ones(3))

        def step(x):
            w.data -= read(box, x)
            return w.sum()
        return w, step
    changes = [lambda box: setattr(box, "lr", 0.25), lambda box: setattr(box, "t", 7), lambda box: setattr(box, "on", False),
               lambda box: setattr(box, "name", "abc"), lambda box: setattr(box, "inner", Box(lr=2.0)), lambda box: setattr(box.inner, "lr", 0.125),
               lambda box: box.many.append(0.25), lambda box: box.many.__setitem__(1, 2.0), lambda box: box.named.update(a=0.25),
               lambda box: setattr(box, "array", np.arange(3.0)), lambda box: box.array.__setitem__(0, 5),
               lambda box: vars(box).update(lr=1, single=np.float32(2), pair=(2.0, 1), f=np.exp), lambda box: box.names.__setitem__(0, "abc"),
               lambda box: (box.extra.append(1), setattr(box, "rate", 2.0)), lambda box: setattr(box, "lr", 0.5)]
    (v, plain), (w, step), x = make(boxes[0]), make(boxes[1]), np.array([0.1, 0.2, 0.3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fast = compiled(step, backend)
        for change in [lambda box: None] * 4 + changes:
            for box in boxes: change(box)
            for _ in range(2): near(fast(x).data, plain(x).data)
        monkeypatch.setitem(globals(), "scale", lambda x: 0.2 * x)
        monkeypatch.setattr(Box, "rate", 0.25)
        for _ in range(2): near(fast(x).data, plain(x).data)
    near(w.data, v.data)
    assert not fast.why or "gives a" in fast.why                 # allclose, split: as they are


class Layer(nn.Module):
    "A layer with all that people keep in one."
    def __init__(self):
        super().__init__()
        self.w, self.scales, self.table, self.mask, self.box, self.n, self.on = nn.Parameter(np.ones(3)), [0.5, 1], dict(a=0.5), np.ones(3), Box(lr=0.5), 3, True
        self.inner, self.seen = nn.Sequential(nn.ReLU()), np.zeros(3)

    def forward(self, x):
        self.seen += x
        return (self.inner(self.w * x) * self.scales[0] * self.table["a"] * self.mask * self.box.lr * self.n * (1 if self.on else 2)).sum()


def called(x, scale=[0.5]):                                      # noqa: B006
    return (x * scale[0] * called.more).sum()


@backends
def test_what_changes_in_a_layer_is_seen(backend):
    changes = [lambda m: None, lambda m: m.scales.__setitem__(0, 2.0), lambda m: m.table.update(a=2.0), lambda m: m.mask.__setitem__(0, 5), lambda m: setattr(m.box, "lr", 7.0),
               lambda m: setattr(m, "n", 4), lambda m: setattr(m, "on", False), lambda m: setattr(m, "mask", np.arange(3.0)), lambda m: setattr(m, "scales", [3.0, 1]),
               lambda m: setattr(m.inner, "1", nn.Sigmoid())]
    ours, plain, x = Layer(), Layer(), np.array([1.0, 2, 3])
    fast = compiled(lambda x: ours(x), backend)
    for change in changes:
        for m in (ours, plain): change(m)
        for _ in range(3): near(fast(x).data, plain(x).data)
        near(ours.seen, plain.seen)
    assert not fast.why


@backends
def test_a_weight_that_is_frozen(backend):
    "And one that is thawed; an argument, too, may ask for a gradient."
    def make():
        a, b = (Tensor(np.ones(3), requires_grad=True) for _ in range(2))
        optimizer = SGD([a, b], lr=0.1)

        def step(x):
            loss = (a * x * b).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss
        return step, a, b
    (plain, *theirs), (step, *ours) = make(), make()
    fast, x = compiled(step, backend), np.array([0.1, 0.2, 0.3])
    for needed in (True, True, True, False, False, True, True):
        theirs[0].requires_grad = ours[0].requires_grad = needed
        for _ in range(2): near(fast(x).data, plain(x).data)
        for p, q in zip(ours, theirs): near(p.data, q.data)
    assert not fast.why and len(fast.plans) == 2
    fast, x = compiled(lambda x: (x * 2).sum().backward(), backend), Tensor(x, requires_grad=True)
    with pytest.warns(UserWarning, match="argument 0 gets a gradient"):
        for _ in range(3): fast(x)
    near(x.grad, [6, 6, 6])


def test_arguments_are_told_apart_by_type_and_value():
    def step(x, k): return x.sum() * (2 if isinstance(k, bool) else 3 if isinstance(k, int) else 5 if isinstance(k, np.generic) else 7 if isinstance(k[1], bool) else 11)
    fast, x = compiled(step), np.arange(3.0)
    for k in (1, True, np.float32(1), (1, 2), (1, True), (1, 1), 1, True, (1, True)):
        for _ in range(3): near(fast(x, k), step(x, k))
    assert not fast.why and len(fast.plans) == 6


@pytest.mark.parametrize("k", [[np.ones(2), np.ones(2)], [1, 2], dict(a=1), {1}, nn.Linear(1, 1), (1, [2])])
def test_an_argument_that_nobody_looks_into_is_refused_by_name(k):
    why, said, out = refused(lambda x, k: x.sum(), np.arange(3.0), k)
    assert f"argument 1 is a {type(k).__name__}" in why and len(said) == 1 and out == [3.0] * 4


CHANGES = {"box.on": lambda box, x: setattr(box, "on", not box.on), "box.name": lambda box, x: setattr(box, "name", box.name + "b"),
           "box.last": lambda box, x: setattr(box, "last", Tensor(x).sum()), "box.many.": lambda box, x: box.many.append(x.sum()),
           "box.named.": lambda box, x: box.named.update({len(box.named): x}), "box.layer.count": lambda box, x: setattr(box.layer, "count", box.layer.count + 1)}


@pytest.mark.parametrize("place", CHANGES)
def test_what_a_step_binds_anew_is_refused_by_name_and_put_back(place):
    def make():
        box, change = Box(on=True, name="a", last=None, many=[], named={}, layer=nn.ReLU()), CHANGES[place]
        box.layer.count = 0

        def step(x):
            change(box, x)
            return x.sum() + len(box.name) + len(box.many) + len(box.named) + box.on + box.layer.count
        return box, step
    (box, step), (other, plain), x = make(), make(), np.arange(3.0)
    why, said, out = refused(step, x)
    near(out, [plain(x) for _ in range(4)])
    assert f"{place}" in why and "becomes another object" in why and len(said) == 1
    assert repr(vars(box)) == repr(vars(other))


def test_a_function_that_is_filled_in_and_an_object_that_is_called():
    from functools import partial
    box, x = Box(lr=0.5), np.arange(3.0)
    first, second, third = partial(lambda box, x: x.sum() * box.lr, box), partial(lambda x, lr: x.sum() * lr, lr=0.5), Called()
    steps = [first, second, third, called]
    called.more = 0.5
    fast = [compiled(step) for step in steps]
    for lr in (0.5, 0.5, 0.5, 2.0, 4.0):
        box.lr = second.keywords["lr"] = third.lr = called.more = called.__defaults__[0][0] = lr
        for f, step in zip(fast, steps): near(f(x), step(x))
    assert not any(f.why for f in fast)


class Called:
    lr = 0.5
    def __call__(self, x): return x.sum() * self.lr


rate = 0.5


@backends
def test_names_of_the_program_and_of_a_closure(backend):
    near_rate, w, model = 0.5, Tensor(np.ones(3)), nn.Linear(3, 1)

    def step(x):
        w.data -= rate * near_rate * x
        return w.sum() + model(x).sum()

    def change(what):
        nonlocal near_rate, model
        global rate
        if what == "rate": rate = 0.25
        if what == "near": near_rate = 2.0
        if what == "model": model = nn.Linear(3, 2)
        if what == "weight": model.weight = nn.Parameter(np.ones((2, 3), "f4"))
        if what == "tensor": w.data = np.zeros(3)
    fast, x = compiled(step, backend), np.arange(3.0)
    for what in ("", "", "", "rate", "near", "model", "weight", "tensor"):
        change(what)
        for _ in range(3):
            before = w.data.copy()
            out = fast(x)
            near(w.data, before - rate * near_rate * x)
            near(out.data, w.data.sum() + model(x).data.sum(), rtol=1e-5)
    assert not fast.why
    change("")


class Trainer:
    def __init__(self):
        self.model = nn.Sequential(nn.Linear(3, 4, generator=np.random.default_rng(0)), nn.Dropout(0.5, generator=np.random.default_rng(1)))
        self.optimizer, self.lr, self.seen = SGD(self.model.parameters(), 0.1), 0.1, 0

    def step(self, x):
        loss = (self.model(x) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        for p in self.model.parameters(): p.data -= self.lr * p.grad
        self.seen += len(x)
        return loss


@backends
def test_a_method_and_its_object(backend):
    ours, plain = Trainer(), Trainer()
    fast, x = compiled(ours.step, backend), np.ones((2, 3), np.float32)
    changes = [lambda t: None] * 3 + [lambda t: setattr(t, "lr", 0.01), lambda t: t.model.eval(), lambda t: t.model.train(),
                                      lambda t: setattr(t.model[1], "p", 0.25), lambda t: setattr(t, "seen", 0)]
    for change in changes:
        for t in (ours, plain): change(t)
        for _ in range(3): near(fast(x).data, plain.step(x).data, rtol=1e-5)
        assert ours.seen == plain.seen
    assert not fast.why


# ---- programs as people write them ----

BATCHES = [np.linspace(0, 1, 6, dtype="f4").reshape(2, 3) + 0.1 * i for i in range(40)]


class Mode(enum.Enum): TRAIN, TEST = 1, 2


@dataclasses.dataclass
class Config:
    lr: float = 0.1
    mode: Mode = Mode.TRAIN
    dims: tuple = (1, 2)
    names: list = dataclasses.field(default_factory=lambda: ["a"])


Pair = namedtuple("Pair", "lr k")


class Rule:
    "An optimiser of one's own."
    def __init__(self, params, lr): self.params, self.lr, self.t, self.m = params, lr, 0, [np.zeros_like(p.data) for p in params]

    def step(self):
        self.t += 1
        for i, p in enumerate(self.params):
            self.m[i] = 0.9 * self.m[i] + p.grad
            p.data = p.data - self.lr * self.m[i] / (1 - 0.9**self.t)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls, self.layers, self.key = np.zeros((), int), [nn.Linear(3, 3, generator=np.random.default_rng(0))], "a"
        self.forms = dict(a=lambda x: x * 2, b=np.tanh)

    def forward(self, x):
        self.calls += 1
        out = self.layers[0](x) if self.training else x
        return (self.forms[self.key](out.data) if self.key == "b" else self.forms[self.key](out)).sum()


def small():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(3, 4, generator=rng), nn.Tanh(), nn.Linear(4, 1, generator=rng))


def averages_of_weights():
    model, box = small(), Box(n=0, decay=0.9)
    box.model, box.optimizer, box.kept = model, SGD(model.parameters(), 0.1), [p.data.copy() for p in model.parameters()]

    def step(x):
        loss = (model(x) ** 2).mean()
        box.optimizer.zero_grad()
        loss.backward()
        norm = np.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
        for p in model.parameters(): p.grad *= np.minimum(1, 0.01 / (norm + 1e-6))
        box.optimizer.step()
        box.n += 1
        decay = min(box.decay, (1 + box.n) / (10 + box.n))
        for i, p in enumerate(model.parameters()): box.kept[i] = decay * box.kept[i] + (1 - decay) * p.data
        return loss
    return step, box, [lambda box: setattr(box.optimizer, "lr", 0.01), lambda box: setattr(box, "decay", 0.5)]


def gradients_that_add_up(every=3, at_end=True):
    model, box = small(), Box(n=0)
    box.model, box.optimizer = model, SGD(model.parameters(), 0.1)

    def step(x):
        if not at_end and box.n % every == 0: box.optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        box.n += 1
        if box.n % every == 0:
            box.optimizer.step()
            if at_end: box.optimizer.zero_grad()
        return loss
    return step, box, [lambda box: setattr(box.optimizer, "lr", 0.01)] + [lambda box: None] * 4


def settings_of_several_kinds():
    config = Config()
    def step(x): return x.sum() * (config.lr if config.mode is Mode.TRAIN else 2 * config.lr) * config.dims[0] * len(config.names)
    return step, config, [lambda c: setattr(c, "mode", Mode.TEST), lambda c: setattr(c, "dims", (5, 2)), lambda c: c.names.append("b"), lambda c: setattr(c, "lr", 0.3)]


def a_named_tuple():
    box = Box(pair=Pair(0.1, 2))
    return lambda x: x.sum() * box.pair.lr * box.pair.k, box, [lambda box: setattr(box, "pair", Pair(0.5, 3))]


def a_compiled_step_in_another():
    model, box = small(), Box(k=2.0)
    inner = compiled(lambda x: (model(x) ** 2).mean() * box.k)
    return lambda x: inner(x) * box.k, box, [lambda box: setattr(box, "k", 3.0)]


def by_hand_without_a_graph():
    model, box = small(), Box(lr=0.1)
    box.model = model

    def step(x):
        loss = (model(x) ** 2).mean()
        loss.backward()
        with no_grad():
            for p in model.parameters():
                p.data -= box.lr * p.grad
                p.grad = None
        return loss
    return step, box, [lambda box: setattr(box, "lr", 0.5)]


def a_rule_of_ones_own():
    model, box = small(), Box()
    box.model, box.rule = model, Rule([*model.parameters()], 0.1)

    def step(x):
        loss = (model(x) ** 2).mean()
        model.zero_grad()
        loss.backward()
        box.rule.step()
        return loss
    return step, box, [lambda box: setattr(box.rule, "lr", 0.01)]


def a_layer_with_lists_and_functions():
    model = Counting()
    changes = [lambda box: setattr(box.model.layers[0].weight, "data", np.eye(3, dtype="f4")), lambda box: box.model.forms.update(a=lambda x: x * 5),
               lambda box: box.model.layers.__setitem__(0, nn.Linear(3, 3, generator=np.random.default_rng(5))), lambda box: setattr(box.model, "key", "b"),
               lambda box: box.model.eval()]
    return lambda x: model(x), Box(model=model), changes


def what_is_kept_for_later():
    box = Box(n=0, kept={}, speed=np.zeros(3))

    def step(x):
        box.n += 1
        box.kept["last"] = x * 2
        box.speed = 0.9 * box.speed + x.sum(0)
        return box.speed.sum()
    return step, box, [lambda box: setattr(box, "speed", np.ones(3))]


def numbers_beside_tensors():
    box = Box(w=Tensor(np.ones(3, "f4"), requires_grad=True), k=np.float64(2), n=3)

    def step(x):
        h = (box.w * box.k + box.n) / box.k - box.n * 1.5
        loss = (h * x).sum() / len(x) ** box.n
        loss.backward()
        box.w.data -= 0.1 * box.w.grad
        box.w.grad = None
        return loss
    return step, box, [lambda box: setattr(box, "k", np.float64(3)), lambda box: setattr(box, "n", 2), lambda box: setattr(box, "n", 2.5)]


def whole_numbers():
    box = Box(k=2)
    return lambda x: np.arange(3) * box.k + np.arange(3) // box.k + x, box, [lambda box: setattr(box, "k", 2.5), lambda box: setattr(box, "k", 3)]


Out = namedtuple("Out", "loss lr")


class Slots:
    __slots__ = ("__lr", "w")                                                            # the first is _Slots__lr
    def __init__(self): self.__lr, self.w = 0.5, np.ones(3)
    def rate(self): return self.__lr
    def half(self): self.__lr *= 0.5


class OneSlot:
    __slots__ = "lr"
    def __init__(self): self.lr = 0.5


class Items(list):
    k = 2.0


class Names(dict):
    "Found as attributes, too."
    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__


def slots_by_hidden_names():
    box = Box(one=OneSlot(), two=Slots())
    return lambda x: x * box.one.lr * box.two.rate(), box, [lambda box: setattr(box.one, "lr", 2.0), lambda box: box.two.half()]


def attributes_of_a_list_and_keys():
    box = Box(many=Items([1.0]), names=Names(a=0.5, b=2.0))
    box.many.k = 3.0
    def step(x): return x * box.many.k * sum(v * len(k) for k, v in box.names.items()) * box.names.a
    changes = [lambda box: setattr(box.many, "k", 5.0), lambda box: box.names.update(a=box.names.pop("a")), lambda box: box.names.update(abc=box.names.pop("b"))]
    return step, box, changes


def an_array_that_is_handed_on():
    box = Box(w=np.arange(3.0), last=np.zeros(3), a=np.ones(3), b=np.zeros(3))

    def step(x):
        box.last = box.w
        box.w = box.w - 0.1 * x.sum(0)
        box.a, box.b = box.b, box.a
        box.a += x.sum(0)
        return (box.w - box.last).sum() + box.last.sum() + box.a.sum()
    return step, box, [lambda box: setattr(box, "w", np.ones(3))]


def a_count_that_begins_anew():
    box = Box(total=0, n=0)

    def step(x):
        box.total += 0.5
        box.n += 1
        return x.sum() * box.total / box.n
    return step, box, [lambda box: vars(box).update(total=0, n=0)] * 2


def not_yet_a_number():
    box = Box(layer=nn.ReLU(), single=np.float32("nan"))
    box.layer.t = float("nan")
    def step(x): return x * (1 if box.layer.t != box.layer.t else box.layer.t) * (1 if box.single != box.single else box.single)
    return step, box, [lambda box: setattr(box.layer, "t", 0.5), lambda box: setattr(box, "single", np.float32(2))]


def arrays_that_are_only_read():
    box = Box(mask=np.broadcast_to(np.array([1.0, 2, 3]), (2, 3)), w=np.ones(3))

    def step(x):
        box.w -= 0.1 * (x * box.mask).sum(0)
        return box.w.sum()
    return step, box, []


def an_array_that_is_taken_away():
    box = Box(h=np.zeros(3, "f4"), n=0)

    def step(x):
        out = x.sum() + (0 if box.h is None else box.h.sum())
        box.n += 1
        box.h = None if box.n % 4 == 0 else x.sum(0)
        return out
    return step, box, [lambda box: setattr(box, "h", np.ones(3, "f4"))]


MORE = [slots_by_hidden_names, attributes_of_a_list_and_keys, an_array_that_is_handed_on, a_count_that_begins_anew, not_yet_a_number, arrays_that_are_only_read,
        an_array_that_is_taken_away]                                                     # nothing that loops do otherwise
PROGRAMS = [averages_of_weights, gradients_that_add_up, partial(gradients_that_add_up, at_end=False), partial(gradients_that_add_up, 1, False), settings_of_several_kinds,
            a_named_tuple, a_compiled_step_in_another, by_hand_without_a_graph, a_rule_of_ones_own, a_layer_with_lists_and_functions, what_is_kept_for_later,
            numbers_beside_tensors, whole_numbers]
ADDING = PROGRAMS[1:3]                       # a gradient of what moves, and is made anew each time, is not kept


def seen(x):
    "What can be seen of a state, as lists."
    if isinstance(x, Tensor): return x.data.tolist()
    if isinstance(x, nn.Module): return [seen(p) for p in x.parameters()]
    if isinstance(x, np.ndarray): return x.tolist()
    if isinstance(x, dict): return {k: seen(v) for k, v in x.items()}
    if isinstance(x, list | tuple): return [seen(v) for v in x]
    return {k: seen(v) for k, v in vars(x).items()} if hasattr(x, "__dict__") and not callable(x) and not isinstance(x, Mode) else x


@pytest.mark.parametrize("make, backend", [*[(make, b) for make in PROGRAMS for b in ("numpy", "numba")], *[(make, "numpy") for make in MORE]],
                         ids=lambda x: getattr(x, "__name__", x if isinstance(x, str) else "other"))
def test_a_program_as_people_write_it(make, backend):
    (plain, theirs, changes), (step, ours, _) = make(), make()
    fast, batches = compiled(step, backend), iter(BATCHES)
    for change in [lambda box: None] * 3 + changes:
        for box in (theirs, ours): change(box)
        for _ in range(3):
            x = next(batches)
            out, expected = fast(x), plain(x)
            near(np.asarray(getattr(out, "data", out)), np.asarray(getattr(expected, "data", expected)), rtol=1e-4)
        agree(seen(ours), seen(theirs))
        if make in ADDING: agree(*[[seen(p.grad) for p in box.model.parameters()] for box in (ours, theirs)])
    assert not fast.why, fast.why


def agree(a, b):
    "The same shape of lists, and the same numbers."
    if isinstance(b, dict): agree([*a.items()], [*b.items()])
    elif isinstance(b, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b): agree(x, y)
    elif isinstance(b, float): assert a == pytest.approx(b, rel=1e-4, abs=1e-6)
    elif isinstance(b, int | str | None): assert a == b


def test_a_gradient_that_was_not_kept_and_is_read_is_said():
    model, box = small(), Box(clear=True)
    optimizer = SGD(model.parameters(), 0.1)

    def step(x):
        if box.clear: optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss
    fast = compiled(step)
    for x in BATCHES[:4]: fast(x)
    assert not fast.why
    box.clear = False
    with pytest.warns(UserWarning, match="grad is read, and has not been kept"): fast(BATCHES[4])


def test_a_named_tuple_and_a_number_are_given_back():
    box, x = Box(lr=0.5), np.arange(3.0)
    fast = compiled(lambda x: Out(x.sum(), box.lr))
    for lr in (0.5, 0.5, 0.5, 0.25):
        box.lr = lr
        assert fast(x) == Out(3.0, lr) and type(fast(x)) is Out
    assert not fast.why


@pytest.mark.parametrize("at", [1, 2, 3, 6])
def test_a_step_that_fails_half_way_leaves_what_it_would_leave(at):
    def make():
        box = Box(n=0, w=np.zeros(3), v=np.zeros(3))

        def step(x):
            box.n += 1
            box.w += x
            box.v = box.v + x
            if box.n == at: raise ValueError("at last")
            box.n += 1
            return box.w.sum()
        return step, box
    (step, box), (plain, other), x = make(), make(), np.ones(3)
    fast = compiled(step)
    for _ in range(8):
        said = []
        for f in (fast, plain):
            try: f(x)
            except ValueError as error: said.append(str(error))
        assert said in ([], ["at last"] * 2)
        agree(seen(box), seen(other))
    assert not fast.why


def test_what_a_step_loses_or_catches_is_refused_by_name():
    box = Box(many=[1.0] * 9, n=0, kept=set())

    def catches(x):
        try: return float(x.sum())
        except Exception: box.n += 1
    why, said, out = refused(catches, np.arange(3.0))
    assert "taken out" in why and out == [3.0] * 4 and box.n == 0
    why, said, out = refused(lambda x: x * box.many.pop(0), np.ones(1))
    assert "box.many.7 becomes another object" in why and len(said) == 1 and len(box.many) == 5
    why, said, out = refused(lambda x: (box.kept.clear(), box.kept.add(Tensor(x)), x)[2], np.ones(1))
    assert "box.kept" in why and len(said) == 1 and type(box.kept.pop().data) is np.ndarray
    box.m = np.ma.masked_array([1.0, 2], [True, False])
    why, said, out = refused(lambda x: (x * box.m).sum(), np.ones(2))
    assert "box_m is a MaskedArray" in why and len(said) == 1


def test_a_copy_trains_its_own_model():
    class Owner(Trainer):
        def __init__(self):
            super().__init__()
            self.fast = compiled(self.step)
    ours, x = Owner(), np.ones((2, 3), np.float32)
    for _ in range(4): ours.fast(x)
    before, other = seen(ours.model), copy.deepcopy(ours)
    for _ in range(4): other.fast(x)
    agree(seen(ours.model), before)
    assert ours.seen == 8 and other.seen == 16


@pytest.mark.parametrize("first", ["apart", "shared"])
def test_an_argument_that_is_another_one_too(first):
    def step(x, y):
        before = y.sum()
        x += 1
        return before * 10 + y.sum()
    fast = compiled(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shared in [first == "shared"] * 4 + [False, True, False, True]:
            (a, b), (c, d) = [(np.ones(3), np.ones(3)) for _ in range(2)]
            near(fast(a, a if shared else b), step(c, c if shared else d))
            near(a, c)
    assert bool(fast.why) == (first == "shared")


# ---- what the outside keeps, shares, or asks ----

@backends
def test_what_a_caller_keeps_stays_as_it_was(backend):
    def make():
        box, w = Box(speed=np.zeros(3), old=None), Tensor(np.ones(3), requires_grad=True)

        def step(x):
            before = box.speed
            w.grad = None
            (w * x).sum().backward()
            box.speed = 0.9 * box.speed + w.grad
            return before
        return step, box, w
    logs = []
    for run in (lambda step: compiled(step, backend), lambda step: step):
        (step, box, w), log = make(), []
        fast = run(step)
        for x in BATCHES[:8]: log += [fast(x[0].astype(float)), box.speed, w.grad]
        logs.append([x.tolist() for x in log])
    agree(*logs)
    assert len({str(x) for x in logs[0]}) == 16                                # 8 speeds, 7 of them given back, too, and 8 gradients


@backends
@pytest.mark.parametrize("view", [lambda box: box.w, lambda box: box.w[:1], lambda box: box.w.T, lambda box: box.v[:1]])
@pytest.mark.parametrize("early", [True, False])
def test_an_argument_that_is_a_view_of_what_the_step_changes(backend, view, early):
    def make():
        box = Box(w=np.ones((2, 2)), v=np.ones((2, 2)))

        def step(x):
            before = x.sum()
            box.w *= 2
            box.v = box.v * 3
            return before * 100 + x.sum() + box.w.sum() + box.v.sum()
        return box, step
    (ours, step), (theirs, plain) = make(), make()
    fast = compiled(step, backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(9):
            given = [view(box) if early or k > 4 else np.ones(view(box).shape) for box in (ours, theirs)]
            near(fast(given[0]), plain(given[1]))
        agree(seen(ours), seen(theirs))
    assert not fast.why or "box.w is changed, and argument 0 shares its memory" in fast.why


def test_places_that_share_their_memory_are_refused_by_name():
    box = Box(w=np.zeros((2, 3)))
    box.row = box.w[0]

    def step(x):
        before = box.row.sum()
        box.w += x
        return before * 100 + box.row.sum()
    why, said, out = refused(step, np.ones(3))
    assert "box.w is changed, and box.row shares its memory" in why and len(said) == 1 and out == [3, 306, 609, 912]


@pytest.mark.parametrize("asks", [lambda box: type(box.lr) is float, lambda box: type(box.w) is np.ndarray])
def test_a_type_that_is_asked_for_is_refused_by_name_before_it_is_wrong(asks):
    class Named(Box):
        def __repr__(self): return type(self).__name__
    box = Named(lr=0.5, w=np.ones(3))
    why, said, out = refused(lambda x: x.sum() * (1 if asks(box) else 2) * box.lr, np.ones(2))
    assert out == [1.0] * 4 and "type(...)" in why and len(said) == 1
    fast = compiled(lambda x: x.sum() * box.lr)                # a __repr__ may ask
    assert [fast(np.ones(2)) for _ in range(4)] == [1.0] * 4 and not fast.why


def test_arguments_by_name_are_refused_by_name():
    def forward(x, scale=1): return x * scale
    for call in (compiled(forward), compiled(nn.ReLU())):
        with pytest.raises(TypeError, match=r"by position.* scale="): call(np.ones(3), scale=2)


@backends
def test_a_program_that_fails_says_what_it_leaves(backend):
    box = Box(n=0, w=np.zeros(3), seen=np.zeros(3))

    def step(x, key):
        box.n += 1
        box.w += x
        box.seen = box.seen + x[key]
        return box.w.sum()
    fast, x = compiled(step, backend), np.ones(3)
    for _ in range(5): fast(x, np.array([0]))
    with pytest.raises(IndexError) as failed: fast(x, np.array([7]))
    assert "half way" in failed.value.__notes__[0] and box.n == 5
    fast(x, np.array([0]))
    assert box.n == 6 and not fast.why


def test_a_mistake_of_the_step_is_said_once():
    def step(x):
        if x.sum() > 2: raise ValueError("mine")
        return x.sum()
    fast = compiled(step)
    fast(np.ones(2))
    with pytest.raises(ValueError, match="mine") as failed: fast(np.ones(3))
    assert failed.value.__context__ is None and "traced_run" not in [entry.name for entry in failed.traceback]
    assert [float(fast(np.ones(2))) for _ in range(3)] == [2.0] * 3


def test_a_gradient_that_is_there_from_outside_is_added_to():
    def make():
        w = Tensor(np.ones(3), requires_grad=True)

        def step(x):
            (w * x).sum().backward()
            w.data -= 0.1 * w.grad
            w.grad = None
            return w.sum()
        return w, step
    (w, step), (v, plain), x = make(), make(), np.ones(3)
    fast = compiled(step)
    for k in range(9):
        if k == 6: w.grad, v.grad = np.ones(3), np.ones(3)
        near(fast(x).data, plain(x).data)
    near(w.data, v.data)
    assert not fast.why


def test_a_program_keeps_no_array_of_the_run_it_comes_from():
    def nodes():
        gc.collect()
        return sum(type(n) is Node for n in gc.get_objects())
    box, before = Box(v=np.zeros(3), n=0), nodes()

    def step(x):
        box.v, box.n = 0.9 * box.v + x, box.n + 1
        return box.v.sum(), [box.v * 2]
    fast = compiled(step)
    for _ in range(4): fast(np.ones(3))
    assert fast.plans[0].proven and nodes() == before


@backends
def test_a_number_of_numpys_is_not_changed_in_place(backend):
    "As NumPy has it: a sum is no array. What is given back, and kept, is of the kind that the step itself gives."
    def make():
        box = Box(mean=0.5, last=np.float64(1))

        def step(x, y):
            total = x.sum()
            before = total
            total /= 2
            box.last = 0.9 * box.last + 0.1 * total
            return before, (x.argmax(1) == y).mean(), box.last
        return box, step
    (ours, step), (theirs, plain), rng = make(), make(), np.random.default_rng(0)
    fast = compiled(step, backend)
    for _ in range(6):
        x, y = rng.normal(size=(4, 3)), rng.integers(0, 3, 4)
        out, expected = fast(x, y), plain(x, y)
        near(np.array(out), np.array(expected))
        assert [type(v) for v in (*out, ours.last)] == [type(v) for v in (*expected, theirs.last)] == [np.float64] * 4
    assert not fast.why


@backends
def test_settings_of_an_optimiser(backend):
    def make():
        model = small().to(np.float64)
        optimizer = AdamW(model.parameters(), 0.1)

        def step(x):
            loss = (model(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss
        return optimizer, step
    (ours, step), (theirs, plain) = make(), make()
    fast = compiled(step, backend)
    for change in (dict(), dict(betas=(0.5, 0.9)), dict(eps=0.1), dict(weight_decay=0.5)):
        for optimizer in (ours, theirs):
            for name, value in change.items(): setattr(optimizer, name, value)
        for x in BATCHES[:4]: near(fast(x.astype(float)).data, plain(x.astype(float)).data, rtol=1e-9)
    assert not fast.why


@backends
def test_lines_that_say_the_same_of_an_array_that_is_changed(backend):
    "What has been changed in place is no longer what its line says; and two arrays that are kept are two."
    box = Box(a=np.ones(3), b=np.ones(3))

    def step(x):
        a = x + 1
        a += 1
        b = x + 1
        box.a, box.b = x * 2, x * 2
        return a.sum() * 10 + b.sum()
    fast = compiled(step, backend)
    for _ in range(5):
        assert fast(np.ones(3)) == 96
        box.a += 1
        assert box.a.tolist() == [3] * 3 and box.b.tolist() == [2] * 3
    assert not fast.why


@backends
def test_an_array_that_is_handed_on_is_the_same_array(backend):
    box = Box(a=np.ones(3), b=np.ones(3), c=np.ones(3), d=np.ones(3), m=np.ones((2, 3)))

    def step(x):
        box.a, box.b = box.b, x
        box.c = box.d = x * 2
        return box.m[0]
    fast = compiled(step, backend)
    for k in range(6):
        given, before = np.full(3, float(k)), box.b
        row = fast(given)
        assert box.a is before and box.b is given
        assert row.base is box.m or np.may_share_memory(row, box.m)
        box.c += 1
        assert box.d.tolist() == [2 * k + 1] * 3
    assert not fast.why


def test_a_view_of_what_another_slot_is_given_is_refused_by_name():
    box = Box(a=np.ones(3), m=np.ones((2, 3)))

    def step(x):
        box.m = x * 2
        box.a = box.m[0]
        return x.sum()
    why, said, _ = refused(step, np.ones((2, 3)))
    assert "is given a view of what another slot is given" in why and "box." in why and len(said) == 1
    box.m += 1
    assert box.a.tolist() == [3] * 3


def test_a_text_of_a_closure_that_grows_is_refused_by_name():
    name = "a"

    def step(x):
        nonlocal name
        name += "b"
        return x.sum() * len(name)
    why, said, out = refused(step, np.ones(1))
    assert "name becomes another object" in why and len(said) == 1 and out == [2, 3, 4, 5] and name == "abbbb"


@backends
def test_an_array_that_is_filled_with_what_was_there_before_it(backend):
    def step(x):
        t = x * 2
        made = x.sum() * np.ones(3)
        made[...] = t
        return made.sum() + t.sum()
    fast, x = compiled(step, backend), np.arange(3.0)
    for _ in range(5): near(fast(x), step(x))
    assert not fast.why


@backends
def test_a_number_that_is_copied(backend):
    box, x = Box(lr=0.5), np.arange(3.0)
    fast = compiled(lambda x: x * copy.deepcopy(box.lr) + copy.copy(box.lr), backend)
    for lr in (0.5, 0.5, 0.5, 0.5, 2.0):
        box.lr = lr
        near(fast(x), x * lr + lr)
    assert not fast.why


def test_an_error_that_only_a_trace_makes_is_said_with_its_kind():
    box = Box(lr=0.5)
    why, said, out = refused(lambda x: x.sum() * len(json.dumps(box.lr)), np.ones(2))
    assert "TypeError: " in why and len(said) == 1 and out == [6.0] * 4


@backends
def test_many_steps_are_as_many_as_were_asked_for(backend):
    "Also where a branch is answered anew in the midst of them, or a generator is asked."
    def make(draws):
        box, rng = Box(w=np.zeros(3), n=np.zeros(())), np.random.default_rng(0)

        def step(x):
            box.n += 1
            if box.w[0] > 7: box.w -= 5 * x
            else: box.w += x * (rng.random() if draws else 1)
            return box.w.sum()
        return box, step
    for draws in (False, True):
        (ours, step), (theirs, plain), x = make(draws), make(draws), np.ones(3)
        fast = compiled(step, backend)
        for n in (1, 2, 1, 3, 20, 17):
            last = fast.repeat(n, x)
            for _ in range(n): expected = plain(x)
            near(last, expected)
            agree(seen(ours), seen(theirs))


@pytest.mark.skipif(os.name == "nt", reason="links are not for everybody there")
def test_numpy_is_a_library_wherever_it_lies(tmp_path):
    home = Path(np.__file__).parents[1]
    for folder in home.glob("numpy*"): (tmp_path / folder.name).symlink_to(folder)
    code = """
import numpy as np
from foundations.compiling import compiled
rng = np.random.default_rng(0)
step = compiled(lambda x: x * rng.random())
assert np.array_equal([step(1 + np.zeros(1))[0] for _ in range(5)], np.random.default_rng(0).random(5)) and not step.why, step.why"""
    path = os.pathsep.join(map(str, [tmp_path, Path(__file__).parents[1]]))
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})
