"""The engine (chapter 6): beside PyTorch on shapes and programs that Hypothesis makes up, in threads, forks and signal handlers, and what it refuses."""
import os, signal, subprocess, sys, threading, traceback
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foundations import autograd as engine
from foundations.autograd import DifferentiableOperator, Tensor, grad, no_grad
from foundations.check import gradcheck, test_near

test_near.__test__ = False                               # a helper, no test
ROOT = Path(__file__).resolve().parent.parent
many = settings(max_examples=200, deadline=None, derandomize=True, database=None)
any_shape = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
floats = st.sampled_from([np.float32, np.float64])


def torch(): return pytest.importorskip("torch")
def leaf(*data): return Tensor(np.array(data), requires_grad=True)
def refuses(error, match): return pytest.raises(error, match=match)


def numbers(shape, seed, dtype=np.float64):
    "Random numbers; rounded for every third seed, so that some are equal, and some 0."
    x = np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(x.round() if seed % 3 == 0 else x, dtype)


def nudged(f, *inputs):
    "The engine's gradients of a function of tensors, against nudges."
    def grads(dout, *arrays):
        ts = [Tensor(a, requires_grad=True) for a in arrays]
        return grad(f(*ts), ts, dout)
    gradcheck(lambda *arrays: f(*map(Tensor, arrays)).data, grads, *inputs, rtol=1e-6, projections=1, max_elements=3)


def agree(ours, theirs, *inputs, nudge=True):
    "Value and gradients are PyTorch's; and the gradients those of nudges, where there is no corner."
    mine = [Tensor(x.copy(), requires_grad=True) for x in inputs]
    other = [torch().from_numpy(x.copy()).requires_grad_() for x in inputs]
    out, expected = ours(*mine), theirs(*other)
    rtol, atol = (1e-4, 1e-5) if inputs[0].dtype == np.float32 else (1e-8, 1e-10)
    assert out.dtype == inputs[0].dtype
    test_near(out.data, expected.detach(), rtol, atol)
    dout = np.asarray(np.random.default_rng(1).standard_normal(out.shape), out.dtype)
    out.backward(dout)
    expected.backward(torch().from_numpy(dout))
    for x, t in zip(mine, other):
        assert type(x.grad) is np.ndarray and x.grad.dtype == x.dtype
        test_near(x.grad, t.grad, rtol, atol)
    if nudge and all(x.size for x in inputs) and inputs[0].dtype == np.float64: nudged(ours, *inputs)


def both(f): return f, f


# ---- beside PyTorch ----

@many
@given(any_shape, st.integers(0, 999), floats)
def test_one_input(shape, seed, dtype):
    t, x, smooth = torch(), numbers(shape, seed, dtype), seed % 3 > 0
    for name in ("exp", "tanh", "sigmoid", "square", "sin", "cos"): agree(*both(lambda a: getattr(a, name)()), x)
    agree(*both(lambda a: a.sigmoid()), np.asarray(20 * x, dtype), nudge=False)
    agree(*both(lambda a: -a), x)
    agree(*both(lambda a: a.relu()), x, nudge=False)
    agree(*both(abs), x, nudge=smooth)
    agree(*both(lambda a: a.relu()), np.asarray(x + np.sign(x) * 0.01, dtype), nudge=smooth)
    positive = np.asarray(abs(x) + 0.5, dtype)
    for f in (lambda a: a.log(), lambda a: a.sqrt()): agree(*both(f), positive)
    for p in (0, 1, 2, 3, -1): agree(*both(lambda a: a**p), positive)
    for f in (lambda a: a**2, lambda a: 2.5**a): agree(*both(f), x)
    agree(lambda a: a.T, lambda a: a.permute(*reversed(range(a.ndim))), x)
    if x.size: agree(*both(lambda a: a.reshape(-1)), x)
    agree(lambda a: a.where(a > 0, -a), lambda a: t.where(a > 0, a, -a), x, nudge=smooth)


