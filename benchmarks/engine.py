"""What chapter 6 promises, measured: every number is a ratio within this run, timed in turns, on one thread.

    python benchmarks/engine.py        (make bench runs all of them)
"""
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"                          # before any library is imported

from time import perf_counter

import numpy as np

from foundations.autograd import CrossEntropy, Linear, MeanSquaredError, ReLU, Tensor
from foundations.timing import race, speedups
from report import finish, importing, report, times


def by_hand(x, y, ws, rate):
    "One step of a classifier in raw NumPy: forward, softmax cross-entropy, backward, SGD."
    inputs, n = [x], len(y)
    for i in range(0, len(ws), 2):
        z = inputs[-1] @ ws[i] + ws[i + 1]
        inputs.append(np.maximum(z, 0) if i < len(ws) - 2 else z)
    below = z - z.max(1, keepdims=True)
    e = np.exp(below)
    total, rows = e.sum(1, keepdims=True), np.arange(n)
    loss = (np.log(total[:, 0]) - below[rows, y]).mean()
    g = e / total
    g[rows, y] -= 1
    g /= n
    for i in range(len(ws) - 2, -1, -2):
        dw, db = inputs[i // 2].T @ g, g.sum(0)
        if i: g = (g @ ws[i].T) * (inputs[i // 2] > 0)
        ws[i] -= rate * dw
        ws[i + 1] -= rate * db
    return loss


def by_engine(x, y, ws, rate, linear=Linear(), relu=ReLU(), cross_entropy=CrossEntropy()):
    "The same step with the engine."
    for i in range(0, len(ws), 2):
        x = linear(x, ws[i], ws[i + 1])
        if i < len(ws) - 2: x = relu(x)
    loss = cross_entropy(x, y)
    for w in ws: w.grad = None
    loss.backward()
    for w in ws: w.data -= rate * w.grad
    return loss.item()


def steps(step, x, y, ws, n, rate):
    for _ in range(n): loss = step(x, y, ws, rate)
    return loss


def start(sizes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [v for a, b in zip(sizes, sizes[1:])
            for v in ((rng.standard_normal((a, b)) * (2 / a)**0.5).astype(dtype), np.zeros(b, dtype))]


def classifier(sizes, batch, n, target, rounds=25):
    "A training step, against raw NumPy; n steps in each turn."
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((batch, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], batch)
    raw, ours, tx, ty = start(sizes), [Tensor(w, requires_grad=True) for w in start(sizes)], Tensor(x), Tensor(y)
    assert abs(steps(by_hand, x, y, start(sizes), 5, 0.01)
               - steps(by_engine, tx, ty, [Tensor(w, requires_grad=True) for w in start(sizes)], 5, 0.01)) < 1e-4
    raced = race({"raw": (steps, by_hand, x, y, raw, n, 1e-3), "ours": (steps, by_engine, tx, ty, ours, n, 1e-3)}, rounds)
    ratio = 1 / speedups(raced, "raw")["ours"]
    report(f"{'-'.join(map(str, sizes))}, batch {batch}", ratio, target, ratio <= target, times)


def xor_by_hand(x, y, ws, rate):
    "One step of XOR in raw NumPy."
    w1, b1, w2, b2 = ws
    z = x @ w1 + b1
    h = np.maximum(z, 0)
    difference = h @ w2 + b2 - y
    loss = (difference * difference).mean()
    g = difference * (2 / len(y))
    dw2, db2, dz = h.T @ g, g.sum(0), (g @ w2.T) * (z > 0)
    dw1, db1 = x.T @ dz, dz.sum(0)
    for w, dw in ((w1, dw1), (b1, db1), (w2, dw2), (b2, db2)): w -= rate * dw
    return loss


def xor_by_engine(x, y, ws, rate, linear=Linear(), relu=ReLU(), mse=MeanSquaredError()):
    "The same step with the engine."
    w1, b1, w2, b2 = ws
    loss = mse(linear(relu(linear(x, w1, b1)), w2, b2), y)
    for w in ws: w.grad = None
    loss.backward()
    for w in ws: w.data -= rate * w.grad
    return loss.item()


def xor(n=1000, target=2.3, rounds=9):
    "A thousand steps of XOR, all four rows, against raw NumPy."
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
    raw, ours = start((2, 5, 1), np.float64), [Tensor(w, requires_grad=True) for w in start((2, 5, 1), np.float64)]
    raced = race({"raw": (steps, xor_by_hand, x, y, raw, n, 1e-3),
                  "ours": (steps, xor_by_engine, Tensor(x), Tensor(y), ours, n, 1e-3)}, rounds)
    ratio = 1 / speedups(raced, "raw")["ours"]
    report(f"XOR 2-5-1, {n} steps", ratio, target, ratio <= target, times)


def walk(diamonds, n):
    "Seconds for each operator of a walk back through n of them, in a chain or in diamonds; and the gradient is right."
    y = x = Tensor(1.0, requires_grad=True)
    for _ in range(n // 3 if diamonds else n): y = 0.5 * y + 0.5 * y if diamonds else y * 1.0
    before = perf_counter()
    y.backward()
    seconds = perf_counter() - before
    assert x.grad == 1
    return seconds / n


if __name__ == "__main__":
    print("a training step with the engine, against the same step in raw NumPy")
    classifier((784, 50, 10), 64, 20, 1.25)
    classifier((784, 50, 10), 512, 5, 1.1)
    classifier((784, 512, 256, 10), 128, 2, 1.1)
    xor()
    for name, diamonds in (("a chain", False), ("diamonds", True)):
        walk(diamonds, 1000)
        ratio = min(walk(diamonds, 100_000) for _ in range(3)) / min(walk(diamonds, 1000) for _ in range(9))
        report(f"{name}: time for each of 100,000, against 1,000", ratio, 2.0, ratio <= 2, times)
    ms = importing("foundations.autograd") * 1e3
    report("import of foundations.autograd, above NumPy's", ms, 30, ms <= 30, lambda v: f"{v:.0f} ms")
    finish()
