"""Errors of atoms, pooled over the atoms of one crystal or of many."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nesf.metrics.matching import Comparison
from nesf.metrics.means import Mean


@dataclass(frozen=True)
class AtomErrors:
    """Means over all atoms of a split (not over crystals); None where there is no atom to average.

    Attributes:
        position_actual: mean distance from a true atom to the nearest found one, Å, over the true
            atoms of the crystals that were found.
        position_detected: mean distance from a found atom to the nearest true one, Å.
        species_actual_percent: true atoms whose nearest found atom is another element, %, over all
            true atoms; those of a crystal that was not found all count as wrong.
        species_detected_percent: found atoms whose nearest true atom is another element, %.
    """

    position_actual: float | None
    position_detected: float | None
    species_actual_percent: float | None
    species_detected_percent: float | None


class AtomTally:
    """The errors of atoms in the making; see ``AtomErrors``."""

    def __init__(self) -> None:
        self.positions = {"actual": Mean(), "detected": Mean()}
        self.species = {"actual": Mean(), "detected": Mean()}

    def add(self, comparison: Comparison) -> None:
        """Add the atoms of one crystal."""
        if comparison.found:
            self.positions["actual"].add(comparison.actual.distances.tolist())
            self.positions["detected"].add(comparison.detected.distances.tolist())
        self.species["actual"].add(map(float, comparison.actual.wrong_species.tolist()))
        self.species["detected"].add(map(float, comparison.detected.wrong_species.tolist()))

    def merge(self, other: "AtomTally") -> None:
        """Add all atoms of another tally."""
        for way in ("actual", "detected"):
            self.positions[way].merge(other.positions[way])
            self.species[way].merge(other.species[way])

    def errors(self) -> AtomErrors:
        """The means over all atoms added."""
        return AtomErrors(
            position_actual=self.positions["actual"].value,
            position_detected=self.positions["detected"].value,
            species_actual_percent=self.species["actual"].percent,
            species_detected_percent=self.species["detected"].percent,
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything about it as plain values, ready for JSON."""
        both = {"positions": self.positions, "species": self.species}
        return {name: {way: mean.to_dict() for way, mean in means.items()} for name, means in both.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AtomTally":
        """The inverse of ``to_dict``."""
        tally = cls()
        tally.positions = {way: Mean.from_dict(mean) for way, mean in values["positions"].items()}
        tally.species = {way: Mean.from_dict(mean) for way, mean in values["species"].items()}
        return tally


def atom_errors(comparisons: Iterable[Comparison]) -> AtomErrors:
    """Pool the atoms of some comparisons."""
    tally = AtomTally()
    for comparison in comparisons:
        tally.add(comparison)
    return tally.errors()
