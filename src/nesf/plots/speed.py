"""Pictures of measured times."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter


def growth(series: Sequence[Mapping[str, Any]]) -> Figure:
    """Times against sizes, a panel with two logarithmic axes for each series.

    Args:
        series: each with ``title``, ``size`` and ``time`` (what the axes show) and ``points``, pairs of both.
    """
    figure = Figure(figsize=(4.0 * len(series), 3.4), layout="constrained")
    for axes, one in zip(figure.subplots(1, len(series), squeeze=False)[0], series, strict=True):
        sizes, times = zip(*one["points"], strict=True)
        axes.loglog(sizes, times, marker="o", color="tab:blue", label="measured")
        # Where time is proportional to size, points lie along this line.
        line = np.array([min(sizes), max(sizes)])
        axes.loglog(line, times[-1] * line / sizes[-1], color="0.7", linewidth=1.0, zorder=0, label="proportional")
        axes.set_title(one["title"], fontsize=11)
        axes.set_xlabel(one["size"])
        axes.set_ylabel(one["time"])
        axes.grid(which="major", color="0.9")
        for axis, values in ((axes.xaxis, sizes), (axes.yaxis, times)):
            # Within two decades, powers of ten alone are too few numbers to read.
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if max(values) < 100 * min(values) else (1.0,)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False, fontsize=8)
    return figure


def learning_curve(minutes: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Errors during a training, each as a multiple of the error to be reached.

    Args:
        minutes: when the model was measured.
        errors: by name of the metric, what was measured then, divided by what is to be reached.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, values in errors.items():
        axes.semilogy(minutes, values, marker="o", markersize=3, linewidth=1.2, label=name)
    axes.axhline(1.0, color="0.4", linewidth=1.0, linestyle="--")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("error / error to be reached")
    axes.grid(which="major", color="0.9")
    axes.legend(frameon=False, fontsize=8)
    return figure
