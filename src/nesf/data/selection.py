"""The rules that made the data sets of the paper, as values that can be applied to any crystals."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from nesf import lattice
from nesf.crystal import Crystal, Failure
from nesf.elements import symbol
from nesf.errors import NesfError

FREQUENT_SHARE_PERCENT = 90
"""Of the elements that occur, this share, the most frequent ones, is kept (rounded down)."""
RIGHT_ANGLE_TOLERANCE_DEGREES = 0.01
EQUAL_LENGTH_TOLERANCE_ANGSTROM = 1e-3

# mp-20674, YBa2Cu3O7: the cell that the YBCO-like set is built around, Å.
YBCO_CELL_ANGSTROM = np.diag([3.844668, 3.926152, 11.823664])
YBCO_CELL_ANGSTROM.setflags(write=False)


@dataclass(frozen=True)
class Selection:
    """What a rule kept, in the order given, and what it left out with the reason."""

    kept: tuple[Crystal, ...]
    left_out: tuple[Failure, ...]


@dataclass(frozen=True)
class Rule:
    """A named rule for conventional standard cells.

    Attributes:
        name: name of the data set that it makes.
        text: the rule in one line.
        objection: why a crystal by itself does not belong, in one sentence; None if it does.
        frequent_elements: whether, after that, crystals with rare elements are dropped as well.
            This depends on the whole collection: applied again to its own result it drops more.
    """

    name: str
    text: str
    objection: Callable[[Crystal], str | None]
    frequent_elements: bool

    def select(self, crystals: Iterable[Crystal]) -> Selection:
        """Apply the rule; every crystal ends in one of the two lists.

        >>> from nesf.testing import hexagonal, rocksalt
        >>> selection = ICSG3D.select([rocksalt(), hexagonal()])
        >>> [c.id for c in selection.kept], selection.left_out[0].reason
        (['NaCl'], 'Its atoms are of the kind A; the rule wants AB, ABC2 or ABC3.')
        """
        kept, left_out = [], []
        for crystal in crystals:
            reason = self.objection(crystal)
            if reason is None:
                kept.append(crystal)
            else:
                left_out.append(Failure(crystal.id, reason))
        if not self.frequent_elements:
            return Selection(tuple(kept), tuple(left_out))
        frequent = frequent_elements(kept)
        rare = [sorted(set(c.numbers.tolist()) - frequent) for c in kept]
        left_out += [
            Failure(c.id, f"It contains {symbol(z[0])}, which is not among the {len(frequent)} most frequent elements.")
            for c, z in zip(kept, rare, strict=True)
            if z
        ]
        return Selection(tuple(c for c, z in zip(kept, rare, strict=True) if not z), tuple(left_out))


def frequent_elements(crystals: Iterable[Crystal]) -> frozenset[int]:
    """Atomic numbers of the most frequent 90 % of the elements that occur, rounded down.

    The frequency of an element is the number of crystals that contain it; where two are equal, the
    lighter one goes first. (With 89 elements this keeps 80, as in the paper; which count of
    frequency the paper took is not printed.)
    """
    counts = Counter(z for crystal in crystals for z in set(crystal.numbers.tolist()))
    ranked = sorted(counts, key=lambda z: (-counts[z], z))
    return frozenset(ranked[: len(ranked) * FREQUENT_SHARE_PERCENT // 100])


def _lcs6a_objection(crystal: Crystal) -> str | None:
    if crystal.lengths.max() > 6.0:
        return f"Its longest cell length is {crystal.lengths.max():.3f} Å; the rule wants at most 6 Å."
    if crystal.cell.min() < -0.1:
        return (
            f"Its cell matrix has an entry {crystal.cell.min():.3f} Å (obtuse cell); the rule wants none below -0.1 Å."
        )
    return None


def _icsg3d_objection(crystal: Crystal) -> str | None:
    counts = reduced_counts(crystal)
    if counts not in ((1, 1), (1, 1, 2), (1, 1, 3)):
        kind = "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i % 26] + (str(n) if n > 1 else "") for i, n in enumerate(counts))
        return f"Its atoms are of the kind {kind}; the rule wants AB, ABC2 or ABC3."
    if not is_cubic(crystal):
        return "Its cell is not cubic; the rule wants equal lengths and right angles."
    if len(crystal) > 40:
        return f"Its cell holds {len(crystal)} atoms; the rule wants at most 40."
    return None


def _ybco_objection(crystal: Crystal) -> str | None:
    if len(crystal) != 13:
        return f"Its cell holds {len(crystal)} atoms; the rule wants 13, as in YBa2Cu3O7."
    away = np.linalg.norm(crystal.cell - YBCO_CELL_ANGSTROM, axis=1) / np.linalg.norm(YBCO_CELL_ANGSTROM, axis=1)
    if away.max() > 0.2:
        worst = int(away.argmax())
        return f"Its lattice vector {'abc'[worst]} is {away[worst]:.0%} from that of YBa2Cu3O7; the rule wants 20 %."
    return None


def reduced_counts(crystal: Crystal) -> tuple[int, ...]:
    """Atoms of each element in the reduced formula, ascending: the anonymous formula.

    >>> from nesf.testing import perovskite
    >>> reduced_counts(perovskite())
    (1, 1, 3)
    """
    counts = np.unique(crystal.numbers, return_counts=True)[1]
    return tuple(sorted((counts // np.gcd.reduce(counts)).tolist()))


def is_cubic(crystal: Crystal) -> bool:
    """Whether the cell is a cube, whatever the symmetry of its atoms."""
    lengths, angles_rad = lattice.parameters_from_cell(torch.tensor(crystal.cell))
    right = (angles_rad.rad2deg() - 90).abs().max() <= RIGHT_ANGLE_TOLERANCE_DEGREES
    return bool(right) and bool(lengths.max() - lengths.min() <= EQUAL_LENGTH_TOLERANCE_ANGSTROM)


LCS6A = Rule("lcs6a", "a, b, c at most 6 Å; no lattice-matrix entry below -0.1 Å", _lcs6a_objection, True)
ICSG3D = Rule("icsg3d", "AB, ABC2 or ABC3; cubic cell; at most 40 atoms", _icsg3d_objection, False)
YBCO_LIKE = Rule("ybco_like", "13 atoms; lattice vectors within 20 % of YBa2Cu3O7", _ybco_objection, True)
RULES = {rule.name: rule for rule in (LCS6A, ICSG3D, YBCO_LIKE)}
"""The rules by the name of their data set."""


@dataclass(frozen=True)
class Split:
    """The ids of a data set in three parts."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def split(ids: Iterable[str], seed: int) -> Split:
    """Split at random: 5 % to test, 5 % of the rest to validation, both rounded up.

    The same ids and seed give the same split, in whatever order the ids come.

    Raises:
        NesfError: where an id comes twice, or there are fewer than three.

    >>> parts = split((f"mp-{i}" for i in range(6005)), seed=0)
    >>> len(parts.train), len(parts.val), len(parts.test)
    (5418, 286, 301)
    """
    shuffled = _shuffled(ids, seed, at_least=3)
    n_test = _twentieth(len(shuffled))
    n_val = _twentieth(len(shuffled) - n_test)
    return Split(shuffled[n_test + n_val :], shuffled[n_test : n_test + n_val], shuffled[:n_test])


