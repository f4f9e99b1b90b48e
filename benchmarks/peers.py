"""The peers beside us: the same work in each library, timed in turns A B C A B C, on one thread, from the same weights.

    python benchmarks/peers.py                      (make bench runs all benchmarks)
    python benchmarks/peers.py --keep FILE.json     and keep the numbers, for peer_report.py and the page on peers

Each output is compared before anything is timed. What is not installed is named and left out: pip install '.[peers]'.
A target is judged only where the run was quiet; a noisy one says so. Exit status 1 names the targets that were missed.
"""
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"                          # before any library is imported
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("DEV", "CPU")                 # tinygrad's device

import argparse, gc, json, platform, subprocess, sys, time
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from peer_report import NOISY, ratio, spread, tables
from peer_steps import WORKS

ROWS, ROUNDS, SECONDS, BUDGET = 50_000, (7, 31), 0.03, 20      # each sample, and the rounds of a case together, in seconds
PLAN = [                                            # work, {case: argument}, whom ratios are to, how near outputs must be
    ("the matrix product", {"512 × 512 × 512": (512, 512, 512), "64 × 784 × 50": (64, 784, 50)}, "NumPy by hand", 1e-3),
    ("layers on many rows", {f"{ROWS:,} rows": ROWS}, "NumPy by hand", 1e-3),
    ("a training step", {"784-50-10, batch 64": ((784, 50, 10), 64), "784-50-10, batch 512": ((784, 50, 10), 512),
                         "784-512-256-10, batch 128": ((784, 512, 256, 10), 128)}, "NumPy by hand", 1e-4),
    ("XOR, 200 steps", {"2-5-1": 200}, "NumPy by hand", 1e-2),
    ("an epoch of the small digits", {"batch 64": 64}, "NumPy by hand", 1e-3),
    ("backward through a graph", {f"{shape} of {n:,}": (shape, n) for shape in ("chain", "diamonds") for n in (100, 1000, 5000)}, "torch", 1e-6),
]
STEPS, EAGER = "a training step", "ours"
TARGETS = [                                         # work, case, who, against whom, at most
    ("the matrix product", "512 × 512 × 512", "ours, matmul", "NumPy by hand", 1.1),
    ("layers on many rows", f"{ROWS:,} rows", "ours, layers", "torch", 1.1),
    *[(STEPS, case, EAGER, "torch", 1.2) for case in ("784-50-10, batch 512", "784-512-256-10, batch 128")],
    *[(STEPS, case, "ours, compiled", "NumPy by hand", 1.0) for case in PLAN[2][1]],
    *[(STEPS, case, "ours, compiled by numba", "NumPy by hand", most) for case, most in zip(PLAN[2][1], (0.9, 0.95, 0.95))],
    (STEPS, "784-50-10, batch 64", "ours, compiled", "jax.jit", 1.0),
    ("XOR, 200 steps", "2-5-1", "ours, compiled", "NumPy by hand", 0.9),
    *[("XOR, 200 steps", "2-5-1", who, "NumPy by hand", 0.1) for who in ("ours, compiled by numba", "ours, numba, in one call")],
    ("XOR, 200 steps", "2-5-1", EAGER, "torch", 1.0),
    *[("backward through a graph", case, EAGER, "autograd", 1.0) for case in PLAN[5][1]],
    ("imports", "a fresh interpreter", "foundations.training", "torch", 1.0),
]
IMPORTS = ["numpy", "foundations.training", "torch", "jax", "autograd.numpy", "mygrad", "tinygrad", "micrograd.engine"]
LIBRARIES = ["numpy", "torch", "jax", "autograd", "mygrad", "tinygrad", "micrograd", "numba"]


def why(error): return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:90]}"


def flat(value): return np.concatenate([np.ravel(np.asarray(v, float)) for v in (value if isinstance(value, (list, tuple)) else [value])])


def ready(makers, argument, near):
    "Each library's work, its third output compared with the first library's; those that cannot, and why."
    runs, left_out, expected = {}, {}, None
    for name, make in makers.items():
        try:
            run = make(argument)
            for _ in range(3): out = flat(run())             # warm, compiled, and two updates have been made
        except Exception as error:                           # whatever a peer raises: it is named
            left_out[name] = why(error)
            continue
        expected = out if expected is None else expected
        apart = np.abs(out - expected).max() / np.abs(expected).max() if out.shape == expected.shape else np.inf
        if apart <= near: runs[name] = run
        else: left_out[name] = f"its result differs by {apart:.0e}"
    return runs, left_out


def seconds(run, times):
    before = time.perf_counter()
    for _ in range(times): run()
    return (time.perf_counter() - before) / times


