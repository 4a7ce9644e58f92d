"""Crystals along a way, in a row."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nesf.crystal import Crystal
from nesf.plots.structures import draw, subscripted

_SHADES = ("0.93", "1.0")


class Panel(NamedTuple):
    """One stretch of the way.

    Attributes:
        crystal: what is drawn; None where there is none.
        title: a formula, or words.
        lines: what stands below.
        first: where the stretch begins, 0 to 1.
        last: where it ends.
    """

    crystal: Crystal | None
    title: str
    lines: Sequence[str]
    first: float
    last: float


def strip(
    panels: Sequence[Panel],
    t: Sequence[float],
    lengths: Sequence[tuple[float, float, float] | None],
    title: str,
    columns: int = 8,
) -> Figure:
    """Pictures of the stretches of a way, all to one scale, above the lengths of the cell along it.

    Args:
        panels: the stretches in order.
        t: places on the way, 0 to 1.
        lengths: a, b, c there, angstrom; None where there is no crystal.
        title: of the figure.
        columns: most pictures in a row.
    """
    rows = -(-len(panels) // columns)
    columns = max(-(-len(panels) // rows), 4)
    figure = Figure(figsize=(1.75 * columns, 2.3 * rows + 2.5), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[2.3] * rows + [1.8])
    places = [figure.add_subplot(grid[i // columns, i % columns]) for i in range(len(panels))]
    for number, (axes, panel) in enumerate(zip(places, panels, strict=True), start=1):
        _picture(axes, panel, number)
    _to_one_scale([axes for axes, panel in zip(places, panels, strict=True) if panel.crystal is not None])
    _lengths(figure.add_subplot(grid[rows, :]), panels, t, lengths)
    return figure


def _picture(axes: Axes, panel: Panel, number: int) -> None:
    axes.axis("off")
    if panel.crystal is None:
        axes.text(0.5, 0.5, "–", fontsize=20, color="0.6", ha="center", va="center", transform=axes.transAxes)
    else:
        draw(axes, panel.crystal)
    axes.set_title(f"{number}   {subscripted(panel.title)}", fontsize=10)
    where = f"t = {panel.first:.3g}" if panel.first == panel.last else f"t = {panel.first:.3g} – {panel.last:.3g}"
    text = "\n".join([where, *(line if len(line) <= 32 else line[:31] + "…" for line in panel.lines)])
    axes.text(0.5, -0.02, text, fontsize=7.5, ha="center", va="top", transform=axes.transAxes, parse_math=False)


def _to_one_scale(places: Sequence[Axes]) -> None:
    half = 0.58 * max((side for axes in places for side in axes.dataLim.size), default=1.0)
    for axes in places:
        x, y = sum(axes.get_xlim()) / 2, sum(axes.get_ylim()) / 2
        axes.set_xlim(x - half, x + half)
        axes.set_ylim(y - half, y + half)


def _lengths(
    axes: Axes, panels: Sequence[Panel], t: Sequence[float], lengths: Sequence[tuple[float, float, float] | None]
) -> None:
    edges = [0.0, *((one.last + two.first) / 2 for one, two in pairwise(panels)), 1.0]
    for number, (start, end) in enumerate(pairwise(edges), start=1):
        axes.axvspan(start, end, color=_SHADES[number % 2], linewidth=0, zorder=0)
        axes.text((start + end) / 2, 1.02, str(number), fontsize=7, ha="center", transform=axes.get_xaxis_transform())
    values = np.array([one or (np.nan,) * 3 for one in lengths])
    # From thick to thin, so that equal lengths do not hide each other.
    for i, (name, color) in enumerate(zip("abc", ("tab:blue", "tab:orange", "black"), strict=True)):
        axes.plot(t, values[:, i], color=color, linewidth=4.5 - 1.75 * i, label=name)
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("t, from the first crystal (0) to the second (1)")
    axes.set_ylabel("cell length [Å]")
    axes.legend(frameon=False, ncols=3, fontsize=8)
