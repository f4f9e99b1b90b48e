"""The same pieces of work in each library. `WORKS[work][name](case)` gives a function without arguments, whose result can be compared.

A library that is missing raises ImportError here, and is named and left out by peers.py. All networks start from the same weights.
"""
from functools import partial

import numpy as np

RATE = np.float32(0.01)
WORKS: dict = {}


def does(work, name):
    "Keep what makes a piece of work under the name of the library."
    return lambda make: WORKS.setdefault(work, {}).setdefault(name, make)


# ---- learners: learner(params, loss) gives (what makes x and y the library's, a step that returns the loss before it) ----

LEARNERS: dict = {}

def learner(name): return lambda make: LEARNERS.setdefault(name, make)


@learner("NumPy by hand")
def by_hand(params, loss):
    P = [p.copy() for p in params]

    def step(x, y):
        acts, n = [x], len(x)
        for i in range(0, len(P), 2):
            h = acts[-1] @ P[i]
            h += P[i + 1]
            if i < len(P) - 2: np.maximum(h, 0, out=h)
            acts.append(h)
        if loss == "mse":
            g = h - y
            value = float((g * g).mean())
            g *= np.float32(2 / g.size)
        else:
            rows, z = np.arange(n), h - h.max(1, keepdims=True)
            g = np.exp(z)
            total = g.sum(1, keepdims=True)
            value = float((np.log(total[:, 0]) - z[rows, y]).mean())
            g /= total
            g[rows, y] -= 1
            g *= np.float32(1 / n)
        for i in range(len(P) - 2, -1, -2):
            a, dw, db = acts[i // 2], acts[i // 2].T @ g, g.sum(0)
            if i: g = g @ P[i].T; g *= a > 0
            dw *= RATE; P[i] -= dw
            db *= RATE; P[i + 1] -= db
        return value
    return (lambda x, y: (x, y)), step


def model_of(nn, params, tensor):
    "Linear, ReLU, Linear, ... with these weights, of our nn or PyTorch's."
    layers = []
    for w in params[::2]: layers += [nn.Linear(*w.shape), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    names = [f"{i}.{kind}" for i in range(0, len(layers), 2) for kind in ("weight", "bias")]
    model.load_state_dict({n: tensor(np.ascontiguousarray(p.T)) for n, p in zip(names, params)})
    return model


def our_step(params, loss, wrap=lambda f: f):
    from foundations import nn
    from foundations.training import SGD
    model = model_of(nn, params, lambda p: p)
    measure, optimizer = nn.MSELoss() if loss == "mse" else nn.CrossEntropyLoss(), SGD(model.parameters(), float(RATE))

    def step(x, y):
        value = measure(model(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value
    wrapped = wrap(step)
    return (lambda x, y: (x, y)), lambda x, y, n=1: float((wrapped(x, y) if n == 1 else wrapped.repeat(n, x, y)).item())


@learner("ours")
def ours(params, loss): return our_step(params, loss)


@learner("ours, compiled")
def compiled(params, loss):
    from foundations.compiling import compiled
    return our_step(params, loss, compiled)


@learner("ours, compiled by numba")
def compiled_by_numba(params, loss):
    from foundations.compiling import compiled
    return our_step(params, loss, partial(compiled, backend="numba"))


def torch_step(params, loss, wrap=lambda torch, f: f):
    import torch
    torch.set_num_threads(1)
    model = model_of(torch.nn, params, torch.from_numpy)
    measure, optimizer = torch.nn.MSELoss() if loss == "mse" else torch.nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), float(RATE))
    ask = wrap(torch, lambda x, y: measure(model(x), y))

    def step(x, y):
        value = ask(x, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item()
    return (lambda x, y: (torch.from_numpy(x), torch.from_numpy(y))), step


@learner("torch")
def in_torch(params, loss): return torch_step(params, loss)


@learner("torch.compile")
def in_torch_compiled(params, loss): return torch_step(params, loss, lambda torch, f: torch.compile(f))


@learner("autograd")
def in_autograd(params, loss):
    import autograd.numpy as anp
    from autograd import value_and_grad
    P = [p.copy() for p in params]

    def ask(P, x, y):
        for i in range(0, len(P), 2):
            x = anp.dot(x, P[i]) + P[i + 1]
            if i < len(P) - 2: x = anp.maximum(x, 0)
        if loss == "mse": return anp.mean((x - y) ** 2)
        z = x - anp.max(x, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - z[np.arange(len(y)), y])
    both = value_and_grad(ask)

    def step(x, y):
        value, grads = both(P, x, y)
        for p, g in zip(P, grads): p -= RATE * g
        return float(value)
    return (lambda x, y: (x, y)), step


@learner("MyGrad")
def in_mygrad(params, loss):
    import mygrad as mg
    from mygrad.nnet.activations import relu
    from mygrad.nnet.losses import softmax_crossentropy
    P = [mg.tensor(p.copy()) for p in params]

    def step(x, y):
        for i in range(0, len(P), 2):
            x = mg.matmul(x, P[i]) + P[i + 1]
            if i < len(P) - 2: x = relu(x)
        value = ((x - y) ** 2).mean() if loss == "mse" else softmax_crossentropy(x, y)
        value.backward()
        for p in P: p.data -= RATE * p.grad
        return float(value.data)
    return (lambda x, y: (x, y)), step


@learner("jax.jit")
def in_jax(params, loss):
    import jax, jax.numpy as jnp
    held = [[jnp.asarray(p) for p in params]]

    def ask(P, x, y):
        for i in range(0, len(P), 2):
            x = x @ P[i] + P[i + 1]
            if i < len(P) - 2: x = jax.nn.relu(x)
        if loss == "mse": return jnp.mean((x - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1))

    @jax.jit
    def update(P, x, y):
        value, grads = jax.value_and_grad(ask)(P, x, y)
        return value, [p - RATE * g for p, g in zip(P, grads)]

    def step(x, y):
        value, held[0] = update(held[0], x, y)
        jax.block_until_ready(held[0])
        return float(value)
    return (lambda x, y: (jnp.asarray(x), jnp.asarray(y))), step


@learner("tinygrad")
def in_tinygrad(params, loss):
    from tinygrad import Tensor, TinyJit
    P = [Tensor(p.copy()).realize() for p in params]

    @TinyJit
    def update(x, y):
        for i in range(0, len(P), 2):
            x = x @ P[i] + P[i + 1]
            if i < len(P) - 2: x = x.relu()
        value = ((x - y) ** 2).mean() if loss == "mse" else x.sparse_categorical_crossentropy(y)
        for p, g in zip(P, value.gradient(*P)): p.assign(p - float(RATE) * g)
        Tensor.realize(value, *P)
        return value
    convert = lambda x, y: (Tensor(x).realize(), Tensor(y if y.dtype.kind == "f" else y.astype(np.int32)).realize())
    return convert, lambda x, y: update(x, y).item()


# ---- what they learn ----

def network(*sizes):
    "First weights and biases, by a seed."
    rng = np.random.default_rng(3)
    return [p for n, m in zip(sizes, sizes[1:]) for p in
            ((rng.standard_normal((n, m)) * (2 / n) ** 0.5).astype(np.float32), np.full(m, 0.1, np.float32))]


def a_step(make, case):
    "One step on one batch."
    rng, (sizes, n) = np.random.default_rng(0), case
    convert, step = make(network(*sizes), "cross-entropy")
    x, y = convert(rng.standard_normal((n, sizes[0]), dtype=np.float32), rng.integers(sizes[-1], size=n))
    return lambda: step(x, y)


def xor(make, steps):
    "So many steps on the four rows of XOR, called one by one."
    convert, step = make(network(2, 5, 1), "mse")
    x, y = convert(*XOR)

    def run():
        for _ in range(steps): value = step(x, y)
        return value
    return run


XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([[0], [1], [1], [0]], np.float32)


@does("XOR, 200 steps", "ours, numba, in one call")
def _(steps):
    _, step = compiled_by_numba(network(2, 5, 1), "mse")
    return lambda: step(*XOR, steps)


def an_epoch(make, size):
    "All 10,000 digits in batches, in the order of the file."
    from foundations.data import mnist, normalize
    x, y, *_ = mnist()
    convert, step = make(network(784, 50, 10), "cross-entropy")
    x, y = convert(normalize(x, x.mean(), x.std()), y)

    def run():
        for i in range(0, 10_000, size): value = step(x[i:i + size], y[i:i + size])
        return value
    return run


for name, make in LEARNERS.items():
    does("a training step", name)(partial(a_step, make))
    if name != "torch.compile": does("XOR, 200 steps", name)(partial(xor, make))
    if name not in ("torch.compile", "tinygrad"): does("an epoch of the small digits", name)(partial(an_epoch, make))


@does("XOR, 200 steps", "micrograd")
def _(steps):
    from micrograd.nn import MLP
    w1, b1, w2, b2 = network(2, 5, 1)
    model = MLP(2, [5, 1])
    for layer, w, b in zip(model.layers, (w1, w2), (b1, b2)):
        for j, neuron in enumerate(layer.neurons):
            neuron.b.data = float(b[j])
            for i, v in enumerate(neuron.w): v.data = float(w[i, j])

    def run():
        for _ in range(steps):
            loss = sum((model(x) - y) ** 2 for x, y in zip([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])) * 0.25
            model.zero_grad()
            loss.backward()
            for p in model.parameters(): p.data -= float(RATE) * p.grad
        return loss.data
    return run


# ---- the product of two matrices ----

def product(f, case):
    rng, (n, p, m) = np.random.default_rng(0), case
    a, b = rng.standard_normal((n, p), dtype=np.float32), rng.standard_normal((p, m), dtype=np.float32)
    return lambda: f(a, b)

does("the matrix product", "NumPy by hand")(partial(product, lambda a, b: a @ b))

def rung(name, case):
    from foundations import matmul
    return product(getattr(matmul, name), case)

for name in ("matmul", "matmul_compiled", "matmul_einsum", "matmul_broadcast", "matmul_rowcol"):
    does("the matrix product", f"ours, {name}")(partial(rung, name))

@does("the matrix product", "torch")
def _(case):
    import torch
    torch.set_num_threads(1)
    return product(lambda a, b: (torch.from_numpy(a) @ torch.from_numpy(b)).numpy(), case)

@does("the matrix product", "jax.jit")
def _(case):
    import jax
    multiply = jax.jit(lambda a, b: a @ b)
    return product(lambda a, b: np.asarray(multiply(a, b)), case)


# ---- layers on many rows: forward and back through n-784-50-1, with the gradient of x; its sum is compared ----

def rows_of(n):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 784), dtype=np.float32), rng.standard_normal((n, 1), dtype=np.float32), network(784, 50, 1)


@does("layers on many rows", "NumPy by hand")
def _(n):
    x, y, (w1, b1, w2, b2) = rows_of(n)

    def run():
        h = x @ w1
        h += b1
        np.maximum(h, 0, out=h)
        g = h @ w2
        g += b2 - y
        g *= np.float32(2 / n)
        dw2, db2, gh = h.T @ g, g.sum(0), g @ w2.T
        gh *= h > 0
        dw1, db1, dx = x.T @ gh, gh.sum(0), gh @ w1.T
        return dw1, db1, dw2, db2, dx[:9]
    return run


@does("layers on many rows", "ours, layers")
def _(n):
    from foundations.layers import Array, Linear, Model, MSELoss, ReLU
    x, y, params = rows_of(n)
    x, (w1, b1, w2, b2) = x.view(Array), [p.view(Array) for p in params]
    model = Model([Linear(w1, b1), ReLU(), Linear(w2, b2)], MSELoss())

    def run():
        x.g = None
        model.zero_grad()
        model(x, y[:, 0])
        model.backward()
        return w1.g, b1.g, w2.g, b2.g, x.g[:9]
    return run


@does("layers on many rows", "ours")
def _(n):
    from foundations.autograd import Tensor
    from foundations.nn import functional as F
    x, y, params = rows_of(n)
    leaves = [Tensor(v, requires_grad=True) for v in (x, *params)]

    def run():
        for leaf in leaves: leaf.grad = None
        x, w1, b1, w2, b2 = leaves
        F.mse_loss((x @ w1 + b1).relu() @ w2 + b2, y).backward()
        return w1.grad, b1.grad, w2.grad, b2.grad, x.grad[:9]
    return run


@does("layers on many rows", "torch")
def _(n):
    import torch
    torch.set_num_threads(1)
    x, y, params = rows_of(n)
    leaves, y = [torch.from_numpy(v).requires_grad_() for v in (x, *params)], torch.from_numpy(y)

    def run():
        for leaf in leaves: leaf.grad = None
        x, w1, b1, w2, b2 = leaves
        torch.nn.functional.mse_loss(torch.addmm(b2, torch.relu(torch.addmm(b1, x, w1)), w2), y).backward()
        return [v.grad.numpy() for v in (w1, b1, w2, b2)] + [x.grad[:9].numpy()]
    return run


@does("layers on many rows", "autograd")
def _(n):
    import autograd.numpy as anp
    from autograd import grad
    x, y, params = rows_of(n)
    loss = lambda v: anp.mean((anp.dot(anp.maximum(anp.dot(v[0], v[1]) + v[2], 0), v[3]) + v[4] - y) ** 2)

    def run():
        dx, *rest = grad(loss)([x, *params])
        return *rest, dx[:9]
    return run


@does("layers on many rows", "jax.jit")
def _(n):
    import jax, jax.numpy as jnp
    x, y, params = rows_of(n)
    values = [jnp.asarray(v) for v in (x, *params)]
    loss = lambda v: jnp.mean((jax.nn.relu(v[0] @ v[1] + v[2]) @ v[3] + v[4] - y) ** 2)
    both = jax.jit(jax.grad(loss))

    def run():
        dx, *rest = jax.block_until_ready(both(values))
        return [np.asarray(v) for v in (*rest, dx[:9])]
    return run


# ---- graphs that grow: n links, the result's gradient ----

def linked(case, leaf, tanh, gradient):
    "A chain of n tanh, or n diamonds: x becomes 0.6 x + 0.6 tanh(x)."
    shape, n = case

    def run():
        x = start = leaf(np.full(8, 0.5))
        for _ in range(n): x = tanh(x) if shape == "chain" else x * 0.6 + tanh(x) * 0.6
        return gradient(x, start)
    return run


@does("backward through a graph", "ours")
def _(case):
    from foundations.autograd import Tensor
    def gradient(x, start):
        x.sum().backward()
        return start.grad
    return linked(case, lambda v: Tensor(v, requires_grad=True), lambda x: x.tanh(), gradient)


@does("backward through a graph", "torch")
def _(case):
    import torch
    torch.set_num_threads(1)
    def gradient(x, start):
        x.sum().backward()
        return start.grad.numpy()
    return linked(case, lambda v: torch.from_numpy(v).requires_grad_(), torch.tanh, gradient)


@does("backward through a graph", "autograd")
def _(case):
    import autograd.numpy as anp
    from autograd import grad
    shape, n = case

    def f(x):
        for _ in range(n): x = anp.tanh(x) if shape == "chain" else x * 0.6 + anp.tanh(x) * 0.6
        return anp.sum(x)
    return lambda: grad(f)(np.full(8, 0.5))


@does("backward through a graph", "MyGrad")
def _(case):
    import mygrad as mg
    def gradient(x, start):
        x.sum().backward()
        return start.grad
    return linked(case, mg.tensor, mg.tanh, gradient)


@does("backward through a graph", "micrograd")
def _(case):
    from micrograd.engine import Value
    def tanh(x):                                      # it has none; written as its other functions are
        out = Value(float(np.tanh(x.data)), (x,), "tanh")
        def back(): x.grad += (1 - out.data ** 2) * out.grad
        out._backward = back
        return out
    def gradient(x, start):
        x.backward()
        return np.full(8, start.grad)
    return linked(case, lambda v: Value(float(v[0])), tanh, gradient)
