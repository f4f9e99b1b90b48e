"""What chapter 10 promises, measured: every number is a ratio within this run, timed in turns, on one thread.

    python benchmarks/compiling.py        (make bench runs all of them)
"""
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"                          # before any library is imported

import math
from time import perf_counter


from autograd import steps
from foundations.autograd import Tensor
from foundations.compiling import compiled
from foundations.timing import race, speedups
from report import report, times

BACKENDS = ("numpy", "numba")


def compiling(step, args, backend):
    "The compiled step, ready; and the seconds that its first calls took beyond as many later ones."
    fast, before = compiled(step, backend), perf_counter()
    for _ in range(4): fast(*args)
    first, before = perf_counter() - before, perf_counter()
    for _ in range(4): fast(*args)
    if fast.why: raise RuntimeError(fast.why)
    return fast, first - (perf_counter() - before)


def compare(what, hand, eager, x, y, weights, n, targets, rounds=25):
    "A step by hand, with the engine, and compiled by each backend; n steps in each turn."
    tx, ty, rate = Tensor(x), Tensor(y), 1e-3
    ours = lambda: [Tensor(w.copy(), requires_grad=True) for w in weights]
    trials = {"hand": (steps, hand, x, y, [w.copy() for w in weights], n, rate), "engine": (steps, eager, tx, ty, ours(), n, rate)}
    spent = {}
    for backend in BACKENDS:
        def step(x, y, ws=ours()):
            return eager(x, y, ws, rate)
        fast, spent[backend] = compiling(step, (tx, ty), backend)
        trials[backend] = (steps, lambda x, y, ws, rate, fast=fast: fast(x, y), tx, ty, None, n, None)
    raced = race(trials, rounds)
    faster = speedups(raced, "hand")
    for backend in BACKENDS:
        ratio = 1 / faster[backend]
        report(f"{what}, {backend}", ratio, targets[backend], ratio <= targets[backend], times)
        saved = (min(raced["engine"]) - min(raced[backend])) / n
        report("    and the steps after which compiling has paid", math.ceil(spent[backend] / saved), show=lambda k: f"{k:,}")
    report("    the engine as it is", 1 / faster["engine"], show=times)