@many
@given(any_shape, st.integers(0, 999), st.data(), st.booleans())
def test_along_axes(shape, seed, data, keep):
    t, x, axis = torch(), numbers(shape, seed), data.draw(st.integers(-len(shape), len(shape) - 1))
    for f in (lambda a: a.sum(), lambda a: a.sum(axis, keep)): agree(*both(f), x)
    if x.size:
        for f in (lambda a: a.mean(), lambda a: a.mean(axis, keep)): agree(*both(f), x)
        agree(*both(lambda a: a.max()), x, nudge=seed % 3 > 0)
    agree(*both(lambda a: a.softmax(axis)), x)
    agree(*both(lambda a: a.log_softmax(axis)), x)
    if x.shape[axis]: agree(*both(lambda a: a.amax(axis, keep)), x, nudge=seed % 3 > 0)
    order = data.draw(st.permutations(range(len(shape))))
    agree(*both(lambda a: a.permute(*order)), x)
    b, other = numbers(shape[axis], seed + 1), numbers(shape, seed + 2)
    agree(engine.AddBias(axis=axis), lambda a, c: (a.movedim(axis, -1) + c).movedim(-1, axis), x, b)
    agree(lambda a, u: engine.Concatenate(axis=axis)(a, u, a), lambda a, u: t.cat([a, u, a], axis), x, other)


@many
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=4), st.integers(0, 999), floats)
def test_two_inputs(shapes, seed, dtype):
    a, b = (numbers(s, seed + k, dtype) for k, s in enumerate(shapes.input_shapes))
    away = np.asarray(b + np.where(b < 0, -1, 1), dtype)         # not near 0
    for f in (lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b): agree(*both(f), a, b)
    agree(*both(lambda a, b: a / b), a, away)
    agree(*both(lambda a, b: a**b), np.asarray(abs(a) + 0.5, dtype), b)
    whole = [np.asarray(abs(v).round()) for v in (a, b)]          # 0 to the power of 0 among them
    agree(*both(lambda a, b: a**b), *whole, nudge=False)
    for f in (lambda a: a + 2, lambda a: 2 - a, lambda a: 2.5 * a, lambda a: 3 / (a * a + 1)): agree(*both(f), a)


INDICES = st.sampled_from([0, -1, slice(1, None), slice(None, None, 2), None, ..., [0, 0, -1], (0, -1), (slice(None), 0),
                           (..., [1, 1]), np.array([True, False, True]), ([0, 0], [1, 0])])

@many
@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 999), INDICES)
def test_matrices(shape, seed, key):
    t, (n, p, m) = torch(), shape
    x, w, b = numbers((n, p), seed), numbers((p, m), seed + 1), numbers(m, seed + 2)
    agree(*both(lambda a, b: a @ b), x, w)
    for f in (engine.Linear(), lambda x, w, b: engine.AddBias()(engine.MatrixMultiply()(x, w), b)):   # one, or composed
        agree(f, lambda x, w, b: x @ w + b, x, w, b)
    classes, targ = np.random.default_rng(seed).integers(0, p, n), numbers(n, seed + 3)
    F = t.nn.functional
    agree(lambda a: engine.CrossEntropy()(a, classes), lambda a: F.cross_entropy(a, t.from_numpy(classes)), x)
    agree(engine.MeanSquaredError(), lambda a, u: F.mse_loss(a[:, 0], u), x[:, :1], targ)
    agree(*both(lambda a: a[key]), numbers((3, 4), seed))
    agree(*both(lambda a: a.reshape(p, n) @ a), x)


STEPS = [lambda a, b: (a + b) * 0.5, lambda a, b: a - b * 0.5, lambda a, b: (a * b).tanh(), lambda a, b: a / (b * b + 1),
         lambda a, b: (a @ b).tanh(), lambda a, b: a.relu() + b.T, lambda a, b: a.sigmoid(), lambda a, b: a.tanh().exp() - 1,
         lambda a, b: a.mean(1, keepdim=True) + b, lambda a, b: a.amax(0, keepdim=True) - b, lambda a, b: a[[0, 0, 2]],
         lambda a, b: a.softmax(1) * b, lambda a, b: a.log_softmax(0).tanh(), lambda a, b: (a.square() + 1).sqrt() - b,
         lambda a, b: (1 - a.tanh())**2, lambda a, b: a.reshape(9)[:3] + b, lambda a, b: a.sum(0) * 0.1 + b * 1,
         lambda a, b: (b.square() + 1).log(), lambda a, b: a.sin() * b.cos()]

programs = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=30)

