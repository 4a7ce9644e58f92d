"""Pictures of the errors of reconstruction."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

# Blue, vermilion and green of Okabe and Ito, which all readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73")


STYLES = (("o", "-"), ("s", ":"))
"""Marker and line of the variants of an error."""


class Band(NamedTuple):
    """A median and the band around it, against sizes.

    Attributes:
        sizes: ascending.
        low: lower edge of the band at each size.
        middle: median at each size.
        high: upper edge of the band at each size.
    """

    sizes: Sequence[int]
    low: Sequence[float]
    middle: Sequence[float]
    high: Sequence[float]


class Sweep(NamedTuple):
    """Errors against one parameter.

    Attributes:
        label: the parameter, with its unit.
        values: of the parameter, ascending.
        chosen: the value that is used.
        errors: by label of the error and name of its variant, the error at each value; None where nothing could be
            measured.
        partial: whether crystals are left out at each value.
    """

    label: str
    values: Sequence[float | int]
    chosen: float | int
    errors: Mapping[str, Mapping[str, Sequence[float | None]]]
    partial: Sequence[bool]


def errors_by_size(
    rows: Mapping[str, Mapping[str, Band]],
    counts: Mapping[str, Sequence[int]],
    size: str,
    logarithmic: Sequence[str] = (),
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Medians and bands of errors: a row of panels for each data set, a column for each error.

    Args:
        rows: by name of the data set, then by label of the error; all data sets have the same errors.
        counts: by name of the data set, how many crystals there are of each size of its first error.
        size: label of the horizontal axes.
        logarithmic: the errors whose axes are logarithmic, unless one is zero; all others reach at least one unit
            from zero.
        titles: by label of the error, what stands above its panels; by default the label.
    """
    labels = list(next(iter(rows.values())))
    lowest = {label: min((low for one in rows.values() for low in one[label].low), default=0.0) for label in labels}
    # A logarithmic axis has no place for zero, and none for nothing.
    logs = [label for label in logarithmic if lowest[label] > 0]
    figure = Figure(figsize=(4.2 * len(labels), 3.3 * len(rows) + 0.2), layout="constrained")
    panels = _panels(figure, list(rows), len(labels))
    for line, bands in zip(panels, rows.values(), strict=True):
        for axes, label, color in zip(line, labels, COLORS, strict=False):
            _draw_band(axes, bands[label], color)
            axes.set_ylabel(label)
            axes.set_xlabel(size)
            axes.set_title((titles or {}).get(label, label), fontsize=10)
            if label in logs:
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:g}")
    span = max((max(one.sizes) for bands in rows.values() for one in bands.values() if one.sizes), default=1)
    lines = max(
        _write_counts(axes, bands[labels[0]].sizes, counts[name], span)
        for axes, (name, bands) in zip(panels[:, 0], rows.items(), strict=True)
    )
    for number, (axes, label) in enumerate(zip(panels[0], labels, strict=True)):
        low, high = axes.get_ylim()
        if label in logs:
            axes.set_ylim(low * 0.8, high)
        else:
            low, high = min(low, -1.2), max(high, 1.2)
            # Counts of crystals stand at the top of the first panel.
            axes.set_ylim(low - 0.06 * (high - low), high + (0.06 if number else 0.1 + 0.09 * lines) * (high - low))
    for number, axes in enumerate(panels.ravel()):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(chr(ord("a") + number), loc="left", fontsize=11, fontweight="bold")
    for axes in panels[:, 0]:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _panels(figure: Figure, names: Sequence[str], columns: int) -> NDArray[np.object_]:
    """Panels in rows under the name of their data set; they share the horizontal axis, columns the vertical one."""
    parts = figure.subfigures(len(names), 1, squeeze=False)[:, 0]
    panels = np.array([part.subplots(1, columns, squeeze=False)[0] for part in parts])
    for part, name in zip(parts, names, strict=True):
        part.suptitle(name, fontsize=11, fontweight="bold", parse_math=False)
    for i, axes in enumerate(panels.ravel()):
        if i:
            axes.sharex(panels[0, 0])
        if i >= columns:
            axes.sharey(panels[0, i % columns])
    return panels


