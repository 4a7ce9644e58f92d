"""The rules that made the data sets of the paper, as values that can be applied to any crystals."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import gcd
from typing import Literal

import numpy as np
import torch

from nesf import lattice
from nesf.crystal import Crystal
from nesf.data.selection import Selection, keep_frequent, without
from nesf.errors import NesfError

RIGHT_ANGLE_TOLERANCE_DEGREES = 0.01
EQUAL_LENGTH_TOLERANCE_ANGSTROM = 1e-3
LONGEST_LENGTH_ANGSTROM = 6.0
MOST_ICSG3D_ATOMS = 40
YBCO_ATOMS = 13
YBCO_MOST_AWAY = 0.2
"""Of a lattice vector from that of YBa2Cu3O7, as a share of the latter's length."""

# mp-20674, YBa2Cu3O7: the cell that the YBCO-like set is built around, Å.
YBCO_CELL_ANGSTROM = np.diag([3.844668, 3.926152, 11.823664])
YBCO_CELL_ANGSTROM.setflags(write=False)


Elements = Literal["frequent", "all"]
"""Whether crystals with rare elements are dropped, where the rule says so, or all elements stay."""


@dataclass(frozen=True)
class Rule:
    """A named rule for conventional standard cells.

    Attributes:
        name: name of the data set that it makes.
        text: what it wants of each crystal, in one line.
        objection: why a crystal by itself does not belong, in one sentence; None if it does.
        early_objection: the same for a crystal in whatever cell: why it does not belong in the conventional one,
            either. It spares the search for that cell, and is None wherever that has to be looked at.
        frequent_elements: whether, after that, crystals with rare elements are dropped as well.
            This depends on the whole collection: applied again to its own result it drops more.
        folds: of its cross-validation; 0 where the paper splits it once.
    """

    name: str
    text: str
    objection: Callable[[Crystal], str | None]
    early_objection: Callable[[Crystal], str | None]
    frequent_elements: bool
    folds: int = 0

    def select(self, crystals: Iterable[Crystal], elements: Elements = "frequent") -> Selection:
        """Apply the rule; every crystal ends in one of the two lists.

        >>> from nesf.testing import hexagonal, rocksalt
        >>> selection = ICSG3D.select([rocksalt(), hexagonal()])
        >>> [c.id for c in selection.kept], selection.left_out[0].reason
        (['NaCl'], 'Its atoms are of the kind A; the rule wants AB, ABC2 or ABC3.')
        """
        chosen = without(crystals, self.objection)
        if not self.frequent_elements or elements == "all":
            return chosen
        common = keep_frequent(chosen.kept)
        return Selection(common.kept, chosen.left_out + common.left_out)


def _lcs6a_objection(crystal: Crystal) -> str | None:
    if crystal.lengths.max() > LONGEST_LENGTH_ANGSTROM:
        return f"Its longest cell length is {crystal.lengths.max():.3f} Å; the rule wants at most 6 Å."
    if crystal.cell.min() < -0.1:
        return (
            f"Its cell matrix has an entry {crystal.cell.min():.3f} Å (obtuse cell); the rule wants none below -0.1 Å."
        )
    return None


def _lcs6a_early_objection(crystal: Crystal) -> str | None:
    # A given cell holds as many primitive cells as divide the count of each element, or fewer; the conventional cell
    # is not smaller than a primitive one. The margin is for what the search for symmetry moves.
    least = abs(np.linalg.det(crystal.cell)) / gcd(*_counts(crystal))
    if least > 1.05 * LONGEST_LENGTH_ANGSTROM**3:
        return f"Its smallest cell has at least {least:.0f} Å³; the rule wants at most 6 Å along a, b, c."
    return None


def _icsg3d_objection(crystal: Crystal) -> str | None:
    if kind := _icsg3d_early_objection(crystal):
        return kind
    if not is_cubic(crystal):
        return "Its cell is not cubic; the rule wants equal lengths and right angles."
    if len(crystal) > MOST_ICSG3D_ATOMS:
        return f"Its cell holds {len(crystal)} atoms; the rule wants at most 40."
    return None