def running(program):
    def run(a, b):
        made = [a, b]
        for step, i, j in program: made.append(step(made[i % len(made)], made[j % len(made)]))
        return made[-1] + made[len(made) // 2] + a * b
    return run


@many
@given(programs, st.integers(0, 999))
def test_whole_programs(program, seed):
    "Up to 30 steps, each on tensors picked from those before, some used many times, and others never."
    agree(*both(running(program)), numbers((3, 3), seed), numbers((3, 3), seed + 1), nudge=False)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(programs.map(lambda p: p[0]), min_size=1, max_size=6), st.integers(0, 999))
def test_gradients_of_gradients_of_whole_programs(program, seed):
    t, seed = torch(), 3 * seed + 1                      # no ties, and no corners
    arrays = [numbers((3, 3), seed), numbers((3, 3), seed + 1)]
    mine, theirs = [Tensor(a, True) for a in arrays], [t.from_numpy(a).requires_grad_() for a in arrays]
    run = running(program)
    first = grad(run(*mine).sum(), mine, create_graph=True)
    expected = t.autograd.grad(run(*theirs).sum(), theirs, create_graph=True)
    for g, e in zip(first, expected): test_near(g.data, e.detach(), 1e-8, 1e-10)
    second = grad((first[0] * first[0] + first[1]).sum(), mine)
    expected = t.autograd.grad((expected[0] * expected[0] + expected[1]).sum(), theirs)
    for g, e in zip(second, expected): test_near(g, e, 1e-7, 1e-8)


# ---- the way back ----

def test_a_backward_that_fails_changes_nothing():
    class Forgetful(DifferentiableOperator):
        def forward(self, a, b): return a * b
        def backward(self, dout, a, b): return (dout * b,)
    class Stretched(Forgetful):
        def backward(self, dout, a, b): return dout * b, (dout * a)[None]
    class Silent(Forgetful):
        def backward(self, dout, a, b): return None, dout
    class Bare(DifferentiableOperator):
        def forward(self, a): return a * 2
        def backward(self, dout, a): return dout * 2
    x, y = Tensor(np.ones(3), True), Tensor(np.ones(3), True)
    for operator, args, message in [
            (Forgetful, (x, y), r"Forgetful.backward gives a tuple of 1; expected a tuple of 2, one gradient for each"),
            (Stretched, (x, y), r"Stretched.backward gives a gradient of shape \(1, 3\) for an input of \(3,\)"),
            (Silent, (x, y), "Silent.backward gives no gradient"),
            (Bare, (x,), "Bare.backward gives a ndarray; expected a tuple of 1")]:
        with refuses(ValueError, message): (x + operator()(*args)).sum().backward()
    assert x.grad is None and y.grad is None


def test_who_has_a_gradient_after_it():
    x = leaf(1.0, 2, 3)
    y = x * x
    y.retain_grad()
    y.sum().backward()
    assert x.grad.tolist() == [2, 4, 6] and y.grad.tolist() == [1, 1, 1]
    with refuses(ValueError, "retain_grad: this tensor needs no gradient"): Tensor([1.0]).retain_grad()
    x.zero_grad()
    assert x.grad is None


def test_a_freed_graph_is_refused_and_a_retained_one_adds():
    x = leaf(1.0, 2, 3)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad.tolist() == [4, 8, 12]
    with refuses(ValueError, "this graph was walked already, and freed"): loss.backward()
    assert x.grad.tolist() == [4, 8, 12]


def test_what_a_gradient_begins_with():
    x = leaf(1.0, 2, 3)
    with refuses(ValueError, r"this tensor is \(3,\), so its gradient must be given"): (x * x).backward()
    with refuses(ValueError, r"the gradient is \(2,\) and the tensor \(3,\)"): (x * x).backward(np.ones(2))
    with refuses(ValueError, "no leaf of this tensor needs a gradient"): Tensor([1.0]).sum().backward()
    (x * x).backward(np.array([1, 0, 0]))
    assert x.grad.tolist() == [2, 0, 0] and x.grad.dtype == np.float64
    one = Tensor([[2.0]], requires_grad=True)
    one.backward()
    one.sum().backward()
    assert one.grad == 2 and one.grad.shape == (1, 1)


