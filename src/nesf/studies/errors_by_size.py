"""Errors against the number of atoms in the cell (Fig. 4 of the paper)."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nesf.data.datasets import Dataset
from nesf.errors import NesfError
from nesf.metrics import per_crystal_table
from nesf.plots import Band, errors_by_size
from nesf.studies.models import Model, called
from nesf.studies.outcome import Outcome, Picture, Table

LEAST = 10
"""The paper leaves out sizes with fewer crystals."""
BAND = (16.0, 50.0, 84.0)
"""Percentiles: the median, and the 68 % around it."""
SIZE = "atoms in the true cell"
ERRORS = {
    "count": "atoms found − true",
    "position": "position error (actual) [Å]",
    "species": "species error (actual) [%]",
}
"""The three errors of a crystal, with their labels."""
TITLES = {
    ERRORS["count"]: "number of atoms (above: crystals)",
    ERRORS["position"]: "mean position error",
    ERRORS["species"]: "wrong species",
}
"""What stands above the panels, by label."""


def study(
    model: Model, data: Sequence[Dataset], *, least: int = LEAST, progress: Callable[[int], None] | None = None
) -> Outcome:
    """Reconstruct data sets and show the errors of their crystals against the number of atoms in the true cell.

    The error of the count is signed: found minus true. A crystal that is refused or not found has no atoms found, all
    its species wrong, and no position error.

    Args:
        model: the model.
        data: the data sets, a row of panels each.
        least: sizes with fewer crystals are left out.
        progress: called with the number of crystals done since its last call.

    Raises:
        NesfError: where a data set has no size with so many crystals.
    """
    sizes: dict[str, list[dict[str, Any]]] = {}
    for one in data:
        # Files of different folders may have one name.
        name = one.name if one.name not in sizes else f"{one.name} ({len(sizes) + 1})"
        sizes[name] = by_size(errors_of_crystals(model, one, progress), least)
    for name, rows in sizes.items():
        if all(row["left_out"] for row in rows):
            most = max(row["crystals"] for row in rows)
            raise NesfError(f"{name} has at most {most} crystals of one size; lower --least, which is {least}.")
    figure = errors_by_size(
        {name: {ERRORS[key]: _band(rows, key) for key in ERRORS} for name, rows in sizes.items()},
        {name: [row["crystals"] for row in rows if not row["left_out"]] for name, rows in sizes.items()},
        SIZE,
        logarithmic=[ERRORS["position"]],
        titles=TITLES,
    )
    return Outcome(
        title="Errors against the number of atoms",
        summary=" ".join([f"By {called(model)}.", *(_said(name, rows, least) for name, rows in sizes.items())]),
        values={"least": least, "percentiles": list(BAND), "data": sizes},
        tables={"errors_by_size": _table(sizes)},
        pictures={"errors_by_size": Picture(figure, _caption(model, least))},
    )


def errors_of_crystals(
    model: Model, data: Dataset, progress: Callable[[int], None] | None = None
) -> list[dict[str, Any]]:
    """Size and the three errors of each crystal; the position error of one that was not found is None."""
    found = model.reconstruct(data.crystals, progress=progress)
    return [
        {
            "size": row["n_true"],
            "count": row["n_found"] - row["n_true"],
            "position": row["position_actual"],
            "species": row["species_actual_percent"],
        }
        for row in per_crystal_table(zip(data.crystals, found, strict=True))
    ]


def by_size(errors: Sequence[Mapping[str, Any]], least: int) -> list[dict[str, Any]]:
    """A row for each size, ascending, with the percentiles of the three errors over its crystals.

    A size with fewer than ``least`` crystals is there, too, and says that it is left out. Position errors are
    those of the crystals that were found: ``failures`` were not; where none was, they are None.
    """
    groups: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for one in errors:
        groups[one["size"]].append(one)
    return [
        {
            "size": size,
            "crystals": len(group),
            "failures": sum(one["position"] is None for one in group),
            "left_out": len(group) < least,
            **{key: _percentiles([one[key] for one in group if one[key] is not None]) for key in ERRORS},
        }
        for size, group in sorted(groups.items())
    ]


def _percentiles(values: Sequence[float | int]) -> list[float] | None:
    return np.percentile(values, BAND).tolist() if values else None


def _band(rows: Sequence[Mapping[str, Any]], key: str) -> Band:
    shown = [row for row in rows if not row["left_out"] and row[key] is not None]
    low, middle, high = ([row[key][i] for row in shown] for i in range(len(BAND)))
    return Band([row["size"] for row in shown], low, middle, high)


def _table(sizes: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    heads = ["data", "atoms", "crystals", "failed"]
    for key, unit in (("count", ""), ("position", " [Å]"), ("species", " [%]")):
        heads += [f"{key}, p{percentile:g}{unit}" for percentile in BAND]
    rows = [
        [name, row["size"], row["crystals"], row["failures"]]
        + [value for key in ERRORS for value in row[key] or [None] * len(BAND)]
        for name, rows in sizes.items()
        for row in rows
        if not row["left_out"]
    ]
    note = (
        "Percentiles over the crystals of a size: p50 is the median, p16 to p84 the 68 % around it. Position errors "
        "are those of the crystals that were found; a crystal that failed has no atoms found."
    )
    return Table("Errors against the number of atoms", heads, rows, note)


def _said(name: str, rows: Sequence[Mapping[str, Any]], least: int) -> str:
    shown, rare = [row for row in rows if not row["left_out"]], [row for row in rows if row["left_out"]]
    crystals = sum(row["crystals"] for row in shown)
    right = sum(row["crystals"] for row in shown if row["count"] == [0.0, 0.0, 0.0])
    sentence = (
        f"{name}: {crystals} crystals of {len(shown)} sizes; {right} of them are of sizes at which at least 68 % of "
        "the crystals come back with the right number of atoms."
    )
    if rare:
        lost = sum(row["crystals"] for row in rare)
        sentence += f" {len(rare)} sizes with fewer than {least} crystals ({lost} in all) are left out."
    return sentence


def _caption(model: Model, least: int) -> str:
    return (
        f"Errors of the crystals that {called(model)} gives back, against the number of atoms in the true cell: "
        "signed error of the number of atoms, mean position error and share of wrong species over the true atoms of "
        "each crystal. Points are medians, bars hold 68 % of the crystals (16th to 84th percentile). The first panels "
        f"say how many crystals there are; sizes with fewer than {least} are left out."
    )
