"""Many crystals against many: the paper's means over a split, each with what it covers."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.metrics.atom_errors import AtomErrors, AtomTally
from nesf.metrics.matching import Comparison, compare
from nesf.metrics.means import Mean


@dataclass(frozen=True)
class Coverage:
    """What entered a mean: how many crystals, and how many of their atoms."""

    crystals: int
    atoms: int


@dataclass(frozen=True)
class Farthest:
    """The atom that is farthest from where it should be, which a mean over many does not show.

    Attributes:
        id: of its crystal; the first in the order of the ids where several are as far.
        distance: to the nearest atom of the other crystal, in Å.
    """

    id: str
    distance: float


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
        farthest: of all true and found atoms of the crystals that were found, the one that is farthest from the nearest
            atom of the other crystal (nearest image); None where nothing was found.
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
    farthest: Farthest | None

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
            "farthest": self.farthest and asdict(self.farthest),
        }


class Tally:
    """A score in the making: crystals go in one by one and are not kept; only failures are, with their reasons.

    Tallies of parts of a split, merged, give the score of the whole to the last digit.
    """

    def __init__(self) -> None:
        self.plain, self.periodic = AtomTally(), AtomTally()
        self.wrong_counts, self.lengths, self.angles = Mean(), Mean(), Mean()
        self.failures: list[Failure] = []
        self.farthest: Farthest | None = None

    def add(self, true: Crystal, found: Crystal | Failure) -> Comparison:
        """Add a true crystal and what was found for it; returns their plain comparison.

        Raises:
            NesfError: where the two have different ids, so are not about the same crystal.
        """
        check_same_id(true, found)
        comparison, periodic = compare(true, found), compare(true, found, periodic=True)
        self.plain.add(comparison)
        self.periodic.add(periodic)
        if periodic.found:
            distances = np.concatenate((periodic.actual.distances, periodic.detected.distances))
            self._farther(Farthest(true.id, float(distances.max())))
        self.wrong_counts.add([float(comparison.n_found != comparison.n_true)])
        if comparison.length_errors is not None and comparison.angle_errors is not None:
            self.lengths.add(comparison.length_errors.tolist())
            self.angles.add(comparison.angle_errors.tolist())
        if comparison.reason is not None:
            self.failures.append(Failure(true.id, comparison.reason))
        return comparison

    def merge(self, other: "Tally") -> None:
        """Add all crystals of another tally."""
        self.plain.merge(other.plain)
        self.periodic.merge(other.periodic)
        self.wrong_counts.merge(other.wrong_counts)
        self.lengths.merge(other.lengths)
        self.angles.merge(other.angles)
        self.failures += other.failures
        if other.farthest is not None:
            self._farther(other.farthest)

    def score(self) -> Score:
        """The score of all crystals added."""
        return Score(
            **asdict(self.plain.errors()),
            n=self.wrong_counts.count,
            atoms_error_percent=self.wrong_counts.percent,
            length_error=self.lengths.value,
            angle_error=self.angles.value,
            failure_reasons=tuple(self.failures),
            n_atoms_true=self.plain.species["actual"].count,
            n_atoms_found=self.plain.species["detected"].count,
            n_atoms_position=self.plain.positions["actual"].count,
            periodic=self.periodic.errors(),
            farthest=self.farthest,
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything about it as plain values, ready for JSON."""
        return {
            "plain": self.plain.to_dict(),
            "periodic": self.periodic.to_dict(),
            "wrong_counts": self.wrong_counts.to_dict(),
            "lengths": self.lengths.to_dict(),
            "angles": self.angles.to_dict(),
            "failures": [asdict(failure) for failure in self.failures],
            "farthest": self.farthest and asdict(self.farthest),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Tally":
        """The inverse of ``to_dict``."""
        tally = cls()
        tally.plain, tally.periodic = (AtomTally.from_dict(values[key]) for key in ("plain", "periodic"))
        tally.wrong_counts, tally.lengths, tally.angles = (
            Mean.from_dict(values[key]) for key in ("wrong_counts", "lengths", "angles")
        )
        tally.failures = [Failure(**failure) for failure in values["failures"]]
        tally.farthest = values["farthest"] and Farthest(**values["farthest"])
        return tally

    def _farther(self, other: Farthest) -> None:
        """Keep the farther of two; which part of a split came first must not matter."""
        both = [one for one in (self.farthest, other) if one is not None]
        self.farthest = min(both, key=lambda one: (-one.distance, one.id))


def score(pairs: Iterable[tuple[Crystal, Crystal | Failure]]) -> Score:
    """Score pairs of a true crystal and what was found for it.

    Raises:
        NesfError: where the two of a pair have different ids, so are not about the same crystal.

    >>> from nesf.testing import perovskite, rocksalt
    >>> result = score([(rocksalt(), rocksalt()), (perovskite(), Failure("SrTiO3", "no atom was found"))])
    >>> result.atoms_error_percent, result.position_actual, result.failures
    (50.0, 0.0, 1)
    """
    tally = Tally()
    for true, found in pairs:
        tally.add(true, found)
    return tally.score()


def check_same_id(true: Crystal, found: Crystal | Failure) -> None:
    """Raise NesfError unless both are about the same crystal: a shifted list must not pass for a bad model."""
    if true.id != found.id:
        raise NesfError(f"Crystal {true.id!r} is paired with {found.id!r}; pair each crystal with its own result.")
