"""Predicted against true values."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nesf.shapes import Float


class Parity(NamedTuple):
    """The points of one panel.

    Attributes:
        true: true values.
        predicted: predicted ones.
        title: by what they are predicted.
        quantity: what is predicted, with its unit.
        score: what stands in the corner.
    """

    true: Float[NDArray[np.float64], " n"]
    predicted: Float[NDArray[np.float64], " n"]
    title: str
    quantity: str
    score: str


def parities(rows: Sequence[Sequence[Parity]]) -> Figure:
    """Predicted against true values: a row of panels for each quantity, a column for each way to predict it."""
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(2.9 * columns, 2.9 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for i, row in enumerate(rows):
        limits = _limits(row)
        for j, (axes, one) in enumerate(zip(panels[i], row, strict=False)):
            _panel(axes, one, limits)
            axes.set_title(one.title if i == 0 else "", fontsize=11)
            axes.set_xlabel(f"true {one.quantity}", fontsize=8, parse_math=False)
            axes.set_ylabel("predicted" if j == 0 else "", fontsize=8)
        for axes in panels[i, len(row) :]:
            axes.axis("off")
    return figure


def _panel(axes: Axes, one: Parity, limits: tuple[float, float]) -> None:
    axes.axline((0.0, 0.0), slope=1.0, color="0.6", linewidth=1.0, zorder=0)
    size = float(np.clip(3000 / max(len(one.true), 1), 4.0, 16.0))
    axes.scatter(one.true, one.predicted, s=size, color="tab:blue", alpha=0.55, linewidths=0)
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    axes.tick_params(labelsize=8)
    ground = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    axes.text(0.04, 0.96, one.score, fontsize=8, va="top", transform=axes.transAxes, bbox=ground)


def _limits(row: Sequence[Parity]) -> tuple[float, float]:
    """One range for all panels of a row, so that they can be compared."""
    values = np.concatenate([part for one in row for part in (one.true, one.predicted)])
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
