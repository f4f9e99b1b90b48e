"""What chapter 5 promises, measured: every number is a ratio within this run, timed in turns, on one thread.

    python benchmarks/layers.py        (make bench runs all of them)
"""
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"                          # before any library is imported

import numpy as np
import torch

from foundations.layers import Linear, Model, MSELoss, ReLU
from foundations.timing import race, speedups
from report import finish, report

torch.set_num_threads(1)


def against_autograd(rows=50_000, rounds=7):
    "Forward and backward through 784 -> 50 -> 1: our layers on tensors, and torch's autograd, both with the gradient of x."
    generator = torch.Generator().manual_seed(0)
    x, targ, w1, w2 = (torch.randn(s, generator=generator) for s in ((rows, 784), (rows,), (784, 50), (50, 1)))
    w1, w2, b1, b2 = w1 * 0.05, w2 * 0.2, torch.zeros(50), torch.zeros(1)
    model = Model([Linear(w1, b1), ReLU(), Linear(w2, b2)], MSELoss())
    leaves = [v.clone().requires_grad_() for v in (x, w1, b1, w2, b2)]

    def ours():
        x.g = None
        model.zero_grad()
        model(x, targ)
        model.backward()

    def autograd():
        for leaf in leaves: leaf.grad = None
        x, w1, b1, w2, b2 = leaves
        hidden = torch.relu(torch.addmm(b1, x, w1))
        torch.nn.functional.mse_loss(torch.addmm(b2, hidden, w2)[:, 0], targ).backward()

    ours(), autograd()
    for v, leaf in zip((x, w1, b1, w2, b2), leaves): assert (v.g - leaf.grad).abs().max() <= 1e-4 * leaf.grad.abs().max()
    times = race({"autograd": (autograd,), "ours": (ours,)}, rounds)
    ratio = 1 / speedups(times, "autograd")["ours"]
    print(f"({rows}, 784) -> 50 -> 1 on tensors, forward and backward, against torch's autograd")
    report("time of our layers", ratio, 1.1, ratio <= 1.1)


def weight_gradient(rows=5_000, rounds=5):
    "x.T @ dout three ways, where the table of all products is just under a gigabyte."
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal((rows, 784), dtype=np.float32), rng.standard_normal((rows, 50), dtype=np.float32)
    ways = {"outer product": lambda: (x[:, :, None] * dout[:, None, :]).sum(0), "matrix product": lambda: x.T @ dout,
            "einsum": lambda: np.einsum("bi,bj->ij", x, dout, optimize=True)}
    print(f"the weight gradient of ({rows}, 784) and ({rows}, 50), against the outer product of each row, summed")
    faster = speedups(race({name: (f,) for name, f in ways.items()}, rounds), "outer product")
    for name in ("einsum", "matrix product"): report(name, faster[name], 30)


if __name__ == "__main__":
    against_autograd()
    weight_gradient()
    finish()
