"""Pictures of the errors of reconstruction."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

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
) -> Figure:
    """Medians and bands of errors: a row of panels for each data set, a column for each error.

    Args:
        rows: by name of the data set, then by label of the error; all data sets have the same errors.
        counts: by name of the data set, how many crystals there are of each size of its first error.
        size: label of the horizontal axes.
        logarithmic: the errors whose axes are logarithmic, unless one is zero; all others reach at least one unit
            from zero.
    """
    labels = list(next(iter(rows.values())))
    lowest = {label: min((low for one in rows.values() for low in one[label].low), default=0.0) for label in labels}
    # A logarithmic axis has no place for zero, and none for nothing.
    logs = [label for label in logarithmic if lowest[label] > 0]
    figure = Figure(figsize=(3.6 * len(labels), 2.7 * len(rows) + 0.3), layout="constrained")
    panels = figure.subplots(len(rows), len(labels), squeeze=False, sharex=True, sharey="col")
    for line, (name, bands) in zip(panels, rows.items(), strict=True):
        for axes, label, color in zip(line, labels, COLORS, strict=False):
            _draw_band(axes, bands[label], color)
            axes.set_ylabel(label)
            axes.set_title(name, fontsize=10, parse_math=False)
            if label in logs:
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:g}")
        _write_counts(line[0], bands[labels[0]].sizes, counts[name])
    for axes, label in zip(panels[0], labels, strict=True):
        low, high = axes.get_ylim()
        if label in logs:
            axes.set_ylim(low * 0.8, high)
        else:
            # Counts of crystals stand at the top of the first panel.
            room = 0.06 * (high - low)
            axes.set_ylim(min(low - room, -1.2), max(high, 1.2) + 2 * room)
    for axes in panels[-1]:
        axes.set_xlabel(size)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for number, axes in enumerate(panels.ravel()):
        axes.tick_params(labelbottom=True, labelleft=True)
        axes.set_title(chr(ord("a") + number), loc="left", fontsize=11, fontweight="bold")
    return figure


def _draw_band(axes: Axes, band: Band, color: str) -> None:
    # Bars, because a surface would claim something about the sizes between.
    heights = [high - low for low, high in zip(band.low, band.high, strict=True)]
    axes.bar(band.sizes, heights, bottom=band.low, width=0.7, color=color, alpha=0.3, linewidth=0)
    axes.plot(band.sizes, band.middle, color=color, linewidth=0.8, alpha=0.6)
    axes.scatter(band.sizes, band.middle, color=color, s=20, zorder=3)
    axes.grid(which="major", color="0.92")
    axes.set_axisbelow(True)


def _write_counts(axes: Axes, sizes: Sequence[int], counts: Sequence[int]) -> None:
    above: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top", "rotation": 90}
    for x, n in zip(sizes, counts, strict=True):
        axes.text(x, 0.98, f"{n}", fontsize=6.5, color="0.35", **above)


def sensitivity(sweeps: Sequence[Sweep]) -> Figure:
    """Errors against parameters: a column of panels for each parameter, a row for each error.

    The value that is used is marked by a dashed line; open symbols leave crystals out.
    """
    labels = list(sweeps[0].errors)
    figure = Figure(figsize=(2.1 * len(sweeps) + 0.5, 1.9 * len(labels) + 0.5), layout="constrained")
    panels = figure.subplots(len(labels), len(sweeps), squeeze=False, sharex="col", sharey="row")
    for row, (label, color) in enumerate(zip(labels, COLORS, strict=False)):
        panels[row, 0].set_ylabel(label)
        for axes, sweep in zip(panels[row], sweeps, strict=True):
            axes.axvline(sweep.chosen, color="0.35", linewidth=1.0, linestyle="--", zorder=1)
            for (name, errors), style in zip(sweep.errors[label].items(), STYLES, strict=False):
                _draw_errors(axes, sweep, errors, color, style, name)
        if len(sweeps[0].errors[label]) > 1:
            panels[row, 0].legend(fontsize=7.5, loc="upper left", framealpha=1.0, edgecolor="none")
    for axes, sweep in zip(panels[-1], sweeps, strict=True):
        axes.set_xlabel(sweep.label)
        _scale(axes, sweep.values)
    for axes in panels[:, 0]:
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
    axes.tick_params(labelsize=8)