def test_leaves_share_no_memory():
    x, y = Tensor(np.ones(3), True), Tensor(np.ones(3), True)
    dout = np.ones(3)
    (x + y).backward(dout)
    x.grad *= 2
    assert y.grad.tolist() == dout.tolist() == [1, 1, 1]
    z = Tensor(np.ones((2, 3)), True)
    z.sum().backward()
    z.grad[0, 0] = 5                                     # a sum's gradient is one number, stretched
    assert z.grad.sum() == 10


def test_a_gradient_of_another_shape_is_refused():
    x = leaf(1.0, 2)
    x.grad = np.ones(3)
    with refuses(ValueError, r"grad is \(3,\) and the tensor \(2,\)"): x.sum().backward()


def test_requires_grad_is_asked_on_the_way_back():
    x, y = leaf(1.0, 2), leaf(3.0, 4)
    frozen = (x * y).sum()
    x.requires_grad_(False)
    frozen.backward()
    assert x.grad is None and y.grad.tolist() == [1, 2]
    given = Tensor([1.0, 2])
    earlier = (given * y).sum()
    given.requires_grad_()                               # asked for too late: as in PyTorch
    (earlier + (given * 3).sum()).backward()
    assert given.grad.tolist() == [3, 3]
    with refuses(ValueError, "requires_grad_: only for a leaf"): (y * 2).requires_grad_()
    with refuses(TypeError, "only floats take a gradient, and this is int64"): Tensor([1]).requires_grad_()


def test_a_hundred_thousand_operators_in_linear_time():
    def seconds(n):
        x = y = Tensor(1.0, requires_grad=True)
        for _ in range(n): y = y * 1.0
        before = perf_counter()
        y.backward()
        assert x.grad == 1
        return (perf_counter() - before) / n
    assert seconds(100_000) < 10 * min(seconds(1000) for _ in range(5))


def test_gradients_with_respect_to_several():
    a, b, unused = leaf(1.0, 2), leaf(3.0, 4), leaf(1.0)
    h = a * b
    for outputs in (h.sum(), (h.sum(), (a * 2).sum())):
        ga, gh = grad(outputs, [a, h], retain_graph=True)
        assert ga.tolist() == ([3, 4] if isinstance(outputs, Tensor) else [5, 6]) and gh.tolist() == [1, 1]
    assert a.grad is None and b.grad is None
    with refuses(ValueError, r"inputs of shapes \[\(1,\)\] were not used"): grad(h.sum(), [a, unused], retain_graph=True)
    assert grad(h, unused, np.ones(2), retain_graph=True, allow_unused=True) == (None,)
    assert grad(h, h, np.ones(2))[0].tolist() == [1, 1]
    with refuses(ValueError, "was walked already, and freed"): grad(h, a, np.ones(2))


def test_create_graph():
    x = leaf(1.0, 2)
    (x**3).sum().backward(create_graph=True)
    assert isinstance(x.grad, Tensor) and x.grad.requires_grad and x.grad.data.tolist() == [3, 12]
    slope, x.grad = x.grad, None
    slope.sum().backward()
    assert type(x.grad) is np.ndarray and x.grad.tolist() == [6, 12]
    y = leaf(1.0)
    for _ in range(2): (y * y).sum().backward(create_graph=True)
    assert y.grad.data.tolist() == [4]
    (y * y).sum().backward()                             # plain arrays again
    assert type(y.grad) is np.ndarray and y.grad.tolist() == [6]


# ---- changes in place ----

def test_a_change_between_forward_and_backward_is_noticed():
    def put(x, w): x[0] = 100
    def step(x, w):
        with no_grad(): w -= 0.1
    def through_data(x, w): w.data -= 0.1
    def replaced(x, w): w.data = np.ones(3)
    def through_detached(x, w): x.detach()[0] = 100
    def through_view(x, w): x.reshape(3, 1)[0] = 100
    for change in (put, step, through_data, replaced, through_detached, through_view):
        x, w = Tensor([1.0, 2, 3]), Tensor([1.0, 1, 1], requires_grad=True)
        loss = (x * w * w).sum()
        change(x, w)
        with refuses(ValueError, r"an input of Multiplication, of shape \(3,\), was changed after it was used"): loss.backward()
        assert w.grad is None
        (x * w).sum().backward()                         # what comes after it is sound
        assert w.grad.tolist() == x.tolist()


