"""The crystals that are measured with."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from nesf.crystal import Crystal, CrystalBatch
from nesf.data import Dataset
from nesf.elements import Vocabulary
from nesf.fields.grids import Box

_FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_CORNER, _CENTRE = _FCC[:1], np.array([[0.5, 0.5, 0.5]])
_CSCL = (3.0, 4.2, (_CORNER, _CENTRE))
_CU3AU = (3.6, 4.6, (_CORNER, _FCC[1:]))
_PEROVSKITE = (3.8, 4.6, (_CORNER, _CENTRE, _FCC[1:]))
_ROCKSALT = (4.3, 5.7, (_FCC, _FCC + 0.5))
_ZINCBLENDE = (5.0, 5.7, (_FCC, _FCC + 0.25))
_FLUORITE = (5.0, 5.7, (_FCC, np.concatenate((_FCC + 0.25, _FCC + 0.75))))
STRUCTURE_TYPES = (
    *(_CSCL, _CU3AU, _PEROVSKITE, _ROCKSALT, _ZINCBLENDE),
    *(_CU3AU, _PEROVSKITE, _ROCKSALT, _ZINCBLENDE, _FLUORITE),
)
"""Shortest and longest edge (angstrom), and the places of each element. With 6.4 atoms on average, as LCS6Å has."""
STRAIN = 0.05


def synthetic(vocabulary: Vocabulary, count: int, seed: int = 0) -> Dataset:
    """Invented right-angled crystals up to 6 Å: common structure types, any elements, a little strained."""
    random = np.random.default_rng(seed)
    digest = hashlib.sha256()
    crystals = []
    for i in range(count):
        shortest, longest, places = STRUCTURE_TYPES[i % len(STRUCTURE_TYPES)]
        lengths = random.uniform(shortest, longest) * random.uniform(1 - STRAIN, 1 + STRAIN, 3)
        elements = random.choice(vocabulary.numbers, len(places))
        numbers = np.repeat(elements, [len(sites) for sites in places])
        crystals.append(Crystal.from_frac(f"synthetic-{i}", numbers, np.concatenate(places), np.diag(lengths)))
        digest.update(crystals[-1].numbers.tobytes() + crystals[-1].cart.tobytes() + crystals[-1].cell.tobytes())
    return Dataset(f"synthetic crystals (seed {seed})", tuple(crystals), (), digest.hexdigest())


def drawn(crystals: Sequence[Crystal], count: int, seed: int = 0) -> list[Crystal]:
    """So many crystals in random order; all of them again and again where there are too few."""
    random = np.random.default_rng(seed)
    rounds = -(-count // len(crystals))
    order = np.concatenate([random.permutation(len(crystals)) for _ in range(rounds)])
    return [crystals[i] for i in order[:count]]


def spread(crystals: Sequence[Crystal], count: int) -> list[Crystal]:
    """A few crystals that stand for all: evenly spaced in the order of their volumes, which decide about the work."""
    ordered = sorted(crystals, key=lambda crystal: float(np.linalg.det(crystal.cell)))
    places = (np.arange(count) + 0.5) * len(ordered) / count
    return [ordered[int(place)] for place in places]


def box_of(crystals: Sequence[Crystal]) -> Box:
    """Lower and upper corner of all atoms, angstrom."""
    cart = CrystalBatch.from_crystals(crystals).cart
    lower, upper = cart.amin(0).tolist(), cart.amax(0).tolist()
    return (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])


def vocabulary_of(crystals: Sequence[Crystal]) -> Vocabulary:
    """Their elements."""
    return Vocabulary.of(torch.cat([torch.tensor(crystal.numbers) for crystal in crystals]).unique().tolist())


def mean_atoms(crystals: Sequence[Crystal]) -> float:
    """Atoms per cell."""
    return sum(map(len, crystals)) / len(crystals)
