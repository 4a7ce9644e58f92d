"""True and found structures side by side (Fig. 3 of the paper)."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nesf.crystal import Crystal, Failure
from nesf.data.datasets import Dataset
from nesf.errors import NesfError
from nesf.io.export import write_cifs
from nesf.metrics import Comparison, compare, errors_row
from nesf.plots import Caption, reconstructions
from nesf.studies.models import Model, called
from nesf.studies.outcome import Outcome, Picture, Table
from nesf.studies.rounding import angstrom

COUNT = 12
COLUMNS = 3
"""Pairs side by side."""
CRITERION = "mean position error (actual) of a crystal"
"""What crystals are ordered by."""


class Example(NamedTuple):
    """A crystal shown.

    Attributes:
        true: the crystal.
        found: what was found for it.
        rank: its place among all, the best is 0; None where it was named.
        among: how many all are.
    """

    true: Crystal
    found: Crystal | Failure
    rank: int | None = None
    among: int = 0


def study(
    model: Model,
    data: Dataset,
    *,
    ids: Sequence[str] = (),
    count: int = COUNT,
    cifs: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Show crystals beside what the model gives back of them: the named ones, or a choice that hides nothing.

    Without names, the crystals that the model takes are ordered by their mean position error, those that are not
    found last, and shown in steps of equally many from the best to the worst.

    Args:
        model: the model.
        data: where the crystals come from.
        ids: the crystals shown.
        count: how many are shown where none is named.
        cifs: a folder for the CIFs of both, every atom as it is, in ``true`` and ``found``; others there are removed.
        progress: called with the number of crystals done since its last call.

    Raises:
        NesfError: where an id is not in the data, or the model takes none of the crystals.
    """
    wanted = named(data, ids) if ids else [one for one in data.crystals if model.refusal(one) is None]
    if not wanted:
        raise NesfError(f"The model {model.card.name} takes none of the {len(data.crystals)} crystals of {data.name}.")
    pairs = list(zip(wanted, model.reconstruct(wanted, progress=progress), strict=True))
    shown = [Example(*pair) for pair in pairs] if ids else spread(pairs, count)
    if cifs is not None:
        _write_cifs([one.true for one in shown], cifs / "true")
        _write_cifs([one.found for one in shown], cifs / "found")
    choice = _choice(data, len(wanted), bool(ids))
    figure = reconstructions([one[:2] for one in shown], COLUMNS, [_caption(one) for one in shown])
    return Outcome(
        title="Reconstructions",
        summary=f"{len(shown)} crystals of {data.name} and what {called(model)} gives back of them. {choice}",
        values={"chosen_by": choice, "crystals": [_row(one) for one in shown]},
        tables={"reconstructions": _table(shown)},
        pictures={"reconstructions": Picture(figure, _explanation(choice))},
    )


def _write_cifs(crystals: Sequence[Crystal | Failure], folder: Path) -> None:
    """Write the CIFs into a folder, and remove those that an earlier study left in it."""
    written = write_cifs(crystals, folder, symmetrize=False)
    for path in set(folder.glob("*.cif")) - set(written):
        path.unlink()


def named(data: Dataset, ids: Iterable[str]) -> list[Crystal]:
    """The crystals of these ids, in their order; raises ``NesfError`` where there is none of a name."""
    by_id = {crystal.id: crystal for crystal in data.crystals}
    for name in ids:
        if name not in by_id:
            raise NesfError(f"{data.name} holds no crystal {name!r}; its first one is {data.crystals[0].id!r}.")
    return [by_id[name] for name in ids]


def spread(pairs: Sequence[tuple[Crystal, Crystal | Failure]], count: int) -> list[Example]:
    """Best, median and worst crystal by mean position error, and others at about equal steps of rank between.

    Failures are the worst.
    """

    def badness(i: int) -> tuple[float, str]:
        distances = compare(*pairs[i]).actual.distances
        return float(distances.mean()), pairs[i][0].id

    order = sorted(range(len(pairs)), key=badness)
    count = min(count, len(pairs))
    ranks = [round(step) for step in np.linspace(0, len(pairs) - 1, count).tolist()]
    if count != 2:
        # Of an even number none is in the middle; the one before it makes way for the median.
        ranks[(count - 1) // 2] = (len(pairs) - 1) // 2
    chosen = [(rank, pairs[order[rank]]) for rank in ranks]
    return [Example(true, found, rank, len(pairs)) for rank, (true, found) in chosen]


def _place(one: Example) -> str:
    if one.rank is None:
        return ""
    words = {0: "best, ", one.among - 1: "worst, ", (one.among - 1) // 2: "median, "} if one.among > 2 else {}
    return f" ({words.get(one.rank, '')}rank {one.rank + 1} of {one.among})"


def _choice(data: Dataset, n: int, by_name: bool) -> str:
    if by_name:
        return "They were chosen by name."
    refused = len(data.crystals) - n
    others = f"; {refused} others lie outside the model's range" if refused else ""
    return (
        "They are the best, the median, the worst and others at about equal steps of rank among "
        f"{n} crystals ordered by the {CRITERION}{others}."
    )


def _row(one: Example) -> dict[str, Any]:
    found = one.found.formula if isinstance(one.found, Crystal) else None
    row = errors_row(compare(one.true, one.found))
    rank = None if one.rank is None else one.rank + 1
    return {"id": row.pop("id"), "rank": rank, "formula": one.true.formula, "formula_found": found, **row}


def _table(shown: Sequence[Example]) -> Table:
    columns = {
        "id": "id",
        "rank": "rank",
        "formula": "formula",
        "formula_found": "formula found",
        "n_true": "atoms",
        "n_found": "atoms found",
        "position_actual": "position [Å]",
        "species_actual_percent": "species [%]",
        "length_error": "a, b, c [Å]",
        "angle_error": "angles [°]",
        "reason": "reason",
    }
    rows = [[row[key] for key in columns] for row in map(_row, shown)]
    note = "Mean errors of positions and species over the true atoms (actual), of lengths and angles over the axes."
    return Table("Crystals shown", list(columns.values()), rows, note)


def _caption(one: Example) -> Caption:
    comparison = compare(one.true, one.found)
    rings = comparison.detected.wrong_species.tolist(), comparison.actual.wrong_species.tolist()
    return Caption(one.true.id + _place(one), _errors(comparison), *rings)


def _errors(comparison: Comparison) -> str:
    if not comparison.found or comparison.length_errors is None:
        return f"not found ({comparison.n_true} atoms)"
    atoms = f"{comparison.n_true}"
    if comparison.n_found != comparison.n_true:
        atoms += f" → {comparison.n_found}"
    wrong = 100 * comparison.actual.wrong_species.mean()
    return (
        f"atoms {atoms} · positions {angstrom(float(comparison.actual.distances.mean()))}\n"
        f"species {wrong:.0f} % · lengths {angstrom(float(comparison.length_errors.mean()))}"
    )


def _explanation(choice: str) -> str:
    return (
        f"True (left) and found (right) structures, the two to one scale. {choice} Beneath each: the number of atoms, "
        "the mean position error and the share of wrong species over the true atoms, and the mean error of a, b, c. "
        "Drawn are the atoms listed in the cell, without their images; found atoms are ringed in vermilion where the "
        "nearest true atom is another element, true atoms where the nearest found atom is. Dotted edges lie behind the "
        "cell."
    )