def _draw_band(axes: Axes, band: Band, color: str) -> None:
    # Bars, because a surface would claim something about the sizes between.
    heights = [high - low for low, high in zip(band.low, band.high, strict=True)]
    axes.bar(band.sizes, heights, bottom=band.low, width=0.7, color=color, alpha=0.3, linewidth=0)
    axes.plot(band.sizes, band.middle, color=color, linewidth=0.8, alpha=0.6)
    axes.scatter(band.sizes, band.middle, color=color, s=20, zorder=3)
    axes.grid(which="major", color="0.92")
    axes.set_axisbelow(True)


def _write_counts(axes: Axes, sizes: Sequence[int], counts: Sequence[int], span: int) -> int:
    """Write counts at the top, those that would meet in lines below each other; returns the number of lines."""
    ends: list[float] = []
    for x, n in zip(sizes, counts, strict=True):
        half = (0.011 * len(f"{n}") + 0.007) * span
        free = next((line for line, end in enumerate(ends) if end < x - half), len(ends))
        ends[free : free + 1] = [x + half]
        lower = axes.get_xaxis_transform() + ScaledTranslation(0, -(4 + 9.5 * free) / 72, axes.figure.dpi_scale_trans)
        axes.text(x, 1.0, f"{n}", transform=lower, ha="center", va="top", fontsize=8)
    return len(ends)


def sensitivity(sweeps: Sequence[Sweep]) -> Figure:
    """Errors against parameters: a row of panels for each parameter, a column for each error.

    The value that is used is marked by a dashed line; open symbols leave crystals out.
    """
    labels = list(sweeps[0].errors)
    figure = Figure(figsize=(3.3 * len(labels), 1.9 * len(sweeps) + 0.3), layout="constrained")
    panels = figure.subplots(len(sweeps), len(labels), squeeze=False, sharex="row", sharey="col")
    for column, (label, color) in enumerate(zip(labels, COLORS, strict=False)):
        panels[0, column].set_title(label, fontsize=10)
        for axes, sweep in zip(panels[:, column], sweeps, strict=True):
            axes.set_xlabel(sweep.label)
            axes.axvline(sweep.chosen, color="0.35", linewidth=1.0, linestyle="--", zorder=1)
            for (name, errors), style in zip(sweep.errors[label].items(), STYLES, strict=False):
                _draw_errors(axes, sweep, errors, color, style, name)
        if len(sweeps[0].errors[label]) > 1:
            panels[0, column].legend(fontsize=8, loc="upper left", framealpha=1.0, edgecolor="none")
    for row, sweep in zip(panels, sweeps, strict=True):
        _scale(row[0], sweep.values)
        for axes in row:
            axes.tick_params(labelsize=8.5, labelleft=True)
    for axes in panels[0]:
        # A little below zero, so that points on it are whole.
        axes.set_ylim(bottom=-0.04 * axes.get_ylim()[1])
    return figure


def _draw_errors(
    axes: Axes, sweep: Sweep, errors: Sequence[float | None], color: str, style: tuple[str, str], name: str
) -> None:
    marker, line = style
    known = [(x, y, part) for x, y, part in zip(sweep.values, errors, sweep.partial, strict=True) if y is not None]
    places = [x for x, _, _ in known], [y for _, y, _ in known]
    axes.plot(*places, color=color, linewidth=1.2, linestyle=line, marker=marker, markersize=4, label=name, zorder=2)
    partial = [(x, y) for x, y, part in known if part]
    axes.scatter(
        [x for x, _ in partial], [y for _, y in partial], s=16, marker=marker, color="white", edgecolors=color, zorder=3
    )
    axes.grid(which="major", color="0.92")
    axes.set_axisbelow(True)


def _scale(axes: Axes, values: Sequence[float | int]) -> None:
    """A logarithmic axis where values span a factor of ten."""
    if min(values) > 0 and max(values) >= 10 * min(values):
        axes.set_xscale("log")
        # Every second or third value is written, so that no two labels meet.
        axes.set_xticks(list(values)[:: -(-len(values) // 4)])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
