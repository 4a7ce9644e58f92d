"""Latent vectors in the plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from nesf.shapes import Float, Int

SYSTEM_COLORS = ("#000000", "#b07aa1", "#4e79a7", "#76b7b2", "#59a14f", "#f28e2b", "#e15759")
"""Of the seven crystal systems, from low symmetry to high."""


def map_figure(
    places: Float[NDArray[np.float64], "n 2"],
    volume: Float[NDArray[np.float64], " n"],
    atoms: Int[NDArray[np.int64], " n"],
    system: Int[NDArray[np.int64], " n"],
    systems: Sequence[str],
) -> Figure:
    """Points in the plane, in three panels: coloured by volume, number of atoms and crystal system.

    Args:
        places: of the points.
        volume: of the cells, cubic angstrom.
        atoms: in the cells.
        system: index of the crystal system in ``systems``.
        systems: names of the crystal systems.
    """
    figure = Figure(figsize=(14.0, 4.4), layout="constrained")
    panels = figure.subplots(1, 3)
    # What lies on top is left to chance, so that no kind of crystal hides another.
    order = np.random.default_rng(0).permutation(len(places))
    x, y = places[order].T
    size = float(np.clip(30_000 / len(places), 3.0, 40.0))
    for axes, letter in zip(panels, "abc", strict=True):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal")
        axes.set_title(letter, loc="left", fontweight="bold")
    _continuous(panels[0], (x, y, volume[order]), size, Normalize(), "cell volume [Å³]")
    _continuous(panels[1], (x, y, atoms[order]), size, LogNorm(), "atoms in the cell")
    colors = np.array(SYSTEM_COLORS)[system[order]]
    panels[2].scatter(x, y, s=size, c=colors, linewidths=0)
    there = sorted(set(system.tolist()))
    marks = [Line2D([], [], linestyle="", marker="o", color=SYSTEM_COLORS[i], label=systems[i]) for i in there]
    legend = panels[2].legend(handles=marks, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    legend.set_title("crystal system", {"size": 9})
    return figure


def _continuous(axes: Axes, points: Any, size: float, norm: Normalize, label: str) -> None:
    x, y, values = points
    drawn = axes.scatter(x, y, s=size, c=values, cmap="viridis", norm=norm, linewidths=0)
    # Inside the axes' own frame, so that it is as high as the panel.
    bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.02, 0.0, 0.05, 1.0)), label=label)
    if isinstance(norm, LogNorm):
        ticks = [tick for tick in (1, 2, 3, 5, 8, 12, 20, 30, 50) if values.min() <= tick <= values.max()]
        bar.set_ticks(ticks, labels=[str(tick) for tick in ticks])
        bar.minorticks_off()
