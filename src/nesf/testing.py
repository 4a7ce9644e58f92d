"""Test aids that ship with the package: crystals with known answers, a strategy, named tolerances."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nesf import lattice
from nesf.crystal import Crystal

FLOAT64_ANGSTROM = 1e-9
"""Lengths that differ only by rounding in double precision, Å."""
FLOAT32_ANGSTROM = 1e-4
"""Lengths that went through single precision, Å."""
POSITION_EXACT_ANGSTROM = 0.02
"""An atom nearer than this to its true place has been found exactly, Å."""
LENGTH_EXACT_ANGSTROM = 0.02
"""A cell length nearer than this to the true one has been found exactly, Å."""
ANGLE_EXACT_DEGREES = 0.1
"""A cell angle nearer than this to the true one has been found exactly, degrees."""

STRATEGY_SEPARATION_ANGSTROM = 0.7
"""No two atoms of a crystal drawn by ``crystals()`` are nearer than this, images included, Å."""


def rocksalt() -> Crystal:
    """NaCl, conventional cell, a = 5.64 Å; nearest Na-Cl 2.82 Å, Na-Na 3.988 Å.

    >>> rocksalt().formula, len(rocksalt())
    ('NaCl', 8)
    """
    sodium = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Crystal.from_frac("NaCl", [11] * 4 + [17] * 4, np.concatenate((sodium, sodium + 0.5)), 5.64 * np.eye(3))


def caesium_chloride() -> Crystal:
    """CsCl, a = 4.123 Å; nearest Cs-Cl 3.571 Å.

    >>> caesium_chloride().formula
    'CsCl'
    """
    return Crystal.from_frac("CsCl", [55, 17], np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), 4.123 * np.eye(3))


def perovskite() -> Crystal:
    """SrTiO3, cubic, a = 3.905 Å, Ti at the centre; nearest Ti-O 1.9525 Å.

    >>> perovskite().formula
    'SrTiO3'
    """
    frac = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    return Crystal.from_frac("SrTiO3", [38, 22, 8, 8, 8], frac, 3.905 * np.eye(3))


def hexagonal() -> Crystal:
    """Mg, hexagonal close packed, a = 3.209 Å, c = 5.211 Å, gamma = 120°; nearest Mg-Mg 3.197 Å.

    >>> hexagonal().angles_rad.round(4).tolist()
    [1.5708, 1.5708, 2.0944]
    """
    cell = _cell((3.209, 3.209, 5.211), (90, 90, 120))
    return Crystal.from_frac("Mg", [12, 12], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], cell)


def triclinic() -> Crystal:
    """An invented, acute triclinic cell of TiO2 without symmetry: every axis and atom is distinct.

    >>> triclinic().lengths.round(3).tolist()
    [4.1, 4.9, 5.6]
    """
    frac = np.array([[0.05, 0.1, 0.12], [0.45, 0.35, 0.3], [0.6, 0.8, 0.7]])
    return Crystal.from_frac("TiO2", [22, 8, 8], frac, _cell((4.1, 4.9, 5.6), (80, 75, 70)))


def known_crystals() -> tuple[Crystal, ...]:
    """All crystals of this module, to run a law over.

    >>> [c.id for c in known_crystals()]
    ['NaCl', 'CsCl', 'SrTiO3', 'Mg', 'TiO2']
    """
    return rocksalt(), caesium_chloride(), perovskite(), hexagonal(), triclinic()


def crystals(max_atoms: int = 8, max_number: int = 94, right_angled: bool = False) -> Any:
    """A hypothesis strategy of crystals: lengths 3 to 6 Å, angles 70 to 110°, atoms apart from each other.

    Args:
        max_atoms: most atoms in the cell; at most 27, one for each site of a 3 x 3 x 3 grid.
        max_number: heaviest element, an atomic number.
        right_angled: whether all angles are 90°.

    Returns:
        ``hypothesis.strategies.SearchStrategy[Crystal]``. No two atoms are nearer than
        ``STRATEGY_SEPARATION_ANGSTROM``, periodic images included.
    """
    from hypothesis import strategies as st

    def numbers_in(low: float, high: float) -> Any:
        return st.floats(low, high, allow_nan=False, width=32)

    angle = st.just(90.0) if right_angled else numbers_in(70.0, 110.0)
    # One integer for a site of the 3 x 3 x 3 grid and one for the shift from it, up to a sixteenth of an edge:
    # few draws per atom keep the strategy fast, and zero, where shrinking ends, is the undisturbed grid.
    atom = st.tuples(st.integers(0, 26), st.integers(0, 9**3 - 1), st.integers(1, max_number))
    jitter = np.array([0, 1, -1, 2, -2, 3, -3, 4, -4]) / 64

    def build(lengths: Any, angles: Any, shift: Any, atoms: Any) -> Crystal:
        sites, codes, numbers = np.array(atoms).T
        grid = np.stack(np.unravel_index(sites, (3, 3, 3)), axis=-1)
        offset = jitter[np.stack(np.unravel_index(codes, (9, 9, 9)), axis=-1)]
        return Crystal.from_frac("drawn", numbers, (grid + offset) / 3 + shift, _cell(lengths, angles))

    return st.builds(
        build,
        st.tuples(*[numbers_in(3.0, 6.0)] * 3),
        st.tuples(angle, angle, angle),
        st.tuples(*[numbers_in(0.0, 0.9375)] * 3),
        st.lists(atom, min_size=1, max_size=max_atoms, unique_by=lambda a: a[0]),
    )


def _cell(lengths: Any, angles_deg: Any) -> NDArray[np.float64]:
    angles_rad = torch.from_numpy(np.radians(angles_deg, dtype=np.float64))
    return lattice.cell_from_parameters(torch.from_numpy(np.array(lengths, dtype=np.float64)), angles_rad).numpy()
