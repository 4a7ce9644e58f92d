"""One row of errors for each crystal, for tables and files."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from nesf.crystal import Crystal, Failure
from nesf.metrics.atom_errors import atom_errors
from nesf.metrics.matching import Comparison, compare
from nesf.metrics.means import Mean
from nesf.metrics.score import check_same_id


def per_crystal_table(
    pairs: Iterable[tuple[Crystal, Crystal | Failure]], periodic: bool = False
) -> list[dict[str, Any]]:
    """The errors of each crystal, in the order given; units as in ``COLUMNS``.

    Args:
        pairs: true crystals and what was found for them.
        periodic: whether the errors of the atoms are the periodic variants.

    Returns:
        Rows with the keys id, n_true, n_found, position_actual, position_detected,
        species_actual_percent, species_detected_percent, length_error, angle_error, ok and reason.
        ``ok`` says that there is a crystal, not that it is right; where there is none, ``reason``
        says why and what cannot be measured is None.

    Raises:
        NesfError: where the two of a pair have different ids.
    """
    rows = []
    for true, found in pairs:
        check_same_id(true, found)
        rows.append(errors_row(compare(true, found, periodic)))
    return rows


def errors_row(comparison: Comparison) -> dict[str, Any]:
    """The row of one crystal; see ``per_crystal_table``."""
    lengths, angles = comparison.length_errors, comparison.angle_errors
    return {
        "id": comparison.id,
        "n_true": comparison.n_true,
        "n_found": comparison.n_found,
        **asdict(atom_errors([comparison])),
        "length_error": None if lengths is None else Mean(lengths.tolist()).value,
        "angle_error": None if angles is None else Mean(angles.tolist()).value,
        "ok": comparison.found,
        "reason": comparison.reason,
    }
