"""What the benchmarks print: a line for each ratio, with its target; and the end of the run."""
import os, subprocess, sys

from foundations.timing import factor

missed = []


def report(what, value, target=None, good=None, show=factor):
    "One line; remembers a target that was missed."
    good = target is None or (value >= target if good is None else good)
    print(f"  {what:44} {show(value):>10}" + ("" if target is None else f"   target {show(target):>8}   {'met' if good else 'MISSED'}"))
    if not good: missed.append(what)


def times(ratio): return f"{ratio:.2f}x"      # for targets that are close to 1


def importing(module):
    "Seconds to import it, in a fresh interpreter that has NumPy already; the least of nine."
    code = "import time, numpy; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}      # compiled once, as on any machine
    return min(float(subprocess.run([sys.executable, "-c", code.format(module)], capture_output=True, check=True, env=env).stdout)
               for _ in range(9))


def finish():
    "The last line; the run fails when a target was missed."
    print("all targets met" if not missed else f"missed: {', '.join(missed)}")
    sys.exit(bool(missed))
