"""What the page on shapes promises, measured: a function with its checks, against its bare formula, in one run on one thread.

    python benchmarks/shapes.py        (make bench runs all of them)
"""
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"                          # before any library is imported

import numpy as np

from foundations.backward import linear_grad, relu_grad
from foundations.forward import cross_entropy, linear, relu, subtraction
from foundations.shapes import shapes
from foundations.timing import race, speedups
from report import finish, report, times


def against_bare(what, f, *args, target=None, rounds=31):
    "The time of a call with checks, as a multiple of the call without."
    raced = race({"bare": (f.__wrapped__, *args), "checked": (f, *args)}, rounds, budget=0.02, pause=0.001)
    ratio = 1 / speedups(raced, "bare")["checked"]
    report(what, ratio, target, target is None or ratio <= target, times)


def nothing(x, w, b): return x


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    small, layer = (draw(4, 3), draw(3, 5), draw(5)), (draw(64, 784), draw(784, 50), draw(50))
    print("a call with its checks, against the bare formula")
    checked = shapes("n n_in, n_in n_out, n_out -> n n_out")(nothing)
    against_bare("a formula that does nothing, three arrays", checked, *small, target=12)
    against_bare("linear, (4, 3) @ (3, 5)", linear, *small, target=1.4)
    against_bare("linear, (64, 784) @ (784, 50)", linear, *layer, target=1.1)
    against_bare("linear_grad, the same", linear_grad, draw(64, 50), *layer, target=1.1)
    against_bare("relu, (4, 3)", relu, small[0], target=1.2)
    against_bare("relu, (64, 50)", relu, draw(64, 50), target=1.2)
    against_bare("relu_grad, (64, 50)", relu_grad, draw(64, 50), draw(64, 50), target=1.25)
    against_bare("subtraction, (64, 50)", subtraction, draw(64, 50), draw(50), target=1.4)
    against_bare("cross_entropy, (64, 10)", cross_entropy, draw(64, 10), rng.integers(0, 10, 64), target=1.35)
    against_bare("linear in float16, converted and rounded", linear, *[x.astype(np.float16) for x in layer])
    try: import torch
    except ImportError: print("  (PyTorch is not installed: its line is missing)")
    else:
        torch.set_num_threads(1)
        against_bare("linear on tensors, (64, 784) @ (784, 50)", linear, *map(torch.from_numpy, layer), target=1.25)
    finish()
