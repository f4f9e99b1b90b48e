"""What chapter 1 promises, measured: every number is a ratio within this run, timed in turns, on one thread.

    python benchmarks/matmul.py        (make bench runs all of them)

Prints one table for each promise, with its target, and fails when a target is missed.
"""
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"                          # before any library is imported
from statistics import median

import numpy as np

from foundations.matmul import (compiled, loops_ijk, loops_ikj, matmul, matmul_broadcast, matmul_compiled, matmul_einsum, matmul_lists,
                                matmul_loops, matmul_rowcol)
from foundations.timing import race, speedups
from report import finish, importing, report

def ladder(rounds=7):
    "The rungs at (32, 784) @ (784, 100), against the triple loop on arrays."
    rng = np.random.default_rng(0)
    a, b = rng.random((32, 784), dtype=np.float32), rng.standard_normal((784, 100), dtype=np.float32)
    rungs = {f.__name__: (f, a, b) for f in (matmul_loops, matmul_rowcol, matmul_broadcast, matmul_einsum, matmul_compiled, matmul)}
    rungs |= {"matmul_lists": (matmul_lists, a.tolist(), b.tolist()), "a @ b, bare": (np.matmul, a, b)}
    faster = speedups(race(rungs, rounds), "matmul_loops")
    targets = {"matmul_rowcol": 80, "matmul_broadcast": 400, "matmul": 15_000}
    print("(32, 784) @ (784, 100), float32, against matmul_loops")
    for name, x in faster.items(): report(name, x, targets.get(name))


def kernel(rounds=15):
    "matmul_compiled as a share of NumPy's `@`."
    print("matmul_compiled as a share of `@`, one thread")
    for dtype in (np.float32, np.float64):
        for n in (256, 512, 1024, 2048):
            a, b = np.random.default_rng(n).standard_normal((2, n, n)).astype(dtype)
            times = race({"@": (np.matmul, a, b), "compiled": (matmul_compiled, a, b)}, rounds)
            target = 0.4 if (n, dtype) == (1024, np.float32) else None
            report(f"{n} x {n} {np.dtype(dtype).name}", speedups(times, "@")["compiled"], target, show=lambda x: f"{x:.0%}")


def loop_order(rounds=3):
    "The compiled loops in two orders, and what ijk lacks: neighbours in memory, sums in any order, or both."
    for n in (250, 500, 1000, 1024):
        print(f"compiled loops at {n} x {n} float32, against ijk")
        a, b, c = np.random.default_rng(n).standard_normal((3, n, n), dtype=np.float32)
        strict, free, columns = compiled(loops_ijk), compiled(loops_ijk, "reassoc"), np.asfortranarray(b)
        trials = {"ijk": (strict, a, b, c), "ijk, neighbours": (strict, a, columns, c), "ijk, any order": (free, a, b, c),
                  "ijk, both": (free, a, columns, c), "ikj": (compiled(loops_ikj), a, b, c)}
        times = race(trials, rounds)
        for name, x in speedups(times, "ijk").items(): report(name, x)
        report("ijk itself", 2 * n**3 / median(times["ijk"]) / 1e9, show=lambda x: f"{x:.2f} GFLOP/s")


if __name__ == "__main__":
    ladder()
    kernel()
    loop_order()
    ms = importing("foundations.matmul") * 1e3
    report("import of foundations.matmul, above NumPy's", ms, 50, ms <= 50, lambda v: f"{v:.0f} ms")
    finish()