def test_a_step_between_two_losses_is_noticed():
    w = leaf(1.0, 2)
    one, two = (w * w).sum(), (w * w * w).sum()
    one.backward()
    w.data -= 0.1 * w.grad
    with refuses(ValueError, "was changed after it was used"): two.backward()


def test_a_change_of_other_tensors_is_no_matter():
    x, w, other = Tensor([1.0, 2]), leaf(1.0, 2), Tensor([0.0])
    loss = (x * w).sum()
    other[0] = 1
    other += 1
    loss.backward()
    assert w.grad.tolist() == [1, 2]


def test_in_place_signs():
    x, w = leaf(1.0, 2), Tensor([5.0, 5])
    with refuses(ValueError, r"not changed in place; do it within no_grad\(\), or write w = w - ..."): x -= 1
    with refuses(ValueError, "not changed in place"): x[0] = 1.0
    with no_grad():
        same = x
        x -= 1
        x *= 2
    assert same is x and x.tolist() == [0, 2] and x.requires_grad
    before = y = x * 1
    y += w                                               # recorded: a new tensor for the name
    assert before is not y and before.tolist() == [0, 2] and y.tolist() == [5, 7]
    w /= 5
    assert w.tolist() == [1, 1]
    x.data -= 0.5 * Tensor([1.0, 1])                     # an array takes the numbers of a tensor
    assert x.tolist() == [-0.5, 1.5]
    with refuses(ValueError, r"use detach\(\).numpy\(\)"): x.data -= x * 1.0


def test_setting_numbers_is_recorded():
    t, mine, theirs = torch(), [], []
    for new, out in ((lambda a: Tensor(a, True), mine), (lambda a: torch().tensor(a, requires_grad=True), theirs)):
        x, v = new([1.0, 2, 3]), new([10.0, 20])
        y = x * 2
        z = y * y
        y = y * 1
        y[1:] = v * v
        (y * y + z).sum().backward()
        out += [y.tolist(), x.grad.tolist(), v.grad.tolist()]
    assert mine == theirs and t
    with refuses(ValueError, r"looks at the memory of another; change a clone\(\) of it"): x_view()[0] = leaf(1.0)[0]


def test_older_views_see_numbers_that_were_set():
    y = leaf(1.0, 2, 3) * 1
    first, used = y[:2], y[:2] * 2
    y[0] = leaf(5.0)[0]
    assert y.tolist() == [5, 2, 3] and first.tolist() == [5, 2]
    for t in (first, used):                              # they belong to the numbers before
        with refuses(ValueError, "was changed after it was used"): t.sum().backward()


def x_view(): return (leaf(1.0, 2) * 1).reshape(2, 1)


# ---- recording ----

def test_no_grad_as_a_block_and_as_a_decorator():
    x = leaf(1.0)
    @no_grad()
    def quiet(n): return x * 2 if n == 0 else quiet(n - 1)
    assert not quiet(2).requires_grad and (x * 2).requires_grad and quiet.__name__ == "quiet"
    block = no_grad()
    for _ in range(2):
        with block, block: assert not (x * 2).requires_grad
        assert (x * 2).requires_grad
    with refuses(RuntimeError, "boom"), no_grad(): raise RuntimeError("boom")
    assert (x * 2).requires_grad


def test_no_grad_is_of_one_thread():
    x, inside, checked, seen = leaf(1.0), threading.Event(), threading.Event(), []
    def blind():
        with no_grad():
            inside.set()
            checked.wait(10)
    thread = threading.Thread(target=blind)
    thread.start()
    inside.wait(10)
    seen.append((x * 2).requires_grad)
    checked.set()
    thread.join(10)
    assert seen == [True]


def in_a_process(code):
    "A program of its own, which may hang."
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=60)
    if done.returncode: pytest.fail(done.stdout + done.stderr)


COMMON = """
import os, signal, sys, threading, time, warnings
import numpy as np
from foundations.autograd import Tensor
warnings.simplefilter("ignore")
x = Tensor(np.ones(3), requires_grad=True)
def work(n=50):
    t = Tensor(np.ones(3), requires_grad=True)
    y = t
    for _ in range(n): y = y * 1.0 + 0.0
    y.sum().backward()
    assert t.grad.tolist() == [1, 1, 1]
"""

