"""Whether two crystals are the same structure: pymatgen's StructureMatcher, with the tolerances of CDVAE."""

from functools import cache
from typing import TYPE_CHECKING

from nesf.crystal import Crystal
from nesf.io.structures import quiet, to_pymatgen

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher

STOL = 0.5
"""Largest displacement of a match, as a share of (volume / atoms)^(1/3)."""
LTOL = 0.3
"""Largest difference of lengths, as a share of them."""
ANGLE_TOL_DEGREES = 10.0


def rms_distance(found: Crystal, true: Crystal) -> float | None:
    """Root mean square displacement between two crystals, as a share of (volume / atoms)^(1/3); None if no match.

    Both are reduced to primitive cells and scaled to one volume first, and the origin is free, as are pymatgen's
    defaults; so a crystal matches its supercell and its like of another size.

    Raises:
        Exception: whatever pymatgen raises where it cannot reduce a cell.
    """
    with quiet():
        distances = _matcher().get_rms_dist(to_pymatgen(found), to_pymatgen(true))
    return None if distances is None else float(distances[0])


@cache
def _matcher() -> "StructureMatcher":
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(ltol=LTOL, stol=STOL, angle_tol=ANGLE_TOL_DEGREES)
