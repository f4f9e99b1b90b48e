"""What the benchmarks print: a line for each ratio, with its target; and the end of the run."""
import sys

from foundations.timing import factor

missed = []


def report(what, value, target=None, good=None, show=factor):
    "One line; remembers a target that was missed."
    good = target is None or (value >= target if good is None else good)
    print(f"  {what:44} {show(value):>10}" + ("" if target is None else f"   target {show(target):>8}   {'met' if good else 'MISSED'}"))
    if not good: missed.append(what)


def finish():
    "The last line; the run fails when a target was missed."
    print("all targets met" if not missed else f"missed: {', '.join(missed)}")
    sys.exit(bool(missed))
