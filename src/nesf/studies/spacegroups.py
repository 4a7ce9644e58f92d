"""Which space groups come back, as decoded and after projection, against the tolerance."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple

from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.io import SpaceGroup, space_group, symmetrize
from nesf.metrics import Comparison, Tally, compare
from nesf.plots import symmetry_recovery
from nesf.studies.outcome import Outcome, Picture, Table
from nesf.studies.rounding import SMALL, angstrom

TOLERANCES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Å; with 0 the crystals stay as they are decoded."""
TIGHT_ANGSTROM = 0.01
"""The groups of true and of projected crystals are those found within this."""
HEADS = (
    "tolerance [Å]",
    "right as decoded [%]",
    "right, projected [%]",
    "with right atoms [%]",
    "higher [%]",
    "changed [%]",
    "nearer [%]",
    "mean x [Å]",
    "median x [Å]",
    "lengths [Å]",
    "angles [°]",
)


@dataclass(frozen=True)
class Row:
    """What one tolerance does; shares in % of all crystals, where not said otherwise.

    Attributes:
        tolerance: in angstrom.
        found_percent: the right group is found within the tolerance in the crystal as decoded.
        right_percent: the projected crystal has the right group.
        right_with_atoms_percent: likewise, of the crystals decoded with the right number of atoms and species.
        higher_percent: the projected crystal has another group, with more operations in the cell than the true one.
        changed_percent: projection has moved something.
        nearer_percent: of those, the mean position error has become smaller.
        position_mean: mean over all true atoms of the distance to the nearest atom found, angstrom.
        position_median: median over the crystals found of their means of it, angstrom.
        length_error: mean absolute error of the lengths, angstrom.
        angle_error: mean absolute error of the angles, degrees.
    """

    tolerance: float
    found_percent: float | None
    right_percent: float | None
    right_with_atoms_percent: float | None
    higher_percent: float | None
    changed_percent: float | None
    nearer_percent: float | None
    position_mean: float | None
    position_median: float | None
    length_error: float | None
    angle_error: float | None


class Case(NamedTuple):
    """One crystal and one tolerance; the space group of a crystal that was not found is None.

    Attributes:
        true: the true group.
        found: the group found within the tolerance in the crystal as decoded.
        projected: the group of the projected crystal.
        changed: whether projection has moved something.
        before: the crystal as decoded, compared with the true one.
        after: likewise the projected one.
    """

    true: SpaceGroup
    found: SpaceGroup | None
    projected: SpaceGroup | None
    changed: bool
    before: Comparison
    after: Comparison


def study(model: Codec, crystals: Sequence[Crystal], *, progress: Callable[[int], None] | None = None) -> Outcome:
    """Decode crystals once, and project them onto the space groups found within each tolerance.

    Crystals that the model refuses or does not find count as not recovered.

    Args:
        model: the model.
        crystals: the true crystals.
        progress: called with the number of tolerances done since its last call.
    """
    found = model.reconstruct(crystals)
    true = [space_group(crystal, TIGHT_ANGSTROM) for crystal in crystals]
    rows = []
    for tolerance in TOLERANCES:
        rows.append(measure(crystals, true, found, tolerance))
        (progress or (lambda _: None))(1)
    best, lost = recommended(rows), sum(isinstance(one, Failure) for one in found)
    return Outcome(
        title="Space groups that come back",
        summary=_summary(rows, best, len(crystals), lost),
        values={
            "crystals": len(crystals),
            "failures": lost,
            "true_in_p1": sum(group.number == 1 for group in true),
            "recommended_angstrom": best.tolerance,
            "rows": [asdict(row) for row in rows],
        },
        tables={"spacegroups": _table(rows)},
        pictures={"spacegroups": _picture(model, len(crystals), rows, best)},
    )


def measure(
    crystals: Sequence[Crystal], true: Sequence[SpaceGroup], found: Sequence[Crystal | Failure], tolerance: float
) -> Row:
    """What projection with one tolerance does to the crystals found.

    Args:
        crystals: the true crystals.
        true: their space groups.
        found: what was decoded for each.
        tolerance: in angstrom; 0 changes nothing, and groups as decoded are then those within ``TIGHT_ANGSTROM``.
    """
    after, cases = Tally(), []
    for crystal, group, one in zip(crystals, true, found, strict=True):
        new = symmetrize(one, tolerance) if isinstance(one, Crystal) else one
        groups = _group(one, tolerance or TIGHT_ANGSTROM), _group(new, TIGHT_ANGSTROM)
        cases.append(Case(group, *groups, new is not one, compare(crystal, one), after.add(crystal, new)))
    score = after.score()
    positions = [_position(case.after) for case in cases if case.after.found]
    return Row(
        tolerance=tolerance,
        found_percent=_percent(_is(case.found, case.true) for case in cases),
        right_percent=_percent(_is(case.projected, case.true) for case in cases),
        right_with_atoms_percent=_percent(_is(case.projected, case.true) for case in cases if _right(case.before)),
        higher_percent=_percent(_is_higher(case.projected, case.true) for case in cases),
        changed_percent=_percent(case.changed for case in cases),
        nearer_percent=_percent(_position(case.after) < _position(case.before) for case in cases if case.changed),
        position_mean=score.position_actual,
        position_median=median(positions) if positions else None,
        length_error=score.length_error,
        angle_error=score.angle_error,
    )