def folds(ids: Iterable[str], seed: int, count: int = 20) -> tuple[Split, ...]:
    """Cross-validation: every id is tested in one fold, validates in another and trains in the rest.

    Raises:
        NesfError: where an id comes twice, or there are fewer ids than folds, or fewer than three folds.
    """
    if count < 3:
        raise NesfError(f"Cross-validation needs at least 3 folds (train, validation, test), not {count}.")
    shuffled = _shuffled(ids, seed, at_least=count)
    parts = [tuple(part.tolist()) for part in np.array_split(np.array(shuffled, dtype=object), count)]
    splits = []
    for k, test in enumerate(parts):
        v = (k + 1) % count
        train = tuple(name for i, part in enumerate(parts) if i not in (k, v) for name in part)
        splits.append(Split(train, parts[v], test))
    return tuple(splits)


def _twentieth(count: int) -> int:
    return -(-count // 20)


def _shuffled(ids: Iterable[str], seed: int, at_least: int) -> tuple[str, ...]:
    ordered: Sequence[str] = sorted(ids)
    repeated = [a for a, b in pairwise(ordered) if a == b]
    if repeated:
        raise NesfError(f"The id {repeated[0]!r} comes more than once; the ids of a data set must differ.")
    if len(ordered) < at_least:
        raise NesfError(f"A data set of {len(ordered)} crystals is too small to split; at least {at_least} are needed.")
    return tuple(ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered)))
