"""Crystals as textbooks print them: space group, lattice constants and one site of each orbit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from nesf.crystal import Crystal
from nesf.errors import NesfError
from nesf.io.structures import from_pymatgen, one_line, quiet

CLOSEST_ANGSTROM = 0.5


def from_wyckoff(
    id: str,
    space_group: str | int,
    lengths: Sequence[float | int],
    angles_deg: Sequence[float | int],
    sites: Iterable[tuple[str, Sequence[float | int]]],
    properties: Mapping[str, Any] | None = None,
) -> Crystal:
    """The contents of the cell that a space group makes of one site of each orbit.

    Args:
        id: name of the crystal.
        space_group: Hermann-Mauguin symbol ("Fm-3m", "P6_3mc") or international number. Where the group has
            two origins, a suffix chooses one ("Fd-3m:1", "Fd-3m:2"); without it, pymatgen's choice is taken,
            which is origin 1. Rhombohedral groups take hexagonal axes, or ":R" for rhombohedral ones.
        lengths: a, b, c in angstrom.
        angles_deg: alpha, beta, gamma in degrees.
        sites: chemical symbol and fractional coordinates of one site of each orbit. Write thirds to at least
            six digits: the images of a rounded special position fall beside it.
        properties: further columns of the crystal.

    Raises:
        NesfError: where the group is unknown or does not fit the cell, or two atoms are closer than 0.5 Å.

    >>> si = from_wyckoff("Si", "Fd-3m:1", (5.431,) * 3, (90,) * 3, [("Si", (0, 0, 0))], {"source": "book"})
    >>> len(si), si.properties["source"]
    (8, 'book')
    """
    from pymatgen.core import Lattice, Structure

    sites = list(sites)
    try:
        with quiet():
            lattice = Lattice.from_parameters(*lengths, *angles_deg)
            species, frac = [symbol for symbol, _ in sites], [coords for _, coords in sites]
            symbol = _known(space_group)
            _group(symbol)
            structure = Structure.from_spacegroup(symbol, lattice, species, frac)
    except Exception as error:  # pymatgen raises many kinds here
        raise NesfError(f"Crystal {id!r} in space group {space_group!r} cannot be built: {one_line(error)}.") from None
    _check_apart(structure, id)
    return replace(from_pymatgen(structure, id), properties=dict(properties or {}))


def _known(space_group: str | int) -> str | int:
    """The symbol in a spelling that pymatgen lists: with a suffix, its table has no underscores."""
    if isinstance(space_group, int):
        return space_group
    symbol = space_group.replace(" ", "")
    return symbol.replace("_", "") if ":" in symbol else symbol


@cache
def _group(symbol: str | int) -> Any:
    """Keeps pymatgen's group alive: pymatgen itself forgets it at once, and takes up to half a second to build it."""
    from pymatgen.symmetry.groups import SpaceGroup, sg_symbol_from_int_number

    return SpaceGroup(sg_symbol_from_int_number(symbol) if isinstance(symbol, int) else symbol)


def _check_apart(structure: Any, id: str) -> None:
    distance = structure.distance_matrix + 1e9 * np.eye(len(structure))
    if distance.min() < CLOSEST_ANGSTROM:
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        raise NesfError(
            f"Crystal {id!r} has {structure[int(i)].species_string} and {structure[int(j)].species_string} only "
            f"{distance.min():.3f} Å apart; check its coordinates and their digits."
        )