def recommended(rows: Sequence[Row]) -> Row:
    """The smallest tolerance with the most crystals in their true group."""
    return max(rows, key=lambda row: (row.right_percent or 0.0, -row.tolerance))


def _group(one: Crystal | Failure, tolerance: float) -> SpaceGroup | None:
    return space_group(one, tolerance) if isinstance(one, Crystal) else None


def _is(group: SpaceGroup | None, true: SpaceGroup) -> bool:
    return group is not None and group.number == true.number


def _is_higher(group: SpaceGroup | None, true: SpaceGroup) -> bool:
    return group is not None and group.number != true.number and group.operations > true.operations


def _right(comparison: Comparison) -> bool:
    return comparison.n_true == comparison.n_found and not comparison.actual.wrong_species.any()


def _position(comparison: Comparison) -> float:
    return float(comparison.actual.distances.mean())


def _percent(flags: Any) -> float | None:
    values = list(flags)
    return 100.0 * sum(values) / len(values) if values else None


def _table(rows: Sequence[Row]) -> Table:
    note = (
        "Right: the true space group, found within the tolerance in the crystal as decoded, and within "
        f"{TIGHT_ANGSTROM:g} Å in the crystal projected onto what was found; then likewise, of those with the right "
        "number of atoms and species. Higher: another group with more operations. Changed: moved by the projection; "
        "of these nearer: with a smaller position error. Errors are those of the projected crystals that were found; x "
        "is the position, its mean over atoms and its median over crystals. Tolerance 0: as decoded."
    )
    return Table("Space groups against the tolerance", HEADS, [_cells(row) for row in rows], note)


def _cells(row: Row) -> list[float | None]:
    """The values of a row by one rule for each column: shares with one decimal, errors with three digits or two."""
    return [_rounded(name, value) for name, value in asdict(row).items()]


def _rounded(name: str, value: float | None) -> float | None:
    if value is None or name == "tolerance":
        return value
    return round(value, 1) if name.endswith("percent") else float(f"{value:.{2 if value < SMALL else 3}g}")


def _summary(rows: Sequence[Row], best: Row, n: int, lost: int) -> str:
    raw = rows[0]
    before, after = _errors(raw), _errors(best)
    if before is None or after is None:
        return f"None of {n} crystals was found."
    decoded = (
        f"Of {n} crystals {lost} were not found. As decoded, {raw.right_percent:.1f} % have their true space group "
        f"within {TIGHT_ANGSTROM:g} Å"
    )
    if best.tolerance == 0:
        return (
            f"{decoded} and need no projection: no tolerance gives more of them their group. The median position error "
            f"is {before[0]}, its mean over all atoms {before[1]}."
        )
    return (
        f"{decoded}; projected onto the group found within {best.tolerance:g} Å, "
        f"{best.right_percent:.1f} % have it exactly, {best.higher_percent:.1f} % another with more operations. The "
        f"median position error goes from {before[0]} to {after[0]}, its mean over all atoms from {before[1]} to "
        f"{after[1]}."
    )


def _errors(row: Row) -> tuple[str, str] | None:
    """The position errors of a row in words: the median and the mean."""
    if row.position_median is None or row.position_mean is None:
        return None
    return angstrom(row.position_median, 4), angstrom(row.position_mean, 4)


def _picture(model: Codec, n: int, rows: Sequence[Row], best: Row) -> Picture:
    moved = [row for row in rows if row.tolerance > 0]
    figure = symmetry_recovery(
        [row.tolerance for row in moved],
        {
            "right, projected": [row.right_percent for row in moved],
            "right, as decoded": [row.found_percent for row in moved],
            "too many operations": [row.higher_percent for row in moved],
        },
        {
            "mean over atoms": ([row.position_mean for row in moved], rows[0].position_mean),
            "median crystal": ([row.position_median for row in moved], rows[0].position_median),
        },
        best.tolerance,
    )
    marked = (
        f"The vertical line is at {best.tolerance:g} Å, where most groups are right."
        if best.tolerance > 0
        else "No tolerance is marked: with none are more groups right than in the crystals as decoded."
    )
    caption = (
        f"{n} crystals decoded by {model.card.name}. Left: crystals with their true space group, found within the "
        "tolerance as decoded, and exactly after projection onto the group found; and projected crystals with more "
        f"operations than the truth. Right: position errors after projection; dashed: as decoded. "
        f"{marked}"
    )
    return Picture(figure, caption)
