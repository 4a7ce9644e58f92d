"""Pictures of a search for hyperparameters."""

from collections.abc import Collection, Sequence

from matplotlib.figure import Figure


def search_stage(
    labels: Sequence[str],
    atoms: Sequence[float],
    positions: Sequence[float | None],
    *,
    chosen: Collection[int] = (),
    published: Collection[int] = (),
    setting: str = "",
) -> Figure:
    """The two errors of each point that was tried, a row for each.

    Args:
        labels: what the points are called.
        atoms: crystals with a wrong number of atoms, %.
        positions: position error (actual), Å; None where nothing was found.
        chosen: the rows of the points that were chosen, filled.
        published: the rows of the points that the paper chose, their names in bold.
        setting: what the labels are values of.
    """
    figure = Figure(figsize=(8.0, 1.3 + 0.25 * len(labels)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    rows = range(len(labels))
    panels = ((left, atoms, "wrong number of atoms [%]"), (right, positions, "position error, actual [Å]"))
    for axes, values, name in panels:
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                fill = "tab:orange" if row in chosen else "white"
                axes.plot(value, row, "o", markersize=7, markerfacecolor=fill, markeredgecolor="tab:blue")
        axes.set_xlabel(name)
        axes.set_xlim(0.0, 1.05 * max((value for value in values if value), default=1.0))
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    left.set_yticks(rows, labels)
    left.set_ylim(len(labels) - 0.5, -0.5)
    left.set_ylabel(setting)
    for row, label in enumerate(left.get_yticklabels()):
        label.set_fontweight("bold" if row in published else "normal")
    right.tick_params(left=False)
    return figure
