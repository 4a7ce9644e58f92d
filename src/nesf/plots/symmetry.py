"""How much of the symmetry comes back, against the tolerance it is searched with."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

STYLES = (("tab:blue", 3.5, 8.0), ("0.2", 1.0, 4.0), ("tab:red", 1.25, 4.0))
"""Colour, width and size of the marks: from thick to thin, so that equal curves do not hide each other."""
APART = 100
"""Where errors differ by more than such a factor, their axis is logarithmic."""
Values = Sequence[float | None]


def symmetry_recovery(
    tolerances: Sequence[float],
    shares: Mapping[str, Values],
    errors: Mapping[str, tuple[Values, float | None]],
    chosen: float,
) -> Figure:
    """Shares of crystals beside their position errors.

    Args:
        tolerances: in angstrom, ascending and positive.
        shares: by name, in % for each tolerance.
        errors: by name, position errors in angstrom for each tolerance, and without projection (a dashed line).
        chosen: the tolerance that is marked; none is where it is 0.
    """
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, values), style in zip(shares.items(), STYLES, strict=False):
        _draw(left, tolerances, values, style, name)
    for (name, (values, without)), style in zip(errors.items(), STYLES, strict=False):
        _draw(right, tolerances, values, style, name)
        if without is not None:
            right.axhline(without, color=style[0], linewidth=1.0, linestyle="--")
    left.set_ylabel("crystals [%]")
    left.set_ylim(-2, 102)
    right.set_ylabel("position error [Å]")
    drawn = [one for values, without in errors.values() for one in (*values, without) if one is not None]
    if drawn and 0 < APART * min(drawn) < max(drawn):
        right.set_yscale("log")
    else:
        right.set_ylim(bottom=0)
    for axes in (left, right):
        _finish(axes, tolerances, chosen)
    return figure


def _draw(axes: Axes, tolerances: Sequence[float], values: Values, style: tuple[str, float, float], name: str) -> None:
    known = [(x, y) for x, y in zip(tolerances, values, strict=True) if y is not None]
    places = [x for x, _ in known], [y for _, y in known]
    color, width, size = style
    axes.plot(*places, color=color, marker="o", markersize=size, linewidth=width, label=name)


def _finish(axes: Axes, tolerances: Sequence[float], chosen: float) -> None:
    axes.set_xscale("log")
    axes.set_xticks([x for x in tolerances if x in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("tolerance [Å]")
    if chosen > 0:
        axes.axvline(chosen, color="0.6", linewidth=1.0, zorder=0)
    axes.grid(which="major", color="0.92")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, framealpha=1.0, edgecolor="none")