def _icsg3d_early_objection(crystal: Crystal) -> str | None:
    counts = reduced_counts(crystal)
    if counts not in ((1, 1), (1, 1, 2), (1, 1, 3)):
        kind = "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i % 26] + (str(n) if n > 1 else "") for i, n in enumerate(counts))
        return f"Its atoms are of the kind {kind}; the rule wants AB, ABC2 or ABC3."
    return None


def _ybco_objection(crystal: Crystal) -> str | None:
    if len(crystal) != YBCO_ATOMS:
        return f"Its cell holds {len(crystal)} atoms; the rule wants 13, as in YBa2Cu3O7."
    away = np.linalg.norm(crystal.cell - YBCO_CELL_ANGSTROM, axis=1) / np.linalg.norm(YBCO_CELL_ANGSTROM, axis=1)
    if away.max() > YBCO_MOST_AWAY:
        worst = int(away.argmax())
        return f"Its lattice vector {'abc'[worst]} is {away[worst]:.0%} from that of YBa2Cu3O7; the rule wants 20 %."
    return None


def _ybco_early_objection(crystal: Crystal) -> str | None:
    # Thirteen is a prime, so the conventional cell is the primitive one, or thirteen of one atom each.
    common = gcd(*_counts(crystal))
    if not any(common % cells == 0 and YBCO_ATOMS * cells % len(crystal) == 0 for cells in range(1, common + 1)):
        return f"It has {len(crystal) // common} atoms in its formula; the rule wants 13 in the cell, as in YBa2Cu3O7."
    return None


def reduced_counts(crystal: Crystal) -> tuple[int, ...]:
    """Atoms of each element in the reduced formula, ascending: the anonymous formula.

    >>> from nesf.testing import perovskite
    >>> reduced_counts(perovskite())
    (1, 1, 3)
    """
    counts = _counts(crystal)
    return tuple(sorted(count // gcd(*counts) for count in counts))


def _counts(crystal: Crystal) -> list[int]:
    return list(Counter(crystal.numbers.tolist()).values())


def is_cubic(crystal: Crystal) -> bool:
    """Whether the cell is a cube, whatever the symmetry of its atoms."""
    lengths, angles_rad = lattice.parameters_from_cell(torch.tensor(crystal.cell))
    right = (angles_rad.rad2deg() - 90).abs().max() <= RIGHT_ANGLE_TOLERANCE_DEGREES
    return bool(right) and bool(lengths.max() - lengths.min() <= EQUAL_LENGTH_TOLERANCE_ANGSTROM)


LCS6A = Rule(
    "lcs6a",
    "a, b, c at most 6 Å; no lattice-matrix entry below -0.1 Å",
    _lcs6a_objection,
    _lcs6a_early_objection,
    True,
)
ICSG3D = Rule(
    "icsg3d", "AB, ABC2 or ABC3; cubic cell; at most 40 atoms", _icsg3d_objection, _icsg3d_early_objection, False
)
YBCO_LIKE = Rule(
    "ybco_like",
    "13 atoms; lattice vectors within 20 % of YBa2Cu3O7",
    _ybco_objection,
    _ybco_early_objection,
    True,
    folds=20,
)
RULES = {rule.name: rule for rule in (LCS6A, ICSG3D, YBCO_LIKE)}
"""The rules by the name of their data set."""


def rule_named(name: str) -> Rule:
    """The rule of a data set; hyphens and underscores are the same.

    Raises:
        NesfError: where there is no rule of that name.

    >>> rule_named("YBCO-like").name
    'ybco_like'
    """
    key = name.lower().replace("-", "_")
    if key not in RULES:
        raise NesfError(
            f"There is no rule for a data set {name!r}; there are rules for {', '.join(RULES).replace('_', '-')}."
        )
    return RULES[key]