def race(runs):
    "Samples of seconds for each, in turns; each sample lasts about as long. Rounds are many and short."
    loops = {name: max(1, int(SECONDS / seconds(run, 1))) for name, run in runs.items()}
    found, (fewest, most) = {name: [] for name in runs}, ROUNDS
    end = time.perf_counter() + BUDGET
    for i in range(most):
        if i >= fewest and time.perf_counter() > end: break
        for name, run in runs.items():
            gc.collect()
            time.sleep(0.01)                                 # idle threads of the library before spin a while
            found[name].append(seconds(run, loops[name]))
    return found


def fresh(code, *args):
    "What a program prints, in an interpreter of its own."
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, cwd=os.path.dirname(os.path.abspath(__file__)),
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
    if done.returncode: raise ImportError(done.stderr.strip().splitlines()[-1])
    return float(done.stdout.split()[-1])


PEAK = """
import sys
from peer_steps import WORKS
run = WORKS["layers on many rows"][sys.argv[1]](64)
run()                                               # imported, compiled for a few rows
run = WORKS["layers on many rows"][sys.argv[1]](int(sys.argv[2]))
def megabytes(name):                                # of Linux; getrusage's peak may be that of who started this
    with open("/proc/self/status") as file: return int(next(line for line in file if line.startswith(name)).split()[1]) / 1024
before = megabytes("VmRSS")
with open("/proc/self/clear_refs", "w") as file: file.write("5")         # the peak begins here
run()
print(megabytes("VmHWM") - before)
"""
IMPORTING = "import sys, time, importlib; t = time.perf_counter(); importlib.import_module(sys.argv[1]); print(time.perf_counter() - t)"


def in_turns(code, names, rounds, *args):
    "For each name the numbers that a fresh interpreter prints; and why for those that cannot."
    found, left_out = {name: [] for name in names}, {}
    for _ in range(rounds):
        for name in names:
            if name in left_out: continue
            try: found[name].append(fresh(code, name, *args))
            except ImportError as error: left_out[name] = str(error)[:90]
    return {name: x for name, x in found.items() if x}, left_out


def measured(only=None):
    "All that was measured: work -> case -> what it is in, whom ratios are to, samples, left out."
    found = {}
    for work, cases, base, near in PLAN:
        if only and only not in work: continue
        for case, argument in cases.items():
            runs, left_out = ready(WORKS[work], argument, near)
            found.setdefault(work, {})[case] = dict(unit="s", base=base, samples=race(runs), left_out=left_out)
            print(".", end="", flush=True, file=sys.stderr)
    if not only or only in "peak memory":
        runs, wrong = ready(WORKS["layers on many rows"], 1000, 1e-3)        # only of those whose gradients are right
        samples, left_out = in_turns(PEAK, runs, 1, ROWS)
        found["peak memory"] = {f"layers on {ROWS:,} rows": dict(unit="MB", base="NumPy by hand", samples=samples, left_out=wrong | left_out)}
    if not only or only in "imports":
        samples, left_out = in_turns(IMPORTING, IMPORTS, 3)
        found["imports"] = {"a fresh interpreter": dict(unit="s", base="numpy", samples=samples, left_out=left_out)}
    return found


def machine():
    "In general words: how many processors, which Python, which versions."
    versions = {}
    for name in LIBRARIES:
        try: versions[name] = version(name)
        except PackageNotFoundError: versions[name] = None
    return dict(processors=os.cpu_count(), kind=platform.machine(), system=platform.system(), python=platform.python_version(), versions=versions)


def judged(found):
    "For each target a line (met, missed, noisy, or not measured), and its name if it was missed."
    for work, case, who, base, most in TARGETS:
        here = found.get(work, {}).get(case, dict(samples={}))["samples"]
        what = f"{who} / {base}, {work}, {case}"
        if who not in here or base not in here:
            yield f"  {what}: not measured", None
            continue
        to_base, apart = ratio(here[who], here[base]), max(spread(here[who]), spread(here[base]))
        verdict = "met" if to_base <= most else f"too noisy to judge (spread {apart:.1f})" if apart > NOISY else "MISSED"
        yield f"  {what}: {to_base:.2f}, target {most:.2f}: {verdict}", what if verdict == "MISSED" else None


def main():
    parser = argparse.ArgumentParser(description="Our engine and its peers, timed in turns.")
    parser.add_argument("--keep", help="a JSON file for the numbers; with --only, the others in it stay")
    parser.add_argument("--only", help="a part of a work's name")
    said = parser.parse_args()
    result = dict(machine=machine(), found=measured(said.only))
    if said.keep and said.only and os.path.exists(said.keep):        # a part anew, the rest as it was
        with open(said.keep) as file: result["found"] = json.load(file)["found"] | result["found"]
    if said.keep:
        with open(said.keep, "w") as file: json.dump(result, file, indent=1)
    print(tables(result))
    lines = list(judged(result["found"]))
    print(*[line for line, _ in lines], sep="\n")
    missed = [name for _, name in lines if name]
    print("all targets met, of those that could be judged" if not missed else f"missed: {'; '.join(missed)}")
    sys.exit(bool(missed))


if __name__ == "__main__": main()
