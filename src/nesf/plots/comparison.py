"""Pictures of errors beside published ones."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter


def error_ratios(ratios: Mapping[str, Mapping[str, float]]) -> Figure:
    """Errors as multiples of others, on a logarithmic axis from 0.05 to 20.

    Args:
        ratios: for each series (such as a split) the ratio by name of the metric.
    """
    # What lies outside is drawn at the edge, hollow: an error near zero has no place on a logarithmic axis.
    low, high = 0.05, 20.0
    names = list(dict.fromkeys(name for series in ratios.values() for name in series))
    figure = Figure(figsize=(7.2, 0.45 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    heights = np.arange(len(names))[::-1]
    for number, (marker, (title, series)) in enumerate(zip("os^Dv", ratios.items(), strict=False)):
        color = f"C{number}"
        shown = [(height, series[name]) for height, name in zip(heights, names, strict=True) if name in series]
        inside = [(x, y) for y, x in shown if low <= x <= high]
        outside = [(min(max(x, low), high), y) for y, x in shown if not low <= x <= high]
        axes.plot([x for x, _ in inside], [y for _, y in inside], marker, color=color, label=title, markersize=6)
        axes.plot([x for x, _ in outside], [y for _, y in outside], marker, color=color, fillstyle="none", markersize=6)
    axes.axvline(1.0, color="0.4", linewidth=1.0, linestyle="--")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(heights, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("error / published error")
    axes.grid(which="major", axis="both", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
