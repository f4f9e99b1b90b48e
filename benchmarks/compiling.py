"""What chapter 10 promises, measured: every number is a ratio within this run, timed in turns, on one thread.

    python benchmarks/compiling.py        (make bench runs all of them)
"""
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"                          # before any library is imported

from inspect import getsource
from time import perf_counter

import numpy as np
import torch

from engine import by_hand, start, steps, xor_by_hand
from foundations import language, nn
from foundations.autograd import CrossEntropy, Linear, MeanSquaredError, ReLU, Tensor
from foundations.compiling import compiled
from foundations.data import names
from foundations.timing import race, speedups
from foundations.training import AdamW
from report import finish, report, times

torch.set_num_threads(1)
LINEAR, RELU = Linear(), ReLU()
BACKENDS = ("numpy", "numba")


def step_of(ws, loss_func, rate=1e-3):
    "A step with the engine: linear layers with ReLU between them, a loss, the way back, SGD."
    def step(x, y):
        for i in range(0, len(ws), 2):
            x = LINEAR(x, ws[i], ws[i + 1])
            if i < len(ws) - 2: x = RELU(x)
        loss = loss_func(x, y)
        for w in ws: w.grad = None
        loss.backward()
        for w in ws: w.data -= rate * w.grad
        return loss
    return step


def ready(step, args, backend):
    "The compiled step after its first calls; and the seconds that these took."
    fast, before = compiled(step, backend), perf_counter()
    for _ in range(4): fast(*args)
    seconds = perf_counter() - before
    if fast.why or not fast.plans[0].proven: raise RuntimeError(fast.why)
    return fast, seconds


def again(step, n, x, y):
    for _ in range(n): step(x, y)


def compare(what, hand, loss_func, x, y, weights, n, targets, rounds=25):
    "A step compiled by each backend, against the step by hand and beside the engine; n steps a turn."
    args, ours = (Tensor(x), Tensor(y)), lambda: step_of([Tensor(w.copy(), requires_grad=True) for w in weights], loss_func)
    trials = {"hand": (steps, hand, x, y, [w.copy() for w in weights], n, 1e-3), "engine": (again, ours(), n, *args)}
    spent = {}
    for backend in BACKENDS:
        fast, spent[backend] = ready(ours(), args, backend)
        trials[backend] = (fast.repeat, n, *args)
    raced = race(trials, rounds, budget=0.03)
    faster = speedups(raced, "hand")
    report(f"{what}, the engine as it is", 1 / faster["engine"], show=times)
    for backend in BACKENDS:
        ratio = 1 / faster[backend]
        report(f"{what}, {backend}", ratio, targets[backend], ratio <= targets[backend], times)
        saved = (min(raced["engine"]) - min(raced[backend])) / n
        report(f"    compiled in {spent[backend]:.1f} s; paid after so many steps", spent[backend] / saved, show=lambda k: f"{k:,.0f}")


def classifier(sizes, batch, n, targets):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((batch, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], batch)
    compare(f"{'-'.join(map(str, sizes))}, batch {batch}", by_hand, CrossEntropy(), x, y, start(sizes), n, dict(zip(BACKENDS, targets)))


def xor(n=1000):
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
    compare(f"XOR 2-5-1, {n} steps", xor_by_hand, MeanSquaredError(), x, y, start((2, 5, 1), np.float64), n, dict(numpy=0.9, numba=0.1), rounds=9)


def gpt_step(model, optimizer, loss_func, tensor):
    def step(x, y):
        logits = model(tensor(x))
        loss = loss_func(logits.reshape(-1, 27), tensor(y).reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss
    return step


def language_model(batch=32, rounds=15):
    "A step of chapter 9's model with AdamW, against PyTorch's as it is."
    scope = dict(vars(language), nn=torch.nn, torch=torch)
    for part in (language.Attention, language.Block, language.GPT): exec(getsource(part), scope)
    ours, theirs = language.GPT(generator=np.random.default_rng(0)), scope["GPT"]()
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    def step_of_ours(model): return gpt_step(model, AdamW(model.parameters(), 0.01), nn.functional.cross_entropy, Tensor)
    plain = step_of_ours(ours)
    other = gpt_step(theirs, torch.optim.AdamW(theirs.parameters(), 0.01), torch.nn.functional.cross_entropy, torch.from_numpy)
    x, y = language.token_rows(names()[:batch])
    fast, spent = ready(step_of_ours(language.GPT(generator=np.random.default_rng(0))), (x, y), "numpy")   # a model of its own
    raced = race({"torch": (other, x, y), "numpy": (fast, x, y), "engine": (plain, x, y)}, rounds, budget=0.05)
    faster = speedups(raced, "torch")
    report("GPT, the engine as it is, against torch", 1 / faster["engine"], show=times)
    report("GPT, numpy, against torch", 1 / faster["numpy"], 1.0, faster["numpy"] >= 1, times)
    report(f"    compiled in {spent:.1f} s; paid after so many steps", spent / (min(raced["engine"]) - min(raced["numpy"])), show=lambda k: f"{k:,.0f}")


if __name__ == "__main__":
    print("a compiled training step, against the same step by hand in NumPy")
    classifier((784, 50, 10), 64, 20, (1.0, 0.9))
    classifier((784, 50, 10), 512, 5, (1.0, 0.95))
    classifier((784, 512, 256, 10), 128, 2, (1.0, 0.95))
    xor()
    language_model()
    finish()