def test_the_first_use_imports_nothing():
    "An import takes a lock, at which a fork or a signal handler could hang."
    in_a_process(COMMON + """
before = set(sys.modules)
work()
(x @ x + x.mean()).relu().sum().backward()
assert not set(sys.modules) - before, set(sys.modules) - before
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_another_thread_is_in_backward():
    in_a_process(COMMON + """
stop = False
def busy():
    while not stop: work()
thread = threading.Thread(target=busy, daemon=True)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop = True
thread.join()
""")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_backward_in_a_signal_handler_during_backward():
    in_a_process(COMMON + """
calls = []
def handler(*_):
    work(5)
    calls.append(1)
    signal.setitimer(signal.ITIMER_REAL, 0.002)          # the next one, when this is over
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.002)
while len(calls) < 100: work()
signal.setitimer(signal.ITIMER_REAL, 0)
""")


def test_two_threads_at_once():
    failed = []
    def work():
        try:
            for _ in range(50):
                x = leaf(1.0, 2)
                (x * x * x).sum().backward()
                assert x.grad.tolist() == [3, 12]
        except Exception as error: failed.append(error)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not failed


# ---- tensors ----

def test_what_fits_no_operator_is_named():
    a, b = Tensor(np.ones((2, 3)), True), Tensor(np.ones((4, 5)))
    for f, error, message in [
            (lambda: a + b, ValueError, r"addition: a is \(2, 3\) and b is \(4, 5\): they do not fit: axis -1 has sizes 3 and 5"),
            (lambda: a @ b, ValueError, r"matmul_stacks: a is \(2, 3\) and b is \(4, 5\)"),
            (lambda: a.reshape(4), ValueError, r"reshape: x is \(2, 3\), which does not fit \(4,\)"),
            (lambda: a.reshape(3, -2), ValueError, r"reshape: \(3, -2\) has a size below -1"),
            (lambda: a[7], IndexError, r"index: x is \(2, 3\): index 7 is out of bounds"),
            (lambda: engine.Concatenate(axis=0)(a, b), ValueError, r"concatenate: \(2, 3\), \(4, 5\) do not fit along axis 0"),
            (lambda: Tensor(np.ones(0)).amax(), ValueError, r"amax: x is \(0,\): of no numbers, none is the largest")]:
        with refuses(error, message): f()


@pytest.mark.parametrize("sign", ["+", "-", "*", "@"])
def test_one_frame_between_a_sign_and_its_error(sign):
    a, b = Tensor(np.ones((2, 3))), Tensor(np.ones((4, 5)))
    with pytest.raises(ValueError) as told: eval(f"a {sign} b", {"a": a, "b": b})
    frames = [f.filename for f in traceback.extract_tb(told.value.__traceback__)]
    assert len(frames[frames.index("<string>") + 1:]) == 2 and told.value.__cause__ is None


def test_an_operator_of_ones_own_may_have_an_init_of_its_own():
    class Scaled(DifferentiableOperator):
        def __init__(self, k): self.k = k
        def forward(self, x): return self.k * x * x
        def backward(self, dout, x): return (2 * self.k * dout * x,)
    x = Tensor([1.0, 2.0], requires_grad=True)
    Scaled(3.0)(x).sum().backward()
    test_near(x.grad, [6.0, 12.0])
    assert DifferentiableOperator.options == {} and "options" not in vars(Scaled(3.0))


def test_an_operator_of_ones_own_shows_where_it_fails():
    class Broken(DifferentiableOperator):
        def forward(self, x): return np.ones(2) + np.ones(3)
        def backward(self, dout, x): return (dout,)
    with pytest.raises(ValueError) as told: Broken()(leaf(1.0))
    assert traceback.extract_tb(told.value.__traceback__)[-1].name == "forward"


def test_what_is_no_tensor():
    for data, error, message in [
            (["one", "two"], TypeError, "expected an array of real numbers, got list of dtype <U3"),
            ([1j], TypeError, "expected an array of real numbers, got list of dtype complex128"),
            (np.ma.ones(2), TypeError, "expected an array of real numbers, got MaskedArray"),
            ([[1], [1, 2]], ValueError, "^Tensor: ")]:
        with refuses(error, message): Tensor(data)
    with refuses(TypeError, "only floats take a gradient, and this is int64; write 1.0 in place of 1"): Tensor([1, 2], True)
    with refuses(AttributeError, "no attribute 'gard'"): Tensor([1.0]).gard = 1


def test_ways_out_of_a_tensor():
    a, b = Tensor(np.ones((2, 3)), True), Tensor(np.ones((4, 5)))
    with refuses(ValueError, r"item: expected one number, the tensor is \(2, 3\)"): a.item()
    with refuses(ValueError, r"use detach\(\).numpy\(\)"): a.numpy()
    with refuses(ValueError, "more than one element"): bool(a)
    with refuses(ValueError, r"argmax: axis 2 does not fit|argmax: axis \(2,\) does not fit|does not fit"): a.argmax(2)
    assert np.asarray(b).shape == (4, 5) and [len(row.data) for row in b] == [5] * 4 and float(b[0, 0]) == 1
    assert f"{Tensor(1.5):.2f}" == "1.50" and repr(Tensor([1])) == "Tensor([1])" and a in {a: 1}
    assert repr(a.sum()) == "Tensor(6., operator=Sum)"
    assert np.shares_memory(a.detach().numpy(), a.data) and not a.detach().requires_grad


def test_comparisons():
    b = Tensor(np.ones((4, 5)))
    assert (b == 1).data.all() and not (b != 1).data.any() and not (b < 1).data.any() and (b >= np.ones(5)).data.all()
    assert (b == None) is False and (b != None) is True     # noqa: E711
    assert (Tensor([1, 2]) > 1).tolist() == [False, True] and (~(Tensor([1.0]) > 0) | (Tensor([1.0]) < 2)).tolist() == [True]


def test_dtypes_beside_one_number():
    single = Tensor(np.ones(3, np.float32), requires_grad=True)
    for out in (2 * single * 1.5, single * 2**70, Tensor(2.0) * single, single / Tensor(2.0), np.float64(2) * single): assert out.dtype == np.float32
    assert (Tensor(np.ones(1)) * single).dtype == np.float64
    number = Tensor(2.0, requires_grad=True)
    (number * single).sum().backward()
    assert number.grad == 3 and number.grad.dtype == np.float64 and single.grad.dtype == np.float32
    assert Tensor([3, 1])[np.array([1, 0])].dtype == np.int64


def test_numpy_leaves_signs_to_the_tensor():
    x = leaf(1.0, 2, 4)
    for z, expected in ((np.ones(3) + x, [2, 3, 5]), (np.ones(3) - x, [0, -1, -3]), (8 / x, [8, 4, 2]), (np.float64(2) * x, [2, 4, 8])):
        assert type(z) is Tensor and z.requires_grad and z.tolist() == expected
    assert (np.ones((2, 3)) @ x).tolist() == [7, 7] and (np.array([1.0, 3, 4]) < x).tolist() == [False, False, False]
    with refuses(TypeError, r"exp: NumPy's functions take no tensors; use a method, or t.detach\(\).numpy\(\)"): np.exp(x)


def test_operators_by_registration():
    x = leaf(1.0, 2)
    assert engine.Pair.of[engine.fwd.exp.__wrapped__] is engine.Exp and "e to the power" in engine.Exp.__doc__
    class Leaky(DifferentiableOperator):
        def forward(self, x, slope): return np.where(x > 0, x, slope * x)
        def backward(self, dout, x, slope): return (dout * np.where(x > 0, 1, slope),)
    nudged(Leaky(slope=0.1), np.array([-2.0, 3]))
    class Again(engine.Exp): pass
    assert engine.Pair.of[engine.fwd.exp.__wrapped__] is engine.Exp
    assert Again()(x).data.tolist() == np.exp([1.0, 2]).tolist()


def test_gradients_that_nobody_needs_are_not_computed():
    asked = []
    class Asking(DifferentiableOperator):
        def forward(self, a, b): return a * b
        def backward(self, dout, a, b, needs_input_grad):
            asked.append(list(needs_input_grad))
            return None, dout * a
    x, w = Tensor([1.0, 2]), leaf(3.0, 4)
    Asking()(x, w).sum().backward()
    assert asked == [[False, True]] and x.grad is None and w.grad.tolist() == [1, 2]
