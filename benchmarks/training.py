"""What chapter 8 promises, measured: every number is a ratio within this run, timed in turns, on one thread.

    python benchmarks/training.py        (make bench runs all of them)
"""
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"                          # before any library is imported

from time import perf_counter

import numpy as np
import torch

from foundations import nn
from foundations.data import mnist, normalize
from foundations.timing import race, speedups
from foundations.training import SGD, DataLoader, Dataset, fit
from report import finish, report, times

torch.set_num_threads(1)


def model_of(nn): return nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))


def epoch(model, optimizer, loss_func, x, y, size):
    "The same loop for both: slices in order, so that only the libraries differ."
    for i in range(0, len(x), size):
        loss = loss_func(model(x[i:i + size]), y[i:i + size])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def epochs(x, y, size, target, rounds=15, **options):
    "An epoch of ours against one of PyTorch's, from the same weights; and both end at the same ones."
    ours, theirs = model_of(nn), model_of(torch.nn)
    ours.load_state_dict(theirs.state_dict())
    mine = ours, SGD(ours.parameters(), lr=1e-3, **options), nn.CrossEntropyLoss(), x, y, size
    other = (theirs, torch.optim.SGD(theirs.parameters(), lr=1e-3, **options), torch.nn.CrossEntropyLoss(),
             torch.from_numpy(x), torch.from_numpy(y), size)
    epoch(*mine)
    epoch(*other)
    for p, t in zip(ours.parameters(), theirs.parameters(), strict=True): assert abs(p.data - t.detach().numpy()).max() < 1e-4
    ratio = 1 / speedups(race({"torch": (epoch, *other), "ours": (epoch, *mine)}, rounds), "torch")["ours"]
    report(f"an epoch, batch {size}{', momentum and decay' * bool(options)}", ratio, target, ratio <= target, times)


def fits(x, y, size, rounds=9):
    "What `fit` and `DataLoader` add: an epoch with them, shuffled, against the bare loop in order."
    model = model_of(nn)
    optimizer, loader = SGD(model.parameters(), lr=1e-3), DataLoader(Dataset(x, y), size, shuffle=True)
    raced = race({"bare": (epoch, model, optimizer, nn.CrossEntropyLoss(), x, y, size),
                  "fit": (lambda: fit(model, optimizer, loader, show=False),)}, rounds)
    report(f"fit, shuffled, against the bare loop, batch {size}", 1 / speedups(raced, "bare")["fit"], show=times)


def reads(size, width, epochs, least, within=None):
    "The share of validation digits that are read after `epochs`, trained much as in chapter 8; and the seconds it took."
    x, y, xv, yv = mnist(size)
    rng, mean, std, before = np.random.default_rng(0), x.mean(), x.std(), perf_counter()
    model = nn.Sequential(nn.Linear(784, width, generator=rng), nn.ReLU(), nn.Linear(width, 10, generator=rng))
    batches = DataLoader(Dataset(normalize(x, mean, std), y), 64, shuffle=True, generator=rng)
    valid = DataLoader(Dataset(normalize(xv, mean, std), yv), 500)
    run = fit(model, SGD(model.parameters(), lr=0.02, momentum=0.8, weight_decay=1e-4), batches, valid, epochs, show=False)
    seconds, right = perf_counter() - before, run.checks[-1][2]
    report(f"{size} set, 784-{width}-10, {epochs} epochs: read", right, least, right >= least, lambda share: f"{share:.1%}")
    if within: report("    and seconds for it", seconds, within, seconds <= within, lambda s: f"{s:.1f} s")


if __name__ == "__main__":
    print("784-50-10 on the small set, one thread: our nn and SGD against torch.nn and torch.optim.SGD")
    x, y, *_ = mnist()
    x = normalize(x, x.mean(), x.std())
    epochs(x, y, 64, 1.0)
    epochs(x, y, 512, 1.2)
    epochs(x, y, 64, 1.0, momentum=0.9, weight_decay=1e-4)
    fits(x, y, 64)
    reads("small", 50, 15, 0.94, within=30)
    if "FOUNDATIONS_DATA" in os.environ: reads("full", 200, 8, 0.975)
    finish()
