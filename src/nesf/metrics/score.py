"""Many crystals against many: the paper's means over a split, each with what it covers."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.metrics.atom_errors import AtomErrors, atom_errors, mean, percent
from nesf.metrics.matching import compare


@dataclass(frozen=True)
class Coverage:
    """What entered a mean: how many crystals, and how many of their atoms."""

    crystals: int
    atoms: int


@dataclass(frozen=True)
class Score(AtomErrors):
    """The seven metrics of the paper over a split; see ``AtomErrors`` for the first four.

    Attributes:
        n: crystals in the split.
        atoms_error_percent: crystals with a wrong number of atoms, %; a failure is one of them.
        length_error: mean absolute error of a, b, c over the crystals found and the axes, Å.
        angle_error: mean absolute error of alpha, beta, gamma, likewise, degrees.
        failure_reasons: the crystals that were not found, with the reason.
        n_atoms_true: true atoms, those of failures included.
        n_atoms_found: found atoms.
        n_atoms_position: true atoms of the crystals that were found.
        periodic: the errors of the atoms again, with distances to the nearest periodic image.
    """

    n: int
    atoms_error_percent: float | None
    length_error: float | None
    angle_error: float | None
    failure_reasons: tuple[Failure, ...]
    n_atoms_true: int
    n_atoms_found: int
    n_atoms_position: int
    periodic: AtomErrors

    @property
    def failures(self) -> int:
        """Crystals that were not found; they are left out of the means of positions and lattices."""
        return len(self.failure_reasons)

    @property
    def coverage(self) -> dict[str, Coverage]:
        """What entered each mean, by its key; the same for the periodic variants."""
        found = self.n - self.failures
        actual = Coverage(found, self.n_atoms_position)
        detected = Coverage(found, self.n_atoms_found)
        everything = Coverage(self.n, self.n_atoms_true)
        return {
            "atoms_error_percent": everything,
            "position_actual": actual,
            "position_detected": detected,
            "species_actual_percent": everything,
            "species_detected_percent": detected,
            "length_error": actual,
            "angle_error": actual,
        }

    def to_dict(self) -> dict[str, Any]:
        """The score as plain values, ready for JSON; a mean of nothing is None, never NaN."""
        return {
            "n": self.n,
            "atoms_error_percent": self.atoms_error_percent,
            "position_actual": self.position_actual,
            "position_detected": self.position_detected,
            "species_actual_percent": self.species_actual_percent,
            "species_detected_percent": self.species_detected_percent,
            "length_error": self.length_error,
            "angle_error": self.angle_error,
            "failures": self.failures,
            "failure_reasons": [asdict(failure) for failure in self.failure_reasons],
            "n_atoms_true": self.n_atoms_true,
            "n_atoms_found": self.n_atoms_found,
            "position_crystals_left_out": self.failures,
            "lattice_crystals_left_out": self.failures,
            "coverage": {key: asdict(covered) for key, covered in self.coverage.items()},
            "periodic": asdict(self.periodic),
        }


def score(pairs: Iterable[tuple[Crystal, Crystal | Failure]]) -> Score:
    """Score pairs of a true crystal and what was found for it.

    Raises:
        NesfError: where the two of a pair have different ids, so are not about the same crystal.

    >>> from nesf.testing import perovskite, rocksalt
    >>> result = score([(rocksalt(), rocksalt()), (perovskite(), Failure("SrTiO3", "no atom was found"))])
    >>> result.atoms_error_percent, result.position_actual, result.failures
    (50.0, 0.0, 1)
    """
    plain, periodic = [], []
    for true, found in pairs:
        check_same_id(true, found)
        plain.append(compare(true, found))
        periodic.append(compare(true, found, periodic=True))
    found_only = [c for c in plain if c.found]
    return Score(
        **asdict(atom_errors(plain)),
        n=len(plain),
        atoms_error_percent=percent([np.array([c.n_found != c.n_true]) for c in plain]),
        length_error=mean([c.length_errors for c in plain if c.length_errors is not None]),
        angle_error=mean([c.angle_errors for c in plain if c.angle_errors is not None]),
        failure_reasons=tuple(Failure(c.id, c.reason) for c in plain if c.reason is not None),
        n_atoms_true=sum(c.n_true for c in plain),
        n_atoms_found=sum(c.n_found for c in plain),
        n_atoms_position=sum(c.n_true for c in found_only),
        periodic=atom_errors(periodic),
    )


def check_same_id(true: Crystal, found: Crystal | Failure) -> None:
    """Raise NesfError unless both are about the same crystal: a shifted list must not pass for a bad model."""
    if true.id != found.id:
        raise NesfError(f"Crystal {true.id!r} is paired with {found.id!r}; pair each crystal with its own result.")
