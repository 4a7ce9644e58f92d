"""Pictures of errors beside published ones."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter


def error_ratios(ratios: Mapping[str, Mapping[str, float]]) -> Figure:
    """Errors as multiples of others, on a logarithmic axis.

    Args:
        ratios: for each series (such as a split) the ratio by name of the metric.
    """
    names = list(dict.fromkeys(name for series in ratios.values() for name in series))
    figure = Figure(figsize=(7.2, 0.45 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    heights = np.arange(len(names))[::-1]
    for marker, (title, series) in zip("os^Dv", ratios.items(), strict=False):
        # An error of zero has no place on a logarithmic axis.
        shown = [(height, series[name]) for height, name in zip(heights, names, strict=True) if series.get(name, 0) > 0]
        axes.plot([x for _, x in shown], [y for y, _ in shown], marker, label=title, markersize=6, alpha=0.85)
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
    axes.legend(frameon=False, fontsize=8)
    return figure
