"""What peers.py measured, as Markdown tables and as a figure of ratio bars.

    python benchmarks/peer_report.py FILE.json FIGURE.png
"""
import json, sys
from statistics import median

import numpy as np
from matplotlib.ticker import NullFormatter

from foundations.draw.canvas import BLUE, PALE, figure, open_axes

NOISY = 1.6


def spread(samples):
    "How far apart the samples are, without the tenth that is slowest and the tenth that is fastest."
    low, high = np.quantile(samples, (0.1, 0.9))
    return float(high / low)


def ratio(samples, base):
    "How many times as long: the median of the rounds' own ratios; what slows a whole round slows both."
    return median(x / b for x, b in zip(samples, base, strict=True))


def written(value, unit):
    if unit == "MB": return f"{value:.0f} MB"
    return f"{value * 1e6:.0f} µs" if value < 1e-3 else f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.2f} s"


def ratios(case):
    "Name -> ratio to the base, the fastest first; the base itself is 1."
    base = case["samples"][case["base"]]
    return dict(sorted(((name, ratio(x, base)) for name, x in case["samples"].items()), key=lambda pair: pair[1]))


def table(title, case):
    "A Markdown table of one case."
    unit, base = case["unit"], case["base"]
    lines = [f"**{title}**", "", f"| whose | median | spread | to {base} |", "|---|---:|---:|---:|"]
    for name, to_base in ratios(case).items():
        x = case["samples"][name]
        lines.append(f"| {name} | {written(median(x), unit)} | {spread(x):.2f}{' (noisy)' * (spread(x) > NOISY)} | {to_base:.2f} |")
    if case["left_out"]: lines += ["", "Left out: " + "; ".join(f"{name} ({why})" for name, why in case["left_out"].items())]
    return "\n".join(lines)


def tables(result):
    "All of them, and the machine."
    m = result["machine"]
    installed = ", ".join(f"{name} {v}" for name, v in m["versions"].items() if v)
    head = f"{m['processors']} processors ({m['kind']}), one thread; Python {m['python']}; {installed}"
    return "\n\n".join([head, *(table(f"{work}: {case}", one) for work, cases in result["found"].items() for case, one in cases.items())])


def bars(result, works):
    "A figure of ratio bars, a panel for each case of these works; left of the line is faster than the base."
    panels = [(f"{work}\n{case}", one) for work in works for case, one in result["found"].get(work, {}).items()]
    said = "; ".join(f"{title}: ".replace("\n", ", ") + ", ".join(f"{n} {r:.2f}" for n, r in ratios(one).items()) for title, one in panels)
    rows = -(-len(panels) // 2)
    fig = figure(8, 2.9 * rows, f"Ratios to the base, of times and of memory: the smaller, the faster or the less. {said}.")
    axes = fig.subplots(rows, 2, squeeze=False).ravel()
    for ax in axes[len(panels):]: ax.set_visible(False)
    for ax, (title, one) in zip(axes, panels):
        found = ratios(one)
        names, values = list(found)[::-1], list(found.values())[::-1]
        drawn = ax.barh(names, values, color=[BLUE if name.startswith(("ours", "foundations")) else PALE for name in names],
                        hatch=["//" if name.startswith(("ours", "foundations")) else "" for name in names], edgecolor="white")
        over = dict(zorder=3, bbox=dict(facecolor="white", edgecolor="none", pad=0.4))      # of the line at 1
        ax.bar_label(drawn, [f"{v:.2f}" for v in values], padding=3, fontsize=9, **over)
        ax.axvline(1, color="black", linewidth=0.8)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())          # 3 × 10⁻¹ beside 4 × 10⁻¹ cannot be read
        ax.margins(x=0.2)
        ax.set_title(title, fontsize=9)
        ax.tick_params(labelsize=9)
        ax.set_xlabel(f"{'memory' if one['unit'] == 'MB' else 'time'}, as a multiple of {one['base']}", fontsize=9)
        open_axes(ax)
    return fig


if __name__ == "__main__":
    with open(sys.argv[1]) as file: kept = json.load(file)
    bars(kept, [work for work in kept["found"] if work not in ("imports", "peak memory")]).savefig(sys.argv[2], dpi=120)
