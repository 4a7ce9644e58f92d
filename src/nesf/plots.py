"""Pictures of crystals and of measurements: data in, Figure out; nothing here shows or saves."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from nesf.crystal import Crystal
from nesf.elements import symbol

# An orthographic view from the front, turned a little to the right and up.
_TURN, _TILT = np.radians(25.0), np.radians(18.0)
VIEW = np.array(
    [
        [np.cos(_TURN), np.sin(_TURN), 0.0],
        [-np.sin(_TURN) * np.sin(_TILT), np.cos(_TURN) * np.sin(_TILT), np.cos(_TILT)],
        [np.sin(_TURN) * np.cos(_TILT), -np.cos(_TURN) * np.cos(_TILT), np.sin(_TILT)],
    ]
)
"""Rows: right and up on the page, and towards the viewer."""


def reconstructions(pairs: Sequence[tuple[Crystal, Crystal]], columns: int = 6) -> Figure:
    """True and found structures side by side, all to one scale.

    Args:
        pairs: the true crystal and the one found for it.
        columns: pairs in a row.
    """
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(columns * 3.0, rows * 1.75 + 0.6), layout="constrained")
    figure.suptitle("True (left) and found (right) structures", fontsize=13)
    boxes = figure.subfigures(rows, columns, squeeze=False).ravel()
    for box, (true, found) in zip(boxes, pairs, strict=False):
        title = true.id if true.formula == found.formula else f"{true.id} → {found.formula}"
        box.suptitle(title, fontsize=8, color="black" if true.formula == found.formula else "firebrick")
        for axes, crystal in zip(box.subplots(1, 2), (true, found), strict=True):
            draw(axes, crystal)
    return figure


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


def draw(axes: Axes, crystal: Crystal) -> None:
    """Draw the cell and the atoms listed in it, near ones over far ones, each with its symbol."""
    for start, end in _edges(crystal.cell):
        (x0, y0, _), (x1, y1, _) = VIEW @ start, VIEW @ end
        axes.plot([x0, x1], [y0, y1], color="0.7", linewidth=0.7, zorder=0)
    places = crystal.cart @ VIEW.T
    order = places[:, 2].argsort()
    for rank, (z, (x, y, _)) in enumerate(zip(crystal.numbers[order].tolist(), places[order], strict=True)):
        color = element_color(z)
        axes.scatter(x, y, s=95, color=[color], edgecolors="0.25", linewidths=0.5, zorder=2 * rank + 1)
        ink = "white" if sum(color) < 1.4 else "black"
        axes.text(x, y, symbol(z), fontsize=5.5, ha="center", va="center_baseline", color=ink, zorder=2 * rank + 2)
    axes.set_aspect("equal")
    axes.margins(0.2)
    axes.axis("off")


def element_color(number: int) -> tuple[float, float, float]:
    """A colour for an element: neighbours in the periodic table differ, heavy elements are darker."""
    hue = (number * 0.618034) % 1.0
    red, green, blue = matplotlib.colors.hsv_to_rgb((hue, 0.45, 1.0 - 0.45 * number / 118))
    return float(red), float(green), float(blue)


def _edges(cell: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    corners = [np.array(bits) for bits in np.ndindex(2, 2, 2)]
    pairs = [(p, q) for p in corners for q in corners if (q - p).sum() == 1 and (q >= p).all()]
    return [(p @ cell, q @ cell) for p, q in pairs]
