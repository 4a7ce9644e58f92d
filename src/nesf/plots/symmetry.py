"""How much of the symmetry comes back, against the tolerance it is searched with."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

COLORS = ("tab:blue", "tab:gray", "tab:red")
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
        chosen: the tolerance that is marked.
    """
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, values), color in zip(shares.items(), COLORS, strict=False):
        _draw(left, tolerances, values, color, name)
    for (name, (values, without)), color in zip(errors.items(), COLORS, strict=False):
        _draw(right, tolerances, values, color, name)
        if without is not None:
            right.axhline(without, color=color, linewidth=1.0, linestyle="--")
    left.set_ylabel("crystals [%]")
    left.set_ylim(-2, 102)
    right.set_ylabel("position error [Å]")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        _finish(axes, tolerances, chosen)
    return figure


def _draw(axes: Axes, tolerances: Sequence[float], values: Values, color: str, name: str) -> None:
    known = [(x, y) for x, y in zip(tolerances, values, strict=True) if y is not None]
    places = [x for x, _ in known], [y for _, y in known]
    axes.plot(*places, color=color, marker="o", markersize=4, linewidth=1.2, label=name)


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
